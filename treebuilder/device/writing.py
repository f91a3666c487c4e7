"""Partitions made writable for as long as we write, and file systems brought to rest for a boot loader.

GRUB reads ext4 without replaying its journal: what is only in the journal is not there for it. Freezing a file system
writes the journal back, and thawing lets it go on; nothing else does (fsync and syncfs do not).
Source: ioctl_fsfreeze in linux/fs.h; docs/adr/0016.
"""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from treebuilder.container import syscalls
from treebuilder.device import here
from treebuilder.errors import StateCorrupt, TreebuildError
from treebuilder.events import EventSink, Warned

FREEZE, THAW = 0xC0045877, 0xC0045878
_REMOUNT = 32
_CANNOT = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.EPERM, errno.ENOSYS)
_WAS_READ_ONLY = b"read-only\n"
Control = Callable[[int, int], object]


def rest(folder: Path, control: Control = fcntl.ioctl) -> bool:
    """Writes the journal of a folder's file system back. False where it cannot be frozen: then it is only synced."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    theirs = False
    try:
        control(fd, FREEZE)
        return True
    except OSError as err:
        theirs = err.errno == errno.EBUSY  # somebody froze it, and lets it go
        if not theirs and err.errno not in _CANNOT:
            raise
        os.sync()
        return False
    finally:
        if not theirs:
            _thaw(fd, control)
        os.close(fd)


def thaw(folder: Path, control: Control = fcntl.ioctl) -> None:
    """Lets a file system go that a killed run of ours left frozen; whoever writes there would wait for ever."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _thaw(fd, control)
    finally:
        os.close(fd)


def _thaw(fd: int, control: Control) -> None:
    with suppress(OSError):  # it was not frozen
        control(fd, THAW)


@contextmanager
def writable(kernel: here.Kernel, label: str, events: EventSink) -> Iterator[Path]:
    """Where this device's partition of that label can be written, until the end of the block; then as it was.

    Whether a file system can be written is one thing for all who mount it, so whoever is the last to write here makes
    it read-only again. To be used with mounts of our own (`namespace.enter_private_mounts`).
    Raises StateCorrupt (reason "no-partition"), TreebuildError (reason "permission", "mount").
    """
    found = here.partition(kernel, label)
    if found is None:
        disk = here.own_disk(kernel)
        where = "" if disk is None else f" on /dev/{disk.name}, which this system runs from"
        raise StateCorrupt(f"the partition {label} cannot be found{where}", reason="no-partition")
    with ExitStack() as stack:
        writers = stack.enter_context(_writers(label))
        mounted = next((each for each in here.mounts(kernel) if each.device == found.device), None)
        if mounted is None:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="treebuild-", dir=run_folder())))
            _mount(str(found.node), place, found.kind, 0)
            stack.callback(syscalls.unmount, str(place))
            thaw(place)
        else:
            place = mounted.place
            thaw(place)
            stack.callback(_leave, writers, place, events)
            if mounted.read_only:
                os.pwrite(writers, _WAS_READ_ONLY, 0)
                _mount("none", place, "", _REMOUNT)
        yield place


@contextmanager
def _writers(label: str) -> Iterator[int]:
    """One of any number of processes that write to a partition: a file that they lock, and that says what it was.

    A killed one leaves that for the next.
    """
    folder = run_folder()
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with ExitStack() as stack:
        if folder is None:
            fd = stack.enter_context(tempfile.TemporaryFile()).fileno()
        else:
            fd = os.open(f"{folder}/treebuild-{label}.writers", flags, 0o600)
            stack.callback(os.close, fd)
        fcntl.flock(fd, fcntl.LOCK_SH)
        yield fd


def _leave(writers: int, place: Path, events: EventSink) -> None:
    """Read-only again, if it was and nobody else writes; who comes meanwhile waits."""
    try:
        fcntl.flock(writers, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    if os.pread(writers, len(_WAS_READ_ONLY), 0) == _WAS_READ_ONLY:
        os.ftruncate(writers, 0)
        _read_only(place, events)


def run_folder() -> str | None:
    """Where a file lasts as long as this boot."""
    return "/run" if os.access("/run", os.W_OK) else None


def _mount(source: str, place: Path, kind: str, flags: int) -> None:
    try:
        syscalls.mount(source, str(place), kind, flags, "")
    except OSError as err:
        denied = err.errno in (errno.EPERM, errno.EACCES)
        raise TreebuildError(
            f"{place} cannot be mounted for writing: {err.strerror}", reason="permission" if denied else "mount",
            hint="run as root" if denied else None,
        ) from err  # fmt: skip


def _read_only(place: Path, events: EventSink) -> None:
    try:
        syscalls.mount("none", str(place), "", _REMOUNT | syscalls.MS_RDONLY, "")
    except OSError as err:
        events.emit(Warned(f"{place} stays writable: {err.strerror}"))
