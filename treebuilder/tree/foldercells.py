"""The specfile index: what a folder's specfiles said last time, while neither they nor what they depend on changed.

The record of the whole tree (`wholetree`) has what all folders define; one that was read whole has a record of its own
as well, with recipes and warnings.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from treebuilder.annotations import Any, Protocol
from treebuilder.errors import Place, SpecError
from treebuilder.model.package import Package
from treebuilder.tree import stored
from treebuilder.tree.index import FileStamp, SpecIndex
from treebuilder.tree.package import TreePackage
from treebuilder.tree.rows import MAY_HAVE_SUBS, NO_STAMP, Rows, view_of
from treebuilder.tree.snapshot import Entry, Snapshot

PREFIX = "cells//"
_SEVERAL = 4  # folders of several packages that are kept as they were read: who asks for one asks for the next
Item = tuple[Any, Any, Any, tuple[Any, str, str, str]]  # as in `Rows.add`; recipe, finalize.yaml, its path, values
Warning_ = tuple[str, str, Place]  # an unknown key, or what else is odd, and where it stands


class Folder(Protocol):
    """A folder that may define packages."""

    @property
    def path(self) -> str: ...

    @property
    def at(self) -> int:
        """Its number in the snapshot, -1 for the root."""
        ...

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

    def plain(self, folder: Any) -> Item | None:  # noqa: ANN401
        """Its package read whole, if it is one of the plainest, of which there is nothing to warn."""
        ...

    def packages(self, folder: Any, *, again: bool) -> tuple[list[TreePackage], list[Warning_]]:  # noqa: ANN401
        """Its packages read whole, and what to warn of. `again`: their identities are claimed already."""
        ...

    def claim(self, key: tuple[str, str, str], where: Callable[[], Place]) -> None: ...

    def warn(self, warnings: Sequence[Warning_]) -> None: ...


class FolderCells:
    """Fills the rows of one root, folder by folder, through the index."""

    def __init__(
        self, index: SpecIndex | None, base: bytes, snapshot: Snapshot, reader: FolderReader, *, recipes: bool
    ) -> None:
        self._index = index
        place = f"\0{snapshot.root}\0{snapshot.absolute}"
        self._base = hashlib.sha256(base + place.encode("utf-8", "surrogateescape")).digest()
        self._snapshot = snapshot
        self._reader = reader
        self._recipes = recipes
        self._before = Rows(snapshot.root, self._later)
        self._at: dict[bytes, list[int]] = {}
        self._several: dict[tuple[str, bytes], Sequence[TreePackage | Item]] = {}
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
            item = self._reader.plain(folder)
            if item is not None:
                self._claim(item[0])
                if stamp is NO_STAMP:
                    self.rows.add_made(folder.path, 0, self._decoded(folder.path, item))
                    return
                self._put(stamp, (), (item,))
                self._add(folder, [item[:3]], stamp, whole=True)
                return
            made, warnings = self._reader.packages(folder, again=False)
            self._reader.warn(warnings)
            if stamp is NO_STAMP:
                for number, package in enumerate(made):
                    self.rows.add_made(folder.path, number, package)
                return
            whole = tuple(_whole(package) for package in made)
            self._put(stamp, warnings, whole)
            # What is warned of is looked up again each time, so that it is said each time.
            self._add(folder, [item[:3] for item in whole], stamp, whole=not warnings)
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
            key = before.categories[row], before.names[row], before.versions[row]
            self._reader.claim(key, partial(_place_of, before, row))
            if before.flags[row] & MAY_HAVE_SUBS:
                for package in before.item(row)[1] or ():
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
        warnings = stored.decode(known[0])
        self._reader.warn(warnings)
        self._add(folder, [item[:3] for item in known[1]], stamp, whole=not warnings)
        return True

    def _add(self, folder: Folder, items: list[tuple[Any, Any, Any]], stamp: bytes, *, whole: bool) -> None:
        for number, item in enumerate(items):
            self.rows.add(folder.path, number, item, stamp, whole=whole, packs=stamp is not NO_STAMP)

    def _claim(self, package: Any) -> None:  # noqa: ANN401 - a package, encoded or not
        if isinstance(package, Package):
            id, where = package.id, package.where
            self._reader.claim((id.category, id.name, id.version), lambda: where)
        else:
            self._reader.claim(tuple(package[stored.ID][1:]), partial(stored.decode, package[stored.WHERE]))

    # reading a package whole --------------------------------------------------------------------------------------
    def _later(self, row: int) -> TreePackage:
        path, number, stamp = self.rows.folders[row], self.rows.numbers[row], self.rows.stamps[row]
        read = self._several.get((path, stamp))
        if read is None:
            read = self._packages(path, stamp)
            if len(read) > 1:
                if len(self._several) >= _SEVERAL:
                    del self._several[next(iter(self._several))]
                self._several[path, stamp] = read
        item = read[number]
        return item if isinstance(item, TreePackage) else self._decoded(path, item)

    def _packages(self, path: str, stamp: bytes) -> Sequence[TreePackage | Item]:
        """All packages of a folder, and the warnings that come with them."""
        known = self._known(stamp)
        if known is not None:
            warnings, items = known
            self._reader.warn(stored.decode(warnings))
            found: Sequence[Item] = items
            return found
        made, told = self._reader.packages(self._reader.folder(path), again=True)
        if stamp is not NO_STAMP:
            self._put(stamp, told, tuple(_whole(package) for package in made))
        self._reader.warn(told)
        return made

    def _known(self, stamp: bytes) -> Any:  # noqa: ANN401 - decoded as it is needed
        data = self._index.get(_key(stamp)) if self._index is not None and stamp is not NO_STAMP else None
        return None if data is None else stored.load(data)

    def _put(self, stamp: bytes, warnings: Sequence[Warning_], items: tuple[Item, ...]) -> None:
        if self._index is not None:
            self._index.put(_key(stamp), stored.dump((stored.encode(tuple(warnings)), items)))

    def _stamp(self, folder: Folder) -> bytes:
        """What a folder's record stands under; none while a file is so young that its stat may lie, or is a link.

        It covers all files, as those beside the specfiles count for what is random in a template.
        """
        for entry in folder.files.values():
            if not stat.S_ISREG(entry.mode):
                return NO_STAMP
        stats = self._snapshot.stamp(folder.at)
        path = folder.path.encode("utf-8", "surrogateescape")
        return hashlib.sha256(b"\0".join((self._base, path, stats))).digest() if stats else NO_STAMP

    def _decoded(self, folder: str, item: Item) -> TreePackage:
        definition, _, _, (recipe, finalize, finalize_file, values) = item
        place = self._snapshot.absolute
        context = os.path.join(place, folder) if folder else place
        return TreePackage(
            stored.decode(definition), stored.decode(recipe), context, folder, finalize, finalize_file,
            self._snapshot.root, values,
        )  # fmt: skip


def _key(stamp: bytes) -> FileStamp:
    return FileStamp(PREFIX + stamp.hex(), 0, 0, 0, 0)


def _place_of(rows: Rows, row: int) -> Place:
    place: Place = stored.decode(rows.item(row)[0][stored.WHERE])
    return place


def _whole(found: TreePackage) -> Item:
    subs = tuple(stored.encode(sub.package) for sub in found.recipe.subpackages)
    definition, recipe = stored.encode(found.package), stored.encode(found.recipe)
    return definition, subs, view_of(definition, recipe), (recipe, found.finalize, found.finalize_file, found.values)
