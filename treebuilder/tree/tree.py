"""A loaded tree: packages in walk order, as package sets for runtime and build, with contexts and finalizers."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cached_property

from treebuilder.annotations import Literal
from treebuilder.errors import Place, TreebuildError
from treebuilder.model.digest import Digest
from treebuilder.model.package import Finalizer, PackageId
from treebuilder.model.packageset import PackageSet
from treebuilder.tree.cells import Cell, CellPackages
from treebuilder.tree.context import ContextFile, context_digest, context_files, digest_of
from treebuilder.tree.definition import Tell
from treebuilder.tree.index import SpecIndex
from treebuilder.tree.package import TreePackage
from treebuilder.tree.snapshot import Snapshot


class Tree:
    """Packages of several roots, overlays applied: of one fingerprint in several roots, the first root's."""

    def __init__(
        self,
        cells: tuple[Cell, ...],
        snapshots: tuple[Snapshot, ...],
        fingerprint: str,
        *,
        index: SpecIndex | None = None,
        layering: Literal["chain", "merge"] = "chain",
        doubled: Mapping[str, tuple[Place, Place]] | None = None,
        shared_texts: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """`doubled` are the fingerprints that stand twice in one root, with the two places.

        `shared_texts` are the files below folders called `templates`, with their texts.
        """
        self.cells = cells
        self.shared_texts = shared_texts
        self.doubled = dict(doubled or {})
        self.roots = tuple(snapshot.root for snapshot in snapshots)
        self.layering = layering
        self._snapshots = {snapshot.root: snapshot for snapshot in snapshots}
        self._fingerprint = fingerprint
        self._index = index
        self._digests: dict[str, Digest] = {}
        self._lock = threading.Lock()

    @cached_property
    def packages(self) -> tuple[TreePackage, ...]:
        """All packages, in walk order. Raises SpecError."""
        return tuple(cell.package() for cell in self.cells)

    @property
    def ids(self) -> tuple[PackageId, ...]:
        """The identities of all packages without sub-packages, in walk order."""
        return tuple([cell.id for cell in self.cells])

    def runtime(self) -> PackageSet:
        """Definitions as written, and one package per sub-package (luet.md §2.1). Raises SpecError."""
        return self._runtime

    def compiler(self) -> PackageSet:
        """Definitions with the recipe's requires and conflicts, and its provides where it has any; no sub-packages.

        Raises SpecError.
        """
        return self._compiler

    @cached_property
    def _by_name(self) -> dict[str, list[Cell]]:
        found: dict[str, list[Cell]] = {}
        for cell in self.cells:
            found.setdefault(cell.pkgname, []).append(cell)
        return found

    @cached_property
    def _runtime(self) -> CellPackages:
        subs = [sub for cell in self.cells if cell.may_have_subs for sub in cell.subs()]
        return CellPackages(self._by_name, Cell.definition, [cell for cell in self.cells if cell.may_provide], subs)

    @cached_property
    def _compiler(self) -> CellPackages:
        return CellPackages(self._by_name, Cell.view, [cell for cell in self.cells if cell.view_may_provide])

    def get(self, id: PackageId) -> TreePackage | None:
        """The package of exactly this identity; sub-packages are not found. Raises SpecError."""
        cell = self.cell(id)
        return None if cell is None else cell.package()

    def cell(self, id: PackageId) -> Cell | None:
        """The same, without reading it."""
        return next((cell for cell in self._by_name.get(id.pkgname, ()) if cell.id == id), None)

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
        """The files to copy to /luetbuild, sorted bytewise by path; as they are now (`context_digest`: as they were).

        A file is read again where its stat would not tell of a change. Raises as `context_digest`.
        """
        return context_files(self._snapshots[package.root], package.folder, self._index)

    def keyed_files(self, package: TreePackage) -> tuple[ContextFile, ...]:
        """The same, which must be those of `context_digest`. Raises TreebuildError ("context-changed") too."""
        files = self.context_files(package)
        if digest_of(files) != self.context_digest(package):
            raise TreebuildError(
                f"{package.context} was changed while the build ran", hint="run the build again",
                reason="context-changed",
            )  # fmt: skip
        return files

    def finalizer(self, package: TreePackage, tell: Tell | None = None) -> Finalizer | None:
        """The package's finalize.yaml, rendered; None without one. `tell` is told what to warn of. Raises SpecError."""
        if not package.finalize:
            return None
        from treebuilder.tree.finalizer import read_finalizer

        return read_finalizer(package.finalize, package.package, file=package.finalize_file, tell=tell)

    def fingerprint(self) -> str:
        """What `tree_fingerprint` gives for the same roots and options, taken before anything was read."""
        return self._fingerprint
