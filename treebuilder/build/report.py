"""What a build came to: one line a node, in plan order (the schema of `treebuild build --json`)."""

from __future__ import annotations

from collections.abc import Mapping

from treebuilder.annotations import Any, Literal
from treebuilder.errors import BuildFailed, TreebuildError
from treebuilder.model.digest import Digest
from treebuilder.model.package import PackageId
from treebuilder.records import record

SCHEMA = "treebuild.build/1"
NodeState = Literal["built", "cached", "pulled", "failed", "skipped"]


@record
class PackedFile:
    """A package's file in the destination folder."""

    path: str
    sha256: Digest
    content: Digest
    size_bytes: int

    def to_json(self) -> dict[str, object]:
        return {"path": self.path, "sha256": self.sha256.hex, "content": self.content.hex}


@record
class NodeReport:
    package: PackageId
    state: NodeState
    plan_key: Digest
    build_key: Digest | None
    content: Digest | None
    seconds: float
    reason: str
    artifact: PackedFile | None = None
    error: TreebuildError | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "category": self.package.category, "name": self.package.name, "version": self.package.version,
            "state": self.state, "plan_key": self.plan_key.hex,
            "build_key": self.build_key.hex if self.build_key else None,
            "content": self.content.hex if self.content else None, "seconds": round(self.seconds, 3),
            "reason": self.reason, "artifact": self.artifact.to_json() if self.artifact else None,
            **({"error": _error(self.error)} if self.error is not None else {}),
        }  # fmt: skip


def _error(error: TreebuildError) -> dict[str, Any]:
    """What a program wants to know of a failure, beside the sentence."""
    value: dict[str, Any] = {
        "reason": error.reason, "message": error.message, "hint": error.hint, "detail": list(error.detail()),
        "where": str(error.where) if error.where is not None else None,
    }  # fmt: skip
    if isinstance(error, BuildFailed):
        value.update(step=error.command, exit_status=error.exit_status, log=error.log)
    return value


@record
class BuildReport:
    """`watches_destination`: a recipe retrieves by a pattern, so what else lies in the destination counts.

    `targets` are what was asked for, with its sub-packages; the rest is what that stands on.
    """

    nodes: tuple[NodeReport, ...]
    watches_destination: bool = False
    targets: frozenset[PackageId] = frozenset()

    @property
    def failed(self) -> tuple[NodeReport, ...]:
        return tuple(node for node in self.nodes if node.state == "failed")

    def counts(self) -> Mapping[str, int]:
        names: tuple[NodeState, ...] = ("built", "cached", "pulled", "failed", "skipped")
        return {name: sum(node.state == name for node in self.nodes) for name in names}

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, "nodes": [node.to_json() for node in self.nodes], "counts": dict(self.counts())}
