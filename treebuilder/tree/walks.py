"""The last walk of a tree, kept, so that the next one asks for stats only and lists no folder that did not change.

A name that comes or goes changes the times of its folder. That holds on file systems of this machine; on others, on
trees over several of them, and for folders as young as the clock's grain, every folder is listed again.
"""

from __future__ import annotations

import os
import stat
from array import array
from pathlib import Path

from treebuilder.system import clock
from treebuilder.tree import stored
from treebuilder.tree.index import FileStamp, SpecIndex
from treebuilder.tree.snapshot import FIELDS, Snapshot, numbers, scan, wrapped

PREFIX = "tree//walk//"
_SHAPE = "1"
_TRUSTED = frozenset(("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "bcachefs", "zfs", "tmpfs", "ramfs", "overlay"))
_YOUNG_NS = 2_000_000_000  # some file systems count whole seconds, and nothing tells which
_MOUNTS = "/proc/self/mountinfo"


def rescan(root: str, index: SpecIndex | None) -> Snapshot:
    """What `scan` finds, with the help of what it found last time. Raises SpecError (reason "missing-tree")."""
    if index is None:
        return scan(root)
    stamp = FileStamp(f"{PREFIX}{_SHAPE}//{os.path.abspath(root)}", 0, 0, 0, 0)
    known = _loaded(root, index.get(stamp))
    again = None if known is None else _again(known)
    found = scan(root) if again is None else again
    if found is not known and _may_keep(found):
        index.put(stamp, stored.dump((found.top, "\0".join(found.paths), found.stats.tobytes())))
    return found


def _loaded(root: str, data: bytes | None) -> Snapshot | None:
    value = None if data is None else stored.load(data)
    if value is None:
        return None
    top, paths, stats = value
    return Snapshot(root, paths.split("\0") if paths else [], array("q", stats), 0, top)


def _again(known: Snapshot) -> Snapshot | None:
    """The same names with fresh stats: `known` itself if these are the same, None if names have come or gone."""
    taken_ns = clock.now_ns()
    before = os.path.join(known.root, "")
    try:
        top = os.stat(known.root)
        fresh = numbers(before, known.paths)
    except (OSError, OverflowError):
        return None
    same_top = wrapped(top) == known.top
    if same_top and fresh == known.stats:
        known.taken_ns = taken_ns
        return known
    found = Snapshot(known.root, known.paths, fresh, taken_ns, wrapped(top))
    steps = range(0, len(fresh), FIELDS)
    changed = [at // FIELDS for at in steps if fresh[at : at + FIELDS] != known.stats[at : at + FIELDS]]
    folders = [] if same_top else [-1]
    for at in changed:
        is_folder = stat.S_ISDIR(fresh[at * FIELDS])
        if is_folder != stat.S_ISDIR(known.stats[at * FIELDS]):
            return None
        folders += [at] if is_folder else []
    return found if all(_same_names(found, at) for at in folders) else None


def _same_names(found: Snapshot, at: int) -> bool:
    """Whether a folder holds what it did; -1 is the root."""
    path = found.paths[at] if at >= 0 else ""
    prefix = path + "/" if path else ""
    names = set()
    for number in range(at + 1, len(found.paths)):
        inner = found.paths[number]
        if not inner.startswith(prefix):
            break
        if "/" not in inner[len(prefix) :]:
            names.add(inner[len(prefix) :])
    shown = found.shown(path)
    try:
        return set(os.listdir(shown)) == names
    except OSError:
        return False


def _may_keep(found: Snapshot) -> bool:
    """Whether a folder without a change of its times will have the same names."""
    newest = max(found.top[2:4])
    for at, mode in enumerate(found.modes()):
        if stat.S_ISDIR(mode):
            newest = max(newest, *found.stats[at * FIELDS + 2 : at * FIELDS + 4])
    return newest < found.taken_ns - _YOUNG_NS and _is_trusted(found.absolute)


def _is_trusted(path: str) -> bool:
    """Whether all of a folder is on a file system that keeps the times of folders. Source: proc_pid_mountinfo(5)."""
    try:
        lines = Path(_MOUNTS).read_bytes().splitlines()
    except OSError:
        return False
    real = os.fsencode(os.path.realpath(path)) + b"/"
    best, kind = b"", ""
    for line in lines:
        mount, _, rest = line.partition(b" - ")
        place = mount.split(b" ")[4].decode("unicode_escape").encode("latin-1").rstrip(b"/") + b"/"
        if place.startswith(real) and place != real:
            return False
        if real.startswith(place) and len(place) >= len(best):  # of two on one place the later one hides the other
            best, kind = place, rest.split(b" ")[0].decode()
    return kind in _TRUSTED
