"""One change of a root at a time. The root's own folder is locked: no file is needed, and whoever changes it, with
whatever cache and under whatever name, meets the same lock."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from treebuilder.errors import LockHeld
from treebuilder.system.holders import holder_of


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Raises LockHeld, which names the holder, at once."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockHeld(
                f"another instance is already running: the root {root} is in use by {holder_of(os.fstat(fd).st_ino)}"
            ) from None
        yield
    finally:
        os.close(fd)
