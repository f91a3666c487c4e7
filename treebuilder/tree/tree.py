"""A loaded tree: packages in walk order, as package sets for runtime and build, with contexts and finalizers."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import Literal

from treebuilder.model.digest import Digest
from treebuilder.model.package import Finalizer, Package, PackageId, Recipe
from treebuilder.model.packageset import MemoryPackages, PackageSet
from treebuilder.records import record, replace
from treebuilder.tree.context import ContextFile, context_digest, context_files
from treebuilder.tree.index import SpecIndex
from treebuilder.tree.snapshot import Snapshot


@record
class TreePackage:
    """A package of a tree.

    `package` is the definition, `recipe` its build.yaml rendered with the values files. `context` is the absolute path
    of its folder ("" for none); `folder` the same relative to `root`, the `--tree` it came from as the user wrote it.
    `finalize` is the text of finalize.yaml, not rendered ("" for none). `values` are the merged template values as
    canonical JSON.
    """

    package: Package
    recipe: Recipe
    context: str
    folder: str
    finalize: str
    finalize_file: str
    root: str
    values: str


class Tree:
    """Packages of several roots, overlays applied: of one fingerprint in several roots, the first root's."""

    def __init__(
        self,
        packages: tuple[TreePackage, ...],
        snapshots: tuple[Snapshot, ...],
        fingerprint: str,
        *,
        index: SpecIndex | None = None,
        layering: Literal["chain", "merge"] = "chain",
    ) -> None:
        self.packages = packages
        self.roots = tuple(snapshot.root for snapshot in snapshots)
        self.layering = layering
        self._snapshots = {snapshot.root: snapshot for snapshot in snapshots}
        self._fingerprint = fingerprint
        self._index = index
        self._by_id = {found.package.id: found for found in packages}
        self._digests: dict[str, Digest] = {}
        self._lock = threading.Lock()

    def runtime(self) -> PackageSet:
        """Definitions as written, and one package per sub-package (luet.md §2.1)."""
        return self._runtime

    def compiler(self) -> PackageSet:
        """Definitions with the recipe's requires and conflicts, and its provides where it has any; no sub-packages."""
        return self._compiler

    @cached_property
    def _runtime(self) -> PackageSet:
        subs = (sub.package for found in self.packages for sub in found.recipe.subpackages)
        return MemoryPackages([*(found.package for found in self.packages), *subs])

    @cached_property
    def _compiler(self) -> PackageSet:
        return MemoryPackages([build_view(found) for found in self.packages])

    def get(self, id: PackageId) -> TreePackage | None:
        """The package of exactly this identity; sub-packages are not found."""
        return self._by_id.get(id)

    def layering_of(self, package: TreePackage) -> Literal["chain", "merge"]:
        """The recipe's layering, or else the tree's."""
        return package.recipe.layering or self.layering

    def context_digest(self, package: TreePackage) -> Digest:
        """The digest of all files of the package's folder. Raises SpecError ("context-escape", "context-type")."""
        with self._lock:
            known = self._digests.get(package.context)
        if known is None:
            known = context_digest(self._snapshots[package.root], package.folder, self._index)
            with self._lock:
                self._digests[package.context] = known
        return known

    def context_files(self, package: TreePackage) -> tuple[ContextFile, ...]:
        """The files to copy to /luetbuild, sorted bytewise by path. Raises as `context_digest`."""
        return context_files(self._snapshots[package.root], package.folder, self._index)

    def finalizer(self, package: TreePackage) -> Finalizer | None:
        """The package's finalize.yaml, rendered; None without one. Raises SpecError."""
        if not package.finalize:
            return None
        from treebuilder.tree.finalizer import read_finalizer

        return read_finalizer(package.finalize, package.package, file=package.finalize_file)

    def fingerprint(self) -> str:
        """What `tree_fingerprint` gives for the same roots and options, taken before anything was read."""
        return self._fingerprint


def build_view(found: TreePackage) -> Package:
    """The definition as the build sees it: requires and conflicts are the recipe's, if there is a build.yaml."""
    recipe = found.recipe
    if not recipe.has_build_file:
        return found.package
    return replace(
        found.package,
        requires=recipe.requires,
        conflicts=recipe.conflicts,
        provides=recipe.provides or found.package.provides,
    )
