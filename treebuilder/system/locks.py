"""Advisory locks on files: released by the kernel when the holder ends, however it ends."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from treebuilder.errors import LockHeld
from treebuilder.system import clock
from treebuilder.system.folderlock import take_folder
from treebuilder.system.process import Cancel

_SILENT_S, _TURN_S = 1.0, 0.2
_NO_LOCKS = (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # file systems without them


@contextmanager
def exclusive_key(path: str, key: str, *, cancel: Cancel | None = None) -> Iterator[None]:
    """Holds one of any number of keys, each a byte of the file `path` that need not be there; waits for it.

    The lock belongs to the open file (fcntl(2), open file description locks), so it holds between threads too.
    """
    place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:7], "big")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        request = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0)  # struct flock
        while True:
            try:
                fcntl.fcntl(fd, fcntl.F_OFD_SETLK, request)
                break
            except BlockingIOError:
                if cancel is not None:
                    cancel.check()
                clock.sleep(0.02)
        yield
    finally:
        os.close(fd)


@contextmanager
def exclusive(path: Path, what: str, *, cancel: Cancel | None = None, patience_s: float = 0.0) -> Iterator[None]:
    """Holds `path` alone. With `cancel` it waits for whoever does, and says so.

    Raises LockHeld, which names the holder, at once or after `patience_s`; Cancelled.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = _awaited(lambda: _taken(path), what, cancel, patience_s)
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"pid {os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


@contextmanager
def exclusive_folder(path: Path, what: str, *, cancel: Cancel | None = None, patience_s: float = 0.0) -> Iterator[None]:
    """Holds a folder alone, as `exclusive` does a file. The folder itself is locked, so no file is needed in it, nor
    the right to write there; where a file system has no locks, nothing is held.

    Raises LockHeld, Cancelled; OSError for a folder that cannot be opened.
    """
    fd = _awaited(lambda: _taken_folder(path), what, cancel, patience_s)
    try:
        yield
    finally:
        os.close(fd)


def _awaited(take: Callable[[], int | str], what: str, cancel: Cancel | None, patience_s: float) -> int:
    """What `take` takes, as soon as it does."""
    began_s, told = clock.monotonic_s(), False
    while isinstance(fd := take(), str):
        waited_s = clock.monotonic_s() - began_s
        if cancel is None or waited_s >= patience_s:
            raise LockHeld(f"{what} is in use by {fd}")
        tell = waited_s > _SILENT_S and not told
        cancel.pause(_TURN_S, f"waiting for {fd}, by whom {what} is in use" if tell else "")
        told = told or tell
    return fd


def _taken(path: Path) -> int | str:
    """The open file that is locked now, or who has it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, 200, 0).decode("utf-8", "replace").strip()
        os.close(fd)
        return holder or "another process"
    except BaseException:
        os.close(fd)
        raise
    return fd


def _taken_folder(path: Path) -> int | str:
    try:
        return take_folder(path)
    except OSError as err:
        if err.errno not in _NO_LOCKS:
            raise
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
