"""Advisory locks on files: released by the kernel when the holder ends, however it ends."""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from treebuilder.errors import LockHeld
from treebuilder.system import clock
from treebuilder.system.process import Cancel


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
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Holds `path` alone. Raises LockHeld, which names the holder, at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 200, 0).decode("utf-8", "replace").strip() or "another process"
            raise LockHeld(f"{what} is in use by {holder}") from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"pid {os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)
