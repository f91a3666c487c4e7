"""Images as the build sees them: a stack of layers and the configuration it hands on."""

from __future__ import annotations

from treebuilder.model.digest import Digest
from treebuilder.records import record

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@record
class ImageConfig:
    """What an image hands on to what is built on it. `env` are sorted pairs; empty texts are the engine's defaults."""

    env: tuple[tuple[str, str], ...] = ()
    user: str = ""
    workdir: str = ""
    shell: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        return {"env": [list(p) for p in self.env], "user": self.user, "workdir": self.workdir, "shell": [*self.shell]}

    @staticmethod
    def from_json(value: dict[str, object]) -> ImageConfig:
        env = value.get("env") or []
        shell = value.get("shell") or []
        assert isinstance(env, list)
        assert isinstance(shell, list)
        return ImageConfig(
            tuple((str(k), str(v)) for k, v in env), str(value.get("user", "")), str(value.get("workdir", "")),
            tuple(str(s) for s in shell),
        )  # fmt: skip


@record
class State:
    """An image's state: its layers (content digests, bottom first) and its configuration."""

    layers: tuple[Digest, ...]
    config: ImageConfig = ImageConfig()

    @property
    def key(self) -> Digest:
        """The chain id: equal for images that nothing built on them could tell apart."""
        import json

        text = json.dumps([[d.hex for d in self.layers], self.config.to_json()], sort_keys=True)
        return Digest.of(text.encode())

    def to_json(self) -> dict[str, object]:
        return {"layers": [d.hex for d in self.layers], "config": self.config.to_json()}

    @staticmethod
    def from_json(value: dict[str, object]) -> State:
        layers = value["layers"]
        config = value.get("config") or {}
        assert isinstance(layers, list)
        assert isinstance(config, dict)
        return State(tuple(Digest(str(h)) for h in layers), ImageConfig.from_json(config))
