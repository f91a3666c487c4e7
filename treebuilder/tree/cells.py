"""Packages of a tree that are made when they are asked for.

To list 20,000 packages nobody needs their recipes, and to solve for one only its closure: a cell holds a package as
far as it was read, from the specfiles or from the index, and makes the rest on demand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from treebuilder.model.package import Package, PackageId
from treebuilder.model.packageset import MemoryPackages
from treebuilder.model.version import newest_first
from treebuilder.records import replace
from treebuilder.tree.package import TreePackage
from treebuilder.tree.stored import ID, PROVIDES, decode


def shown_path(root: str, folder: str) -> str:
    return f"{root}/{folder}"


class Cell:
    """One package: `id` and `path` are known, the rest is made by `definition`, `subs`, `view` and `package`.

    `path` is its folder, under the `root` as the user wrote it. `definition` may be encoded (`stored`). `subs` are
    the sub-packages, encoded; None where only the recipe can tell. `view` is (requires, conflicts, provides) of the
    build, encoded; () where it is the definition, None where only the recipe can tell.
    """

    __slots__ = (
        "_definition", "_made", "_make", "_subs", "_view", "id", "may_provide", "path", "root", "view_may_provide"
    )  # fmt: skip

    def __init__(
        self, root: str, folder: str, definition: Any, subs: Any, view: Any, make: Callable[[], TreePackage],  # noqa: ANN401
    ) -> None:  # fmt: skip
        if isinstance(definition, Package):
            self.id, self.may_provide = definition.id, bool(definition.provides)
        else:
            self.id, self.may_provide = decode(definition[ID]), bool(definition[PROVIDES])
        self.view_may_provide = view is None or bool(view and view[2]) or (not view and self.may_provide)
        self.root, self.path = root, shown_path(root, folder)
        self._definition, self._subs, self._view, self._make = definition, subs, view, make
        self._made: TreePackage | None = None

    @staticmethod
    def of(made: TreePackage) -> Cell:
        """The cell of a package that has been read whole."""
        cell = Cell(made.root, made.folder, made.package, None, None, lambda: made)
        cell._made = made
        return cell

    def definition(self) -> Package:
        """The definition as written."""
        if not isinstance(self._definition, Package):
            self._definition = decode(self._definition)
        found: Package = self._definition
        return found

    def subs(self) -> tuple[Package, ...]:
        """The packages that are carved out of this one."""
        if self._subs is None:
            self._subs = tuple(sub.package for sub in self.package().recipe.subpackages)
        elif self._subs:
            self._subs = decode(self._subs)
        return tuple(self._subs)

    def view(self) -> Package:
        """The definition as the build sees it."""
        if self._view is None:
            return build_view(self.package())
        if self._view:
            requires, conflicts, provides = decode(self._view)
            return replace(self.definition(), requires=requires, conflicts=conflicts, provides=provides)
        return self.definition()

    def package(self) -> TreePackage:
        """Everything; reads and renders the recipe now, if nobody has. Raises SpecError."""
        if self._made is None:
            self._made = self._make()
        return self._made


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


class CellPackages:
    """A PackageSet over cells. The first of several with equal identity wins, as in `MemoryPackages`."""

    def __init__(self, items: Iterable[tuple[PackageId, Callable[[], Package], bool]]) -> None:
        """`items` are an identity, what makes the package, and whether it may provide something."""
        self._makers: dict[PackageId, Callable[[], Package]] = {}
        self._made: dict[PackageId, Package] = {}
        self._ids: dict[str, list[PackageId]] = {}
        self._versions: dict[str, tuple[Package, ...]] = {}
        self._provided: MemoryPackages | None = None
        self._providing: list[PackageId] = []
        for id, make, may_provide in items:
            if id not in self._makers:
                self._makers[id] = make
                if may_provide:
                    self._providing.append(id)
                self._ids.setdefault(id.pkgname, []).append(id)

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._ids))

    def versions(self, pkgname: str) -> tuple[Package, ...]:
        found = self._versions.get(pkgname)
        if found is None:
            made = [self._get(id) for id in self._ids.get(pkgname, ())]
            found = self._versions[pkgname] = newest_first(made) if len(made) > 1 else tuple(made)
        return found

    def find(self, package: PackageId) -> Package | None:
        return self._get(package) if package in self._makers else None

    def providers(self, pkgname: str) -> tuple[Package, ...]:
        if self._provided is None:
            self._provided = MemoryPackages(p for p in map(self._get, self._providing) if p.provides)
        return self._provided.providers(pkgname)

    def __iter__(self) -> Iterator[Package]:
        """All packages, in the order given."""
        return (self._get(id) for id in self._makers)

    def _get(self, id: PackageId) -> Package:
        made = self._made.get(id)
        if made is None:
            made = self._made[id] = self._makers[id]()
        return made
