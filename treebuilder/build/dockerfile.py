"""Packages that are a Dockerfile (luet.md §2.1, §4.5): built as it says, by our own interpreter, on any engine.

RUNs that see the same environment, user, folder and shell are one job; COPY, ADD and WORKDIR make layers without
running anything. What a package gets is what its last stage adds to the image that the stage stands on.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from treebuilder.build.dockerfile_copy import Sources, Target, copy_in, make_folder
from treebuilder.build.dockerfile_squash import squash
from treebuilder.engine.api import Job
from treebuilder.errors import BuildFailed
from treebuilder.model import envline
from treebuilder.model.digest import Digest
from treebuilder.model.dockerfile import WITHOUT_EFFECT, Dockerfile, Instruction, Stage, argument_pairs, fault
from treebuilder.model.image import ImageConfig, State
from treebuilder.oci.seal import Sealed
from treebuilder.oci.store import Store
from treebuilder.oci.view import StackView
from treebuilder.records import field, record

_SHELL = ("/bin/sh", "-c")


@record
class World:
    """What a Dockerfile is run with. `context` is a layer that holds the build context in /luetbuild.

    `image` gives a reference's layers (in the store) and configuration, `download` the file of an ADDed URL, or None
    where it is not locked; `run` runs a job.
    """

    store: Store
    task: str
    epoch_s: int
    network: bool
    step_timeout_s: float | None
    context: Digest
    image: Callable[[str], State]
    download: Callable[[str], Path | None]
    run: Callable[[Job], Sealed]


@record
class Built:
    """`layer` is all that the last stage adds to `base`."""

    base: State
    layer: Sealed
    config: ImageConfig


@record(frozen=False)
class _Image:
    """An image that grows: of one stage while its instructions are run."""

    layers: list[Digest]
    env: dict[str, str]
    user: str
    workdir: str
    shell: tuple[str, ...]
    arguments: dict[str, str] = field(default_factory=dict)
    last: Sealed | None = None

    @staticmethod
    def on(state: State) -> _Image:
        config = state.config
        return _Image(list(state.layers), dict(config.env), config.user, config.workdir or "/", config.shell or _SHELL)

    def variables(self) -> dict[str, str]:
        """What instructions and commands see: an ENV is stronger than an ARG."""
        return {**self.arguments, **self.env}

    def config(self) -> ImageConfig:
        shell = () if self.shell == _SHELL else self.shell
        return ImageConfig(tuple(sorted(self.env.items())), self.user, self.workdir, shell)

    def grow(self, layer: Sealed) -> None:
        self.layers.append(layer.content)
        self.last = layer


@record
class _Setting:
    """What makes two RUNs one job."""

    env: tuple[tuple[str, str], ...]
    user: str
    workdir: str
    shell: tuple[str, ...]
    network: bool


class Interpreter:
    """Runs one Dockerfile once."""

    def __init__(self, dockerfile: Dockerfile, world: World) -> None:
        self._file = dockerfile
        self._world = world
        self._stages: dict[int, State] = {}
        self._globals = dict(dockerfile.arguments)

    def build(self) -> Built:
        """Raises SpecError (reason "dockerfile"), BuildFailed with the place of the instruction."""
        needed = self._file.needed()
        for index in needed[:-1]:
            base, image = self._stage(index)
            self._stages[index] = State(tuple(image.layers), image.config())
        base, image = self._stage(needed[-1])
        own = tuple(image.layers[len(base.layers) :])
        if len(own) == 1 and image.last is not None:
            layer = image.last
        else:
            layer = squash(self._world.store, own, self._view(base.layers), self._world.epoch_s)
        return Built(base, layer, image.config())

    def _view(self, layers: tuple[Digest, ...] | list[Digest]) -> StackView:
        return StackView(tuple(str(self._world.store.tree_path(layer)) for layer in layers))

    def _stage(self, index: int) -> tuple[State, _Image]:
        stage = self._file.stages[index]
        if stage.parent is not None:
            base = self._stages[stage.parent]
        else:
            base = self._world.image(stage.image) if stage.image else State(())
        image = _Image.on(base)
        waiting: list[tuple[str, int]] = []
        setting: _Setting | None = None
        for item in stage.instructions:
            if item.name == "RUN":
                command, wanted = self._command(item, image)
                if setting is not None and setting != wanted:
                    self._flush(image, setting, waiting)
                setting = wanted
                waiting.append((command, item.line))
                continue
            if setting is not None and item.name in ("COPY", "ADD", "WORKDIR"):
                self._flush(image, setting, waiting)
                setting = None
            self._instruction(item, image, stage, index)
        if setting is not None:
            self._flush(image, setting, waiting)
        return base, image

    # RUN ---------------------------------------------------------------------------------------------------------
    def _command(self, item: Instruction, image: _Image) -> tuple[str, _Setting]:
        network = self._world.network
        match item.flag("network"):
            case "" | "default" | "host":
                pass
            case "none":
                network = False
            case other:
                raise fault(f"RUN --network={other} is not supported", self._file.file, item.line)
        env = tuple(sorted(image.variables().items()))
        if item.words is not None:
            if not item.words:
                raise fault("RUN says nothing", self._file.file, item.line)
            return f"exec {shlex.join(item.words)}", _Setting(env, image.user, image.workdir, _SHELL, network)
        return item.text, _Setting(env, image.user, image.workdir, image.shell, network)

    def _flush(self, image: _Image, setting: _Setting, waiting: list[tuple[str, int]]) -> None:
        if not waiting:
            return
        commands = tuple(command for command, _ in waiting)
        lines = dict(reversed(waiting))
        waiting.clear()
        job = Job(
            self._world.task, tuple(image.layers), commands, setting.env, self._world.epoch_s, setting.shell,
            setting.workdir, setting.user, setting.network, self._world.step_timeout_s,
        )  # fmt: skip
        try:
            image.grow(self._world.run(job))
        except BuildFailed as err:
            err.where = fault("", self._file.file, lines.get(err.command, 0)).where
            raise

    # everything else ---------------------------------------------------------------------------------------------
    def _instruction(self, item: Instruction, image: _Image, stage: Stage, index: int) -> None:
        match item.name:
            case "ARG":
                for name, value in argument_pairs(item, image.variables(), self._file.file):
                    known = value if value is not None else self._globals.get(name)
                    if known is not None:
                        image.arguments[name] = known
            case "ENV":
                pairs = envline.parse(item.text, image.variables())
                if any(not key for key, _ in pairs):
                    raise fault("ENV without a name", self._file.file, item.line)
                image.env.update(pairs)
            case "USER":
                image.user = envline.expand(item.text, image.variables())
            case "SHELL":
                if not item.words:
                    raise fault('SHELL is a JSON list: SHELL ["/bin/sh", "-c"]', self._file.file, item.line)
                image.shell = item.words
            case "WORKDIR":
                self._workdir(item, image)
            case "COPY" | "ADD":
                self._copy(item, image, index)
            case name:
                assert name in WITHOUT_EFFECT, name

    def _workdir(self, item: Instruction, image: _Image) -> None:
        wanted = envline.expand(item.text, image.variables())
        image.workdir = absolute(wanted, image.workdir)
        made = make_folder(self._world.store, self._view(image.layers), image.workdir, self._world.epoch_s)
        if made is not None:
            image.grow(made)

    def _copy(self, item: Instruction, image: _Image, index: int) -> None:
        variables = image.variables()
        raw = item.words if item.words is not None else tuple(envline.words(item.text))
        words = [envline.expand(word, variables) for word in raw]
        if len(words) < 2:
            raise fault(f"{item.name} is `{item.name} source… destination`", self._file.file, item.line)
        target = Target(
            absolute(words[-1], image.workdir), words[-1].endswith(("/", "/.")) or words[-1] == ".",
            envline.expand(item.flag("chown"), variables), envline.expand(item.flag("chmod"), variables),
        )  # fmt: skip
        sources = self._sources(item, tuple(words[:-1]), index)
        where = fault("", self._file.file, item.line).where
        assert where is not None
        image.grow(copy_in(self._world.store, self._view(image.layers), sources, target, self._world.epoch_s, where))

    def _sources(self, item: Instruction, words: tuple[str, ...], index: int) -> Sources:
        source = item.flag("from")
        if source:
            stage = self._file.stage_named(source, index)
            state = self._stages[stage] if stage is not None else self._world.image(source)
            return Sources(self._view(state.layers), "", words, (), False)
        downloads: list[tuple[str, Path, str]] = []
        for word in words:
            if word.startswith(("git@", "git://", "ssh://")):
                raise fault(f"ADD {word}: repositories are not fetched", self._file.file, item.line)
            if not word.startswith(("http://", "https://")):
                continue
            path = self._world.download(word) if item.name == "ADD" else None
            if path is None:
                raise fault(
                    f"{item.name} {word} is not in the lock", self._file.file, item.line,
                    "write the URL without variables in an ADD, and run: treebuild lock",
                )  # fmt: skip
            downloads.append((word, path, item.flag("checksum")))
        patterns = tuple(word for word in words if not word.startswith(("http://", "https://")))
        context = self._view([self._world.context])
        return Sources(context, "luetbuild", patterns, tuple(downloads), item.name == "ADD")


def absolute(path: str, workdir: str) -> str:
    """An absolute path without `.` and `..`; relative ones start at the working folder."""
    parts: list[str] = []
    for part in (path if path.startswith("/") else f"{workdir}/{path}").split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)
