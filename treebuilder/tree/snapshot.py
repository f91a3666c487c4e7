"""One walk over a tree's folders: every file's name and stat, and nothing read.

Everything else works on this: finding specfiles, contexts, the fingerprint. An unchanged file costs one lstat.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from treebuilder.errors import SpecError


class Entry(NamedTuple):
    """A file below a root. `path` is relative with `/`; `mode` is st_mode; links are not followed."""

    path: str
    mode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def folder(self) -> str:
        """The relative path of the folder it stands in, "" for the root."""
        return self.path.rpartition("/")[0]


_NAME: Callable[[os.DirEntry[str]], str] = attrgetter("name")
_TYPE = 0o170000
_new = tuple.__new__  # half the time of calling the class


class Snapshot:
    """`root` as the user wrote it; `entries` in walk order: a folder's content follows it, names sorted bytewise."""

    def __init__(self, root: str, entries: tuple[Entry, ...]) -> None:
        self.root = root
        self.absolute = os.path.abspath(root)
        self.entries = entries
        self._before = os.path.join(root, "")
        self._start = {entry.path: index for index, entry in enumerate(entries)}

    def find(self, path: str) -> Entry | None:
        """The entry of a relative path."""
        index = self._start.get(path)
        return None if index is None else self.entries[index]

    def below(self, folder: str) -> Iterator[Entry]:
        """All entries inside a folder, at any depth, in walk order; "" is the root."""
        if not folder:
            yield from self.entries
            return
        prefix = folder + "/"
        for index in range(self._start[folder] + 1, len(self.entries)):
            entry = self.entries[index]
            if not entry.path.startswith(prefix):
                return
            yield entry

    def shown(self, path: str) -> str:
        """A relative path as the user would write it."""
        return f"{self._before}{path}" if path else self.root


def scan(root: str | Path) -> Snapshot:
    """Walks a root. Raises SpecError (reason "missing-tree")."""
    name = os.fspath(root)
    if not os.path.isdir(name):
        what = "is not a folder" if os.path.lexists(name) else "does not exist"
        raise SpecError(
            f"the tree {name} {what}", hint="give the folder of the specfiles with --tree", reason="missing-tree"
        )
    found: list[Entry] = []
    _walk(name, "", found)
    return Snapshot(name, tuple(found))


def _walk(folder: str, relative: str, found: list[Entry]) -> None:
    try:
        with os.scandir(folder) as listing:
            entries = list(listing)
    except OSError as err:
        raise SpecError(f"cannot read the folder {folder}: {err.strerror}", reason="missing-tree") from err
    if len(entries) > 1:
        plain = all(entry.name.isascii() for entry in entries)  # then texts are ordered as their bytes are
        entries.sort(key=_NAME if plain else lambda entry: os.fsencode(entry.name))
    for entry in entries:
        try:
            info = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue  # it vanished between the listing and here
        path = f"{relative}/{entry.name}" if relative else entry.name
        mode = info.st_mode
        found.append(_new(Entry, (path, mode, info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino)))
        if mode & _TYPE == stat.S_IFDIR:
            _walk(entry.path, path, found)


def fingerprint(
    snapshots: Iterable[Snapshot],
    values_files: Sequence[str | Path] = (),
    *,
    template_env: Mapping[str, str] | None = None,
    epoch_s: int = 0,
    dockerfiles: bool = False,
    layering: str = "chain",
) -> str:
    """A text that changes when any stat below the roots, a values file's stat, or an option does."""
    sha = hashlib.sha256()
    options = (sorted((template_env or {}).items()), epoch_s, dockerfiles, layering)
    sha.update(repr(options).encode("utf-8", "surrogateescape"))
    for file in values_files:
        path = os.path.abspath(file)
        try:
            info = os.stat(path)
            stamp = (info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino)
        except OSError:
            stamp = (0, 0, 0, 0)
        sha.update(f"\0values\0{path!r}{stamp}".encode("utf-8", "surrogateescape"))
    for snapshot in snapshots:
        sha.update(f"\0tree\0{snapshot.absolute!r}".encode("utf-8", "surrogateescape"))
        sha.update(repr(snapshot.entries).encode("utf-8", "surrogateescape"))
    return sha.hexdigest()


def tree_fingerprint(
    roots: Sequence[str | Path],
    values_files: Sequence[str | Path] = (),
    *,
    template_env: Mapping[str, str] | None = None,
    epoch_s: int = 0,
    dockerfiles: bool = False,
    layering: str = "chain",
) -> str:
    """`Tree.fingerprint()` of these roots and options, from stats alone: the fast path of a run with nothing to do.

    A file that is written twice within the grain of the file system's clock, without a change of size, looks unchanged.
    Raises SpecError (reason "missing-tree").
    """
    return fingerprint(
        [scan(root) for root in roots], values_files, template_env=template_env, epoch_s=epoch_s,
        dockerfiles=dockerfiles, layering=layering,
    )  # fmt: skip
