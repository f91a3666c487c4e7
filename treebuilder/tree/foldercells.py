"""The specfile index: what a folder's specfiles said last time, while neither they nor what they depend on changed.

A folder's record is either whole (definitions, recipes, warnings) or, after a mere listing, its definitions alone.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from treebuilder.errors import Place
from treebuilder.model.package import Package, PackageId
from treebuilder.tree import stored
from treebuilder.tree.cells import Cell
from treebuilder.tree.context import is_young
from treebuilder.tree.index import FileStamp, SpecIndex
from treebuilder.tree.package import TreePackage
from treebuilder.tree.snapshot import Entry, Snapshot
from treebuilder.tree.wholetree import Listed, pack, unpack

PREFIX = "cells//"
Warning_ = tuple[str, str, Place]  # an unknown key, or what else is odd, and where it stands


class Folder(Protocol):
    """A folder that may define packages."""

    @property
    def path(self) -> str: ...

    @property
    def files(self) -> Mapping[str, Entry]: ...


class FolderReader(Protocol):
    """What reads a folder's specfiles. All raise SpecError."""

    def definitions(self, folder: Any) -> tuple[list[Package], bool]:  # noqa: ANN401 - the reader's own folders
        """Its packages, and whether their recipes may name sub-packages."""
        ...

    def packages(self, folder: Any, *, again: bool) -> tuple[list[TreePackage], list[Warning_]]:  # noqa: ANN401
        """Its packages read whole, and what to warn of. `again`: their identities are claimed already."""
        ...

    def claim(self, id: PackageId, where: Callable[[], Place]) -> None: ...

    def warn(self, warnings: Sequence[Warning_]) -> None: ...


class FolderCells:
    """Cells of one root's folders, through the index."""

    def __init__(
        self, index: SpecIndex | None, base: bytes, snapshot: Snapshot, reader: FolderReader, *, recipes: bool
    ) -> None:
        self._index = index
        self._base = hashlib.sha256(base + f"\0{snapshot.root}\0{snapshot.absolute}".encode("utf-8", "surrogateescape"))
        self._snapshot = snapshot
        self._reader = reader
        self._recipes = recipes
        self.listed: Listed = []
        self.complete = index is not None
        self.whole = True

    def again(self, listed: Listed, folder_of: Callable[[str], Folder]) -> Iterator[Cell]:
        """The cells of all folders, from the record of the whole tree."""
        for path, items in listed:
            for number, (definition, subs, view) in enumerate(unpack(items)):
                later = partial(self._later, folder_of, path, number)
                yield Cell(self._snapshot.root, path, definition, subs, view, later)

    def _later(self, folder_of: Callable[[str], Folder], path: str, number: int) -> TreePackage:
        folder = folder_of(path)
        known = self._known(self._stamp(folder))
        if known is None or not known[0]:
            return self._read_now(folder, number)
        _, warnings, items = known
        return self._decoded(folder, items[number][0], items[number][3], warnings)

    def of(self, folder: Folder) -> Iterator[Cell]:
        """The cells of a folder. Raises SpecError."""
        if not ("definition.yaml" in folder.files or "collection.yaml" in folder.files):
            return
        stamp = self._stamp(folder) if self._index is not None else None
        self.complete &= stamp is not None
        known = self._known(stamp)
        if known is not None and (known[0] or not self._recipes):
            self._list(folder, known[0], known[2])
            yield from self._stored(folder, known)
            return
        if self._recipes:
            made, warnings = self._reader.packages(folder, again=False)
            whole = tuple(_whole(package) for package in made)
            self._put(stamp, (True, stored.encode(tuple(warnings)), whole))
            self._list(folder, True, whole)
            self._reader.warn(warnings)
            yield from map(Cell.of, made)
            return
        packages, subs = self._reader.definitions(folder)
        for package in packages:
            self._reader.claim(package.id, partial(_where, package))
        bare = tuple((stored.encode(package), None if subs else (), None, None) for package in packages)
        self._put(stamp, (False, (), bare))
        self._list(folder, False, bare)
        for number, package in enumerate(packages):
            yield Cell(
                self._snapshot.root,
                folder.path,
                package,
                None if subs else (),
                None,
                partial(self._read_now, folder, number),
            )

    def _known(self, stamp: FileStamp | None) -> Any:  # noqa: ANN401 - decoded as it is needed
        data = self._index.get(stamp) if self._index is not None and stamp is not None else None
        return None if data is None else stored.load(data)

    def _list(self, folder: Folder, whole: bool, items: tuple[tuple[Any, Any, Any, Any], ...]) -> None:
        self.whole &= whole
        self.listed.append((folder.path, pack(tuple(item[:3] for item in items))))

    def _put(self, stamp: FileStamp | None, value: tuple[Any, ...]) -> None:
        if self._index is not None and stamp is not None:
            self._index.put(stamp, stored.dump(value))

    def _stamp(self, folder: Folder) -> FileStamp | None:
        """What a folder's record stands under; None while a file is so young that its stat may lie, or is a link."""
        files = sorted(folder.files.items())
        if any(not stat.S_ISREG(entry.mode) or is_young(entry) for _, entry in files):
            return None
        key = self._base.copy()
        key.update(repr((folder.path, [tuple(entry) for _, entry in files])).encode("utf-8", "surrogateescape"))
        return FileStamp(PREFIX + key.hexdigest(), len(files), 0, 0, 0)

    def _stored(self, folder: Folder, known: Any) -> Iterator[Cell]:  # noqa: ANN401 - decoded as it is needed
        whole, warnings, items = known
        for number, (definition, subs, view, body) in enumerate(items):
            make = partial(self._decoded, folder, definition, body, warnings) if whole else None
            cell = Cell(
                self._snapshot.root,
                folder.path,
                definition,
                subs,
                view,
                make or partial(self._read_now, folder, number),
            )
            for one in (definition, *(subs or ())):
                self._reader.claim(
                    cell.id if one is definition else stored.decode(one[stored.ID]), partial(_where, one)
                )
            yield cell

    def _decoded(self, folder: Folder, definition: Any, body: bytes, warnings: Any) -> TreePackage:  # noqa: ANN401
        self._reader.warn(stored.decode(warnings))
        recipe, finalize, finalize_file, values = marshal.loads(body)  # noqa: S302 - checked with its record
        place = self._snapshot.absolute
        context = os.path.join(place, folder.path) if folder.path else place
        return TreePackage(
            stored.decode(definition), stored.decode(recipe), context, folder.path, finalize, finalize_file,
            self._snapshot.root, values,
        )  # fmt: skip

    def _read_now(self, folder: Folder, number: int) -> TreePackage:
        made, warnings = self._reader.packages(folder, again=True)
        self._put(self._stamp(folder), (True, stored.encode(tuple(warnings)), tuple(_whole(p) for p in made)))
        self._reader.warn(warnings)
        return made[number]


def _where(package: Any) -> Place:  # noqa: ANN401 - a package, encoded or not
    found: Package = package if isinstance(package, Package) else stored.decode(package)
    return found.where


def _whole(found: TreePackage) -> tuple[Any, Any, Any, bytes]:
    recipe = found.recipe
    subs = tuple(stored.encode(sub.package) for sub in recipe.subpackages)
    view: tuple[Any, ...] = ()
    if recipe.has_build_file:
        provides = recipe.provides or found.package.provides
        view = tuple(stored.encode(part) for part in (recipe.requires, recipe.conflicts, provides))
    body = marshal.dumps((stored.encode(recipe), found.finalize, found.finalize_file, found.values))
    return stored.encode(found.package), subs, view, body
