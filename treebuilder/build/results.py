"""What the store remembers of a build, as values: results of nodes and of artifacts."""

from __future__ import annotations

from collections.abc import Mapping

from treebuilder.annotations import Any
from treebuilder.model.digest import Digest
from treebuilder.model.image import State
from treebuilder.records import record


@record
class NodeResult:
    """A built node.

    `state` is handed on; `own` is the whole image as its own commands saw it (with the specfiles). `steps` is the
    content of the layer that the steps made (None where nothing ran). `left_out` are paths the steps changed or
    deleted; `passed` folders of the steps' layer that were there before. `size_bytes` is the length of its tar.
    """

    build_key: Digest
    state: State
    own: tuple[Digest, ...]
    steps: Digest | None
    changed: tuple[str, ...]
    deleted: tuple[str, ...]
    passed: tuple[str, ...]
    seconds: float
    size_bytes: int

    def to_json(self) -> dict[str, object]:
        return {
            "build_key": self.build_key.hex, "state": self.state.to_json(), "own": [d.hex for d in self.own],
            "steps": self.steps.hex if self.steps else None, "changed": [*self.changed], "deleted": [*self.deleted],
            "passed": [*self.passed], "seconds": round(self.seconds, 3),
            "size": self.size_bytes,
        }  # fmt: skip

    @staticmethod
    def from_json(v: Mapping[str, Any]) -> NodeResult:
        return NodeResult(
            Digest(v["build_key"]), State.from_json(v["state"]), tuple(Digest(h) for h in v["own"]),
            Digest(v["steps"]) if v["steps"] else None, tuple(v["changed"]), tuple(v["deleted"]), tuple(v["passed"]),
            float(v["seconds"]), int(v.get("size", 1 << 40)),
        )  # fmt: skip

    def same_as(self, other: NodeResult) -> bool:
        """Whether two builds of one key gave the same layers."""
        return self.state == other.state and self.own == other.own


@record
class ArtifactResult:
    """A packed package. `blobs` maps a compression to (digest, size) of the archive in that form.

    `left_out` are the paths that the steps changed or deleted and that a delta does not hold, sorted.
    """

    content: Digest
    size_bytes: int
    blobs: Mapping[str, tuple[Digest, int]]
    left_out: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        return {
            "content": self.content.hex, "size": self.size_bytes, "left_out": [*self.left_out],
            "blobs": {kind: [digest.hex, size] for kind, (digest, size) in sorted(self.blobs.items())},
        }  # fmt: skip

    @staticmethod
    def from_json(v: Mapping[str, Any]) -> ArtifactResult:
        blobs = {str(kind): (Digest(pair[0]), int(pair[1])) for kind, pair in v["blobs"].items()}
        return ArtifactResult(Digest(v["content"]), int(v["size"]), blobs, tuple(v["left_out"]))
