"""Advisory locks on files: released by the kernel when the holder ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from treebuilder.errors import LockHeld
from treebuilder.system import clock
from treebuilder.system.process import Cancel


@contextmanager
def exclusive(path: Path, *, wait: bool, cancel: Cancel | None = None, what: str = "") -> Iterator[None]:
    """Holds `path` alone. With `wait` False raises LockHeld naming the holder at once."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not wait:
                    holder = os.pread(fd, 200, 0).decode("utf-8", "replace").strip() or "another process"
                    raise LockHeld(f"{what or path} is in use by {holder}") from None
                if cancel is not None:
                    cancel.check()
                clock.sleep(0.02)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"pid {os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)
