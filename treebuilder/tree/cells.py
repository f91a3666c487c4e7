"""Packages of a tree that are made when they are asked for.

To list 20,000 packages nobody needs their recipes, and to solve for one only its closure: a cell is a row (`rows`) and
makes of it what is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from treebuilder.model.package import Package, PackageId
from treebuilder.model.packageset import MemoryPackages
from treebuilder.model.version import newest_first
from treebuilder.records import replace
from treebuilder.tree.package import TreePackage
from treebuilder.tree.rows import MAY_HAVE_SUBS, MAY_PROVIDE, VIEW_MAY_PROVIDE, Rows
from treebuilder.tree.stored import decode


def shown_path(root: str, folder: str) -> str:
    return f"{root}/{folder}"


class Cell:
    """One package: what it is called is known, the rest is made by `definition`, `subs`, `view` and `package`."""

    __slots__ = ("_definition", "_id", "_made", "_row", "_rows")

    def __init__(self, rows: Rows, row: int) -> None:
        self._rows = rows
        self._row = row
        self._id: PackageId | None = None
        self._definition: Package | None = None
        self._made: TreePackage | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """Category, name and version: cells sorted by it are sorted by `id`."""
        rows, row = self._rows, self._row
        return rows.categories[row], rows.names[row], rows.versions[row]

    @property
    def pkgname(self) -> str:
        return f"{self._rows.categories[self._row]}/{self._rows.names[self._row]}"

    @property
    def id(self) -> PackageId:
        if self._id is None:
            self._id = PackageId(*self.key)
        return self._id

    @property
    def root(self) -> str:
        """The tree it stands in, as the user wrote it."""
        return self._rows.root

    @property
    def path(self) -> str:
        """Its folder, under the `root`."""
        return shown_path(self._rows.root, self._rows.folders[self._row])

    @property
    def may_provide(self) -> bool:
        return bool(self._rows.flags[self._row] & MAY_PROVIDE)

    @property
    def view_may_provide(self) -> bool:
        return bool(self._rows.flags[self._row] & VIEW_MAY_PROVIDE)

    @property
    def may_have_subs(self) -> bool:
        return bool(self._rows.flags[self._row] & MAY_HAVE_SUBS)

    def definition(self) -> Package:
        """The definition as written."""
        if self._definition is None:
            found = self._rows.items[self._row]
            if isinstance(found, TreePackage):
                self._definition = found.package
            else:
                known = self._rows.item(self._row)[0]
                self._definition = known if isinstance(known, Package) else decode(known)
        return self._definition

    def subs(self) -> tuple[Package, ...]:
        """The packages that are carved out of this one. Raises SpecError."""
        if not self.may_have_subs:
            return ()
        found = self._rows.items[self._row]
        known = None if isinstance(found, TreePackage) else self._rows.item(self._row)[1]
        if known is None:
            return tuple(sub.package for sub in self.package().recipe.subpackages)
        subs: tuple[Package, ...] = decode(known)
        return subs

    def view(self) -> Package:
        """The definition as the build sees it. Raises SpecError."""
        found = self._rows.items[self._row]
        known = None if isinstance(found, TreePackage) else self._rows.item(self._row)[2]
        if known is None:
            return build_view(self.package())
        if known:
            requires, conflicts, provides = decode(known)
            return replace(self.definition(), requires=requires, conflicts=conflicts, provides=provides)
        return self.definition()

    def package(self) -> TreePackage:
        """Everything; reads and renders the recipe now, if nobody has. Raises SpecError."""
        if self._made is None:
            found = self._rows.items[self._row]
            self._made = found if isinstance(found, TreePackage) else self._rows.make(self._row)
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
    """A PackageSet over cells, and packages behind them. The first of several with equal identity wins."""

    def __init__(
        self,
        cells: Mapping[str, Sequence[Cell]],
        make: Callable[[Cell], Package],
        providing: Iterable[Cell],
        more: Iterable[Package] = (),
    ) -> None:
        """`cells` are by pkgname, `make` gives the package of one, `providing` are all that may provide something."""
        self._cells = cells
        self._make = make
        self._providing = providing
        self._more: dict[str, list[Package]] = {}
        for package in more:
            self._more.setdefault(package.id.pkgname, []).append(package)
        self._made: dict[str, dict[PackageId, Package]] = {}
        self._versions: dict[str, tuple[Package, ...]] = {}
        self._provided: MemoryPackages | None = None

    def names(self) -> tuple[str, ...]:
        return tuple(sorted({*self._cells, *self._more}))

    def versions(self, pkgname: str) -> tuple[Package, ...]:
        found = self._versions.get(pkgname)
        if found is None:
            made = tuple(self._of(pkgname).values())
            found = self._versions[pkgname] = newest_first(made) if len(made) > 1 else made
        return found

    def find(self, package: PackageId) -> Package | None:
        return self._of(package.pkgname).get(package)

    def providers(self, pkgname: str) -> tuple[Package, ...]:
        if self._provided is None:
            found = [self._of(cell.pkgname)[cell.id] for cell in self._providing]
            found += [package for packages in self._more.values() for package in packages]
            self._provided = MemoryPackages(package for package in found if package.provides)
        return self._provided.providers(pkgname)

    def _of(self, pkgname: str) -> dict[PackageId, Package]:
        known = self._made.get(pkgname)
        if known is None:
            known = {cell.id: self._make(cell) for cell in self._cells.get(pkgname, ())}
            for package in self._more.get(pkgname, ()):
                known.setdefault(package.id, package)
            if known:
                self._made[pkgname] = known
        return known
