"""Opening files of a repository's folder, which may be anybody's: a pipe would wait, a device would never end."""

from __future__ import annotations

import os
import stat
from io import FileIO
from pathlib import Path

from treebuilder.errors import IntegrityError


def open_plain(path: Path) -> FileIO:
    """A plain file, unbuffered. Raises IntegrityError for other kinds, OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise IntegrityError(f"{path} is no plain file")
    return open(fd, "rb", buffering=0)


def read_plain(path: Path, max_bytes: int, what: str) -> bytes:
    """The whole of a small file. Raises IntegrityError when it is longer, OSError."""
    with open_plain(path) as file:
        if os.fstat(file.fileno()).st_size > max_bytes:
            raise IntegrityError(f"{path} is too long for {what}")
        return file.read(max_bytes)
