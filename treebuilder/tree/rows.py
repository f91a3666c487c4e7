"""What is known of the packages of a root, a row each.

A tree of 20,000 packages is 20,000 rows and no object: columns of texts, and packed bytes from which a `Cell` makes
what somebody asks for. Rows are written to the index as they are.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable

from treebuilder.annotations import Any
from treebuilder.model.package import Package, Recipe
from treebuilder.tree import stored
from treebuilder.tree.package import TreePackage

MAY_PROVIDE, VIEW_MAY_PROVIDE, MAY_HAVE_SUBS = 1, 2, 4
Item = tuple[Any, Any, Any]  # definition, sub-packages and view of a package, as `Rows.add` takes them
NO_STAMP = b""
_RECIPE = stored.slots(Recipe)


class Rows:
    """Packages in walk order. `make` reads the package of a row whole; `root` is as the user wrote it.

    A row is: the folder, relative to the root; which of its packages; category, name, version; flags; the stamp of
    its folder (`NO_STAMP` for none); whether the recipe has been read; and the rest, packed or as it was made.
    """

    __slots__ = (
        "categories", "flags", "folders", "items", "make", "names", "numbers", "root", "stamps", "versions", "whole"
    )  # fmt: skip

    def __init__(self, root: str, make: Callable[[int], TreePackage]) -> None:
        self.root = root
        self.make = make
        self.folders: list[str] = []
        self.numbers: list[int] = []
        self.categories: list[str] = []
        self.names: list[str] = []
        self.versions: list[str] = []
        self.flags = bytearray()
        self.stamps: list[bytes] = []
        self.whole = bytearray()
        self.items: list[Any] = []

    def __len__(self) -> int:
        return len(self.names)

    def add_made(self, folder: str, number: int, made: TreePackage) -> None:
        """A package that has been read whole and is kept so."""
        id = made.package.id
        flags = MAY_PROVIDE if made.package.provides else 0
        flags |= VIEW_MAY_PROVIDE if made.recipe.provides or made.package.provides else 0
        flags |= MAY_HAVE_SUBS if made.recipe.subpackages else 0
        self._add(folder, number, (id.category, id.name, id.version), flags, NO_STAMP, True, made)

    def add(self, folder: str, number: int, item: Item, stamp: bytes, *, whole: bool, packs: bool) -> None:
        """A package by its definition, encoded or not; `subs`, encoded, None where only the recipe can tell; `view`.

        The view is what the build sees: (requires, conflicts, provides), encoded; () where it is the definition,
        None where only the recipe can tell. `packs`: it is kept as bytes, which take a tenth of the memory.
        """
        definition, subs, view = item
        if isinstance(definition, Package):
            id = definition.id
            key, provides = (id.category, id.name, id.version), bool(definition.provides)
            if packs:
                item = (stored.encode(definition), subs, view)
        else:
            _, category, name, version = definition[stored.ID]
            key, provides = (category, name, version), bool(definition[stored.PROVIDES])
        flags = MAY_PROVIDE if provides else 0
        flags |= VIEW_MAY_PROVIDE if view is None or (view[2] if view else provides) else 0
        flags |= MAY_HAVE_SUBS if subs is None or subs else 0
        self._add(folder, number, key, flags, stamp, whole, marshal.dumps(item) if packs else item)

    def copy(self, other: Rows, row: int) -> None:
        """The row of another root, or of another time."""
        key = other.categories[row], other.names[row], other.versions[row]
        self._add(
            other.folders[row], other.numbers[row], key, other.flags[row], other.stamps[row], bool(other.whole[row]),
            other.items[row],
        )  # fmt: skip

    def _add(
        self, folder: str, number: int, key: tuple[str, str, str], flags: int, stamp: bytes, whole: bool,
        item: object,
    ) -> None:  # fmt: skip
        self.folders.append(folder)
        self.numbers.append(number)
        self.categories.append(key[0])
        self.names.append(key[1])
        self.versions.append(key[2])
        self.flags.append(flags)
        self.stamps.append(stamp)
        self.whole.append(whole)
        self.items.append(item)

    def item(self, row: int) -> Item:
        """Definition, sub-packages and view, as `add` takes them."""
        found = self.items[row]
        if isinstance(found, bytes):
            found = marshal.loads(found)  # noqa: S302 - checked with the record it came in
        item: Item = found
        return item

    def dumped(self) -> tuple[Any, ...]:
        """The columns, for `marshal`."""
        return (
            self.folders, self.numbers, self.categories, self.names, self.versions, bytes(self.flags), self.stamps,
            bytes(self.whole), self.items,
        )  # fmt: skip

    def load(self, columns: tuple[Any, ...]) -> None:
        """What `dumped` gave."""
        self.folders, self.numbers, self.categories, self.names, self.versions, *rest = columns
        flags, self.stamps, whole, self.items = rest
        self.flags, self.whole = bytearray(flags), bytearray(whole)


def view_of(definition: Any, recipe: Any) -> tuple[Any, ...]:  # noqa: ANN401 - encoded
    """The view of a package (`Rows.add`) whose recipe has been read, both encoded."""
    if not recipe[_RECIPE["has_build_file"]]:
        return ()
    requires, conflicts, provides = (recipe[_RECIPE[key]] for key in ("requires", "conflicts", "provides"))
    return requires, conflicts, provides or definition[stored.PROVIDES]
