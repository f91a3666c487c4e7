"""What would stop a change in the middle is looked for before it begins: mounts, immutable files, a disk that is full.

Room for what the change still has to write is taken beforehand, and given back just before it is written.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from fcntl import ioctl
from pathlib import Path

from treebuilder.client.api import DATABASE_NAME, Record, SystemRoot
from treebuilder.client.journal import Journal
from treebuilder.client.laying import Laid
from treebuilder.client.names import STAGING
from treebuilder.errors import NoSpace, TreebuildError
from treebuilder.model.package import Finalizer
from treebuilder.system.inside import resolve

_GET_FLAGS = 0x80086601  # FS_IOC_GETFLAGS of 64-bit machines
_FIXED = 0x10 | 0x20  # immutable, append-only
_PAGE = 4096
_SLACK = 1 << 14


def check(root: SystemRoot, laid: Laid, journal: Journal) -> None:
    """Raises TreebuildError (reasons "mounted", "permission"), NoSpace."""
    mounts, fresh = _mounts(root.folder), laid.fresh
    gone = [*journal.first, *((place, kind) for place, kind in journal.later if kind != "d")]
    changed = dict.fromkeys([*(place for place, kind in fresh.items() if kind != "d"), *(place for place, _ in gone)])
    for place in changed:
        if place in mounts:
            raise TreebuildError(
                f"{root.folder / place} is a mount point, and would have to go", reason="mounted",
                hint=f"umount {root.folder / place}, and mount it again when the change is done",
            )  # fmt: skip
    top, folders = str(root.folder), set()
    for place in (*changed, *(place for place, kind in fresh.items() if kind == "d")):
        link = laid.link_above(place)
        if link is not None:
            folders.add(f"{top}/{link}".rpartition("/")[0])
            continue
        path = f"{top}/{place}"
        info = _lstat(path)
        if place in changed and info is not None and stat.S_ISREG(info.st_mode) and _flags(path) & _FIXED:
            raise _fixed(path)
        if place in changed or info is None:
            folders.add(path.rpartition("/")[0])
    for folder in sorted(folders):
        there = folder
        while not os.path.lexists(there):
            there = there.rpartition("/")[0]
        if os.path.isdir(there):
            if not os.access(there, os.W_OK | os.X_OK, effective_ids=True) or _flags(there) & _FIXED:
                raise _fixed(there)
    _check_copies(root.folder, laid)


def noting(finalizer: Finalizer) -> int:
    """Bytes that the database may need to note that a finalizer ran: the pages that change, as they were."""
    return 16 * _PAGE + 2 * sum(map(len, finalizer.install))


def _fixed(path: str) -> TreebuildError:
    return TreebuildError(
        f"{path} cannot be changed: it is immutable, or on a file system that is read-only", reason="permission",
        hint=f"chattr -i -a {path}, or mount its file system writable",
    )  # fmt: skip


def _lstat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _flags(path: str) -> int:
    """Attributes of a file as `chattr` sets them; 0 where there are none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return int.from_bytes(ioctl(fd, _GET_FLAGS, bytes(8))[:4], "little")
    except OSError:
        return 0
    finally:
        os.close(fd)


def _mounts(root: Path) -> frozenset[str]:
    """Mount points below the root, relative to it."""
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return frozenset()
    top = os.fsencode(os.path.realpath(root)).rstrip(b"/") + b"/"
    found = (_unescaped(line.split()[4]) for line in lines)
    return frozenset(os.fsdecode(point[len(top) :]) for point in found if point.startswith(top))


def _unescaped(place: bytes) -> bytes:
    return place.decode("unicode_escape").encode("latin-1") if b"\\" in place else place


def _check_copies(root: Path, laid: Laid) -> None:
    """Folders that are other file systems get copies, which have to fit."""
    here = root.stat().st_dev
    devices: dict[str, int] = {}
    need: dict[int, tuple[Path, int]] = {}
    for place, size in laid.sizes.items():
        folder = (laid.link_above(place) or place).rpartition("/")[0]
        if folder not in devices:
            there = root / folder
            while not there.is_dir():
                there = there.parent
            devices[folder] = there.stat().st_dev
        device = devices[folder]
        if device != here:
            first, before = need.get(device, (root / folder, 0))
            need[device] = first, before + -(-size // _PAGE) * _PAGE
    for there, size in need.values():
        while not there.is_dir():
            there = there.parent
        free = os.statvfs(there)
        if size > free.f_bavail * free.f_frsize:
            raise NoSpace(f"no space left in {there}, which is a file system of its own", hint="free some space there")


def keep(folder: Path, size_bytes: int) -> int:
    """Room, in a file without a name: the descriptor, which is closed when the room is needed. Raises OSError when
    there is none; -1 where it cannot be kept."""
    fd = -1
    try:
        fd = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        os.posix_fallocate(fd, 0, size_bytes)
    except OSError as err:
        if fd >= 0:
            os.close(fd)
        if err.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        return -1  # not every file system has files without a name, or keeps room for them
    return fd


class Room:
    """Space that is kept for the switch (folders), and for the database after it, in files without names."""

    def __init__(self, root: SystemRoot, laid: Laid, journal: Journal, removed: Iterable[Record]) -> None:
        """Raises NoSpace."""
        made = sum(
            kind == "d" and (laid.link_above(place) is not None or not os.path.lexists(f"{root.folder}/{place}"))
            for place, kind in laid.fresh.items()
        )
        size, text = 0, 0
        database = resolve(root.folder, root.database_path.strip("/") + "/" + DATABASE_NAME)
        if database is not None:
            size = database.stat().st_size
        rows = 0
        for found in (*journal.records, *removed):
            rows += 1 + len(found.entries)
            text += 2048 + sum(3 * len(path) + 64 for path, _ in found.entries)
        back = sum(_freed(root.folder, journal.later))
        text += sum(map(noting, journal.finalizers))
        need = min(size, 2 * _PAGE * rows + 8 * _PAGE) + text + 4 * _PAGE if root.record else 0
        self._held: dict[str, int] = {}
        staging = root.folder / STAGING
        beside = database.parent if database is not None else staging
        if beside.stat().st_dev != staging.stat().st_dev:
            back = 0
        try:
            self._hold("database", beside, max(need - back, 0))
            self._hold("switch", staging, max(made * _PAGE + _SLACK - back, _PAGE))
        except BaseException:
            self.close()
            raise

    def _hold(self, what: str, folder: Path, size: int) -> None:
        if not size:
            return
        fd = keep(folder, size)
        if fd >= 0:
            self._held[what] = fd

    def release(self, what: str) -> None:
        """Gives back what is needed now: for the "switch", for the "database"."""
        fd = self._held.pop(what, -1)
        if fd >= 0:
            os.close(fd)

    def close(self) -> None:
        for what in tuple(self._held):
            self.release(what)


def _freed(root: Path, places: Iterable[tuple[str, str]]) -> Iterator[int]:
    for place, kind in places:
        info = _lstat(f"{root}/{place}") if kind != "d" else None
        if info is not None and info.st_nlink == 1:
            yield info.st_blocks * 512
