"""One walk over a tree's folders: every file's name and stat, and nothing read.

Everything else works on this: finding specfiles, contexts, the fingerprint. An unchanged file costs one lstat.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from pathlib import Path

from treebuilder.annotations import NamedTuple
from treebuilder.errors import SpecError
from treebuilder.system import clock

_YOUNG_NS = 100_000_000
_YOUNG_COARSE_NS = 2_000_000_000


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


FIELDS = 5  # numbers of an entry
_stats: Callable[[os.stat_result], tuple[int, ...]] = attrgetter(
    "st_mode", "st_size", "st_mtime_ns", "st_ctime_ns", "st_ino"
)
_NAME: Callable[[os.DirEntry[str]], str] = attrgetter("name")
_SIGN = 1 << 63


class Snapshot:
    """The files below `root`, which is written as the user wrote it, at `taken_ns`.

    `paths` are in walk order: a folder's content follows it, names sorted bytewise. `stats` are the numbers of an
    `Entry`, one path after the other: half a million numbers are kept as what they are, and no object for each.
    """

    def __init__(
        self, root: str, paths: Sequence[str], stats: array[int], taken_ns: int, top: tuple[int, ...] = (),
    ) -> None:  # fmt: skip
        """`top` are the numbers of the root itself."""
        self.root = root
        self.absolute = os.path.abspath(root)
        self.paths = paths
        self.stats = stats
        self.taken_ns = taken_ns
        self.top = top
        self._before = os.path.join(root, "")
        self._found: dict[str, int] | None = None

    def entry(self, at: int) -> Entry:
        """The file with this number."""
        return Entry(self.paths[at], *self.stats[at * FIELDS : at * FIELDS + FIELDS])

    def modes(self) -> Iterable[int]:
        """`Entry.mode` of each path."""
        return self.stats[::FIELDS]

    def find(self, path: str) -> Entry | None:
        """The entry of a relative path."""
        at = self._index.get(path)
        return None if at is None else self.entry(at)

    def number(self, path: str) -> int:
        """The number of a path that is there."""
        return self._index[path]

    def below(self, folder: str) -> Iterator[Entry]:
        """All entries inside a folder, at any depth, in walk order; "" is the root."""
        at = self._index[folder] if folder else -1
        return map(self.entry, self.within(at))

    def within(self, at: int) -> range:
        """The numbers of all entries inside the folder with this number, -1 for the root."""
        if at < 0:
            return range(len(self.paths))
        prefix, end = self.paths[at] + "/", at + 1
        while end < len(self.paths) and self.paths[end].startswith(prefix):
            end += 1
        return range(at + 1, end)

    def shown(self, path: str) -> str:
        """A relative path as the user would write it."""
        return f"{self._before}{path}" if path else self.root

    def is_young(self, entry: Entry) -> bool:
        """Whether a file may have changed since without its stat changing: it was as young as the clock's grain.

        Some file systems count whole seconds; their nanoseconds are all zero.
        """
        _, _, _, newest, changed_ns, _ = entry
        newest = changed_ns if changed_ns > newest else newest
        if newest < self.taken_ns - _YOUNG_COARSE_NS:
            return False
        coarse = newest % 1_000_000_000 == 0
        return newest > self.taken_ns - (_YOUNG_COARSE_NS if coarse else _YOUNG_NS)

    def stamp(self, at: int) -> bytes:
        """The names and stats of all inside a folder; empty if one of them may have changed since (`is_young`)."""
        found = self.within(at)
        if not found:
            return b"nothing"
        stats = self.stats[found.start * FIELDS : found.stop * FIELDS]
        newest = max(max(stats[2::FIELDS]), max(stats[3::FIELDS]))
        if newest >= self.taken_ns - _YOUNG_COARSE_NS and any(self.is_young(self.entry(number)) for number in found):
            return b""
        return "\0".join(self.paths[found.start : found.stop]).encode("utf-8", "surrogateescape") + stats.tobytes()

    @property
    def _index(self) -> dict[str, int]:
        if self._found is None:
            self._found = {path: at for at, path in enumerate(self.paths)}
        return self._found


def scan(root: str | Path) -> Snapshot:
    """Walks a root. Raises SpecError (reason "missing-tree")."""
    name = os.fspath(root)
    if not os.path.isdir(name):
        what = "is not a folder" if os.path.lexists(name) else "does not exist"
        raise SpecError(
            f"the tree {name} {what}", hint="give the folder of the specfiles with --tree", reason="missing-tree"
        )
    taken_ns = clock.now_ns()
    top = wrapped(os.stat(name))
    paths: list[str] = []
    _walk(name, "", paths)
    before = os.path.join(name, "")
    try:
        stats = numbers(before, paths)
    except (OSError, OverflowError):
        paths, stats = _one_by_one(before, paths)
    return Snapshot(name, paths, stats, taken_ns, top)


def numbers(before: str, paths: Iterable[str]) -> array[int]:
    """The stats of paths, behind `before`, as a snapshot keeps them. Raises OSError, and OverflowError as `wrapped`."""
    return array("q", chain.from_iterable(map(_stats, map(os.lstat, map(before.__add__, paths)))))


def wrapped(info: os.stat_result) -> tuple[int, ...]:
    """The numbers of a stat; of some inodes they need 64 bits, which a sign does not leave."""
    return tuple((number + _SIGN) % (2 * _SIGN) - _SIGN for number in _stats(info))


def _one_by_one(before: str, paths: Iterable[str]) -> tuple[list[str], array[int]]:
    """As `numbers`, without what has vanished since the folders were listed."""
    found: list[str] = []
    stats = array("q")
    for path in paths:
        try:
            stats.extend(wrapped(os.lstat(before + path)))
        except (FileNotFoundError, NotADirectoryError):
            continue
        found.append(path)
    return found, stats


def _walk(folder: str, before: str, paths: list[str]) -> None:
    """Names only: all stats are asked for at once, which is faster."""
    try:
        with os.scandir(folder) as listing:
            entries = list(listing)
    except FileNotFoundError:
        return  # it vanished since its own folder was listed
    except OSError as err:
        raise SpecError(f"cannot read the folder {folder}: {err.strerror}", reason="missing-tree") from err
    if len(entries) > 1:
        plain = all(map(str.isascii, map(_NAME, entries)))  # then texts are ordered as their bytes are
        entries.sort(key=_NAME if plain else lambda entry: os.fsencode(entry.name))
    for entry in entries:
        path = before + entry.name
        paths.append(path)
        if entry.is_dir(follow_symlinks=False):
            _walk(entry.path, path + "/", paths)


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
        sha.update("\0".join(snapshot.paths).encode("utf-8", "surrogateescape"))
        sha.update(b"\0\0" + snapshot.stats.tobytes())
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
