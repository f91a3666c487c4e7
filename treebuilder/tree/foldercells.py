"""The specfile index: what a folder's specfiles said last time, while neither they nor what they depend on changed.

The record of the whole tree (`wholetree`) has what all folders define; one that was read whole has a record of its own
as well, with recipes and warnings.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import stat
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from treebuilder.errors import Place, SpecError
from treebuilder.model.package import Package, PackageId
from treebuilder.tree import stored
from treebuilder.tree.index import FileStamp, SpecIndex
from treebuilder.tree.package import TreePackage
from treebuilder.tree.rows import NO_STAMP, Rows
from treebuilder.tree.snapshot import Entry, Snapshot

PREFIX = "cells//"
Warning_ = tuple[str, str, Place]  # an unknown key, or what else is odd, and where it stands
_pack = struct.Struct("<5q").pack


class Folder(Protocol):
    """A folder that may define packages."""

    @property
    def path(self) -> str: ...

    @property
    def files(self) -> Mapping[str, Entry]: ...


class FolderReader(Protocol):
    """What reads a folder's specfiles. All raise SpecError."""

    def folders(self) -> Iterator[Folder]:
        """All folders of the root in walk order."""
        ...

    def refuse(self, err: SpecError) -> None:
        """Notes a broken folder, or raises the error."""
        ...

    def dockerfiles(self, folder: Any) -> Iterator[TreePackage]:  # noqa: ANN401 - the reader's own folders
        """The packages that the Dockerfiles of a folder are."""
        ...

    def folder(self, path: str) -> Folder:
        """The folder of a relative path."""
        ...

    def definitions(self, folder: Any) -> tuple[list[Any], bool]:  # noqa: ANN401 - the reader's own folders
        """Its packages, encoded or not, and whether their recipes may name sub-packages."""
        ...

    def packages(self, folder: Any, *, again: bool) -> tuple[list[TreePackage], list[Warning_]]:  # noqa: ANN401
        """Its packages read whole, and what to warn of. `again`: their identities are claimed already."""
        ...

    def claim(self, id: PackageId, where: Callable[[], Place]) -> None: ...

    def warn(self, warnings: Sequence[Warning_]) -> None: ...


