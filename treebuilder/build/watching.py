"""Who is told what a build does, while it does it."""

from __future__ import annotations

from treebuilder.annotations import Protocol
from treebuilder.build.report import PackedFile
from treebuilder.model.package import Package
from treebuilder.plan.graph import BuildNode


class Watcher(Protocol):
    """Is told by the threads that do the work, and waited for. A TreebuildError that it raises fails the package."""

    def building(self, node: BuildNode) -> None:
        """Its commands are about to run, or to turn out to have run with the same inputs.

        Of a package that comes out of a cache it is told right before `built`, if its file is new in its place.
        """

    def built(self, node: BuildNode) -> None: ...

    def packing(self, node: BuildNode) -> None: ...

    def packed(self, node: BuildNode, package: Package, file: PackedFile, compression: str) -> None:
        """A package's file, new, is in its place: the node's own, or that of a sub-package."""


class Unwatched:
    """Nobody is told."""

    def building(self, node: BuildNode) -> None: ...

    def built(self, node: BuildNode) -> None: ...

    def packing(self, node: BuildNode) -> None: ...

    def packed(self, node: BuildNode, package: Package, file: PackedFile, compression: str) -> None: ...