class FolderCells:
    """Fills the rows of one root, folder by folder, through the index."""

    def __init__(
        self, index: SpecIndex | None, base: bytes, snapshot: Snapshot, reader: FolderReader, *, recipes: bool
    ) -> None:
        self._index = index
        self._base = hashlib.sha256(base + f"\0{snapshot.root}\0{snapshot.absolute}".encode("utf-8", "surrogateescape"))
        self._snapshot = snapshot
        self._reader = reader
        self._recipes = recipes
        self._before = Rows(snapshot.root, self._later)
        self._at: dict[bytes, list[int]] = {}
        self.rows = self._before
        self.complete = index is not None

    def compare_with(self, columns: tuple[Any, ...]) -> None:
        """Takes what was known of the root: all its rows, until `read` looks which of them are still true."""
        self._before.load(columns)

    def is_enough(self) -> bool:
        """Whether the rows tell as much as is asked for."""
        return not self._recipes or all(self.rows.whole)

    def read(self, *, dockerfiles: bool) -> None:
        """Reads every folder that is not known as it is. Raises SpecError where faults are not collected."""
        self.rows = Rows(self._snapshot.root, self._later)
        for row, stamp in enumerate(self._before.stamps):
            self._at.setdefault(stamp, []).append(row)
        for folder in self._reader.folders():
            try:
                self._add_folder(folder)
                if dockerfiles:
                    for made in self._reader.dockerfiles(folder):
                        self.complete = False
                        self.rows.add_made(folder.path, 0, made)
            except SpecError as err:
                self._reader.refuse(err)

    def _add_folder(self, folder: Folder) -> None:
        """The rows of a folder. Raises SpecError."""
        if not ("definition.yaml" in folder.files or "collection.yaml" in folder.files):
            return
        stamp = self._stamp(folder) if self._index is not None else NO_STAMP
        self.complete &= stamp is not NO_STAMP
        if self._copied(stamp) or (self._recipes and self._recalled(folder, stamp)):
            return
        if self._recipes:
            made, warnings = self._reader.packages(folder, again=False)
            self._reader.warn(warnings)
            if stamp is NO_STAMP:
                for number, package in enumerate(made):
                    self.rows.add_made(folder.path, number, package)
                return
            whole = tuple(_whole(package) for package in made)
            self._put(stamp, warnings, whole)
            self._add(folder, [item[:3] for item in whole], stamp, whole=True)
            return
        packages, subs = self._reader.definitions(folder)
        for package in packages:
            self._claim(package)
        self._add(folder, [(package, None if subs else (), None) for package in packages], stamp, whole=False)

    def _copied(self, stamp: bytes) -> bool:
        before, found = self._before, self._at.get(stamp)
        if found is None or stamp is NO_STAMP:
            return False
        if self._recipes and not all(before.whole[row] for row in found):
            return False
        for row in found:
            definition, subs, _ = before.item(row)
            for package in (definition, *(subs or ())):
                self._claim(package)
            self.rows.copy(before, row)
        return True

    def _recalled(self, folder: Folder, stamp: bytes) -> bool:
        known = self._known(stamp)
        if known is None:
            return False
        for definition, subs, _, _ in known[1]:
            for package in (definition, *subs):
                self._claim(package)
        self._add(folder, [item[:3] for item in known[1]], stamp, whole=True)
        return True

    def _add(self, folder: Folder, items: list[tuple[Any, Any, Any]], stamp: bytes, *, whole: bool) -> None:
        for number, item in enumerate(items):
            self.rows.add(folder.path, number, item, stamp, whole=whole, packs=stamp is not NO_STAMP)

    def _claim(self, package: Any) -> None:  # noqa: ANN401 - a package, encoded or not
        id = package.id if isinstance(package, Package) else stored.decode(package[stored.ID])
        self._reader.claim(id, partial(_where, package))

    # reading a package whole --------------------------------------------------------------------------------------
    def _later(self, row: int) -> TreePackage:
        folder, number = self._reader.folder(self.rows.folders[row]), self.rows.numbers[row]
        stamp = self._stamp(folder) if self._index is not None else NO_STAMP
        known = self._known(stamp)
        if known is not None:
            warnings, items = known
            self._reader.warn(stored.decode(warnings))
            return self._decoded(folder, items[number][0], items[number][3])
        made, warnings = self._reader.packages(folder, again=True)
        if stamp is not NO_STAMP:
            self._put(stamp, warnings, tuple(_whole(package) for package in made))
        self._reader.warn(warnings)
        return made[number]

    def _known(self, stamp: bytes) -> Any:  # noqa: ANN401 - decoded as it is needed
        data = self._index.get(_key(stamp)) if self._index is not None and stamp is not NO_STAMP else None
        return None if data is None else stored.load(data)

    def _put(self, stamp: bytes, warnings: Sequence[Warning_], items: tuple[Any, ...]) -> None:
        if self._index is not None:
            self._index.put(_key(stamp), stored.dump((stored.encode(tuple(warnings)), items)))

    def _stamp(self, folder: Folder) -> bytes:
        """What a folder's record stands under; none while a file is so young that its stat may lie, or is a link."""
        key = self._base.copy()
        key.update(folder.path.encode("utf-8", "surrogateescape"))
        for name, entry in sorted(folder.files.items()):
            if not stat.S_ISREG(entry.mode) or self._snapshot.is_young(entry):
                return NO_STAMP
            key.update(f"\0{name}\0".encode() + _pack(*entry[1:]))
        return key.digest()

    def _decoded(self, folder: Folder, definition: Any, body: bytes) -> TreePackage:  # noqa: ANN401
        recipe, finalize, finalize_file, values = marshal.loads(body)  # noqa: S302 - checked with its record
        place = self._snapshot.absolute
        context = os.path.join(place, folder.path) if folder.path else place
        return TreePackage(
            stored.decode(definition), stored.decode(recipe), context, folder.path, finalize, finalize_file,
            self._snapshot.root, values,
        )  # fmt: skip


def _key(stamp: bytes) -> FileStamp:
    return FileStamp(PREFIX + stamp.hex(), 0, 0, 0, 0)


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
