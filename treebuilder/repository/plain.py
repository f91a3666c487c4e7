"""Opening files of a repository's folder, which may be anybody's: a pipe would wait, a device would never end."""

from __future__ import annotations

import hashlib
import os
import stat
from io import FileIO
from pathlib import Path

from treebuilder.errors import IntegrityError

_CHUNK = 1 << 20


def open_plain(path: Path | str) -> FileIO:
    """A plain file, unbuffered. Raises IntegrityError for other kinds, OSError."""
    return open(_opened(path)[0], "rb", buffering=0)


def _opened(path: Path | str) -> tuple[int, int]:
    """A descriptor of a plain file, and the file's size."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode):
        os.close(fd)
        raise IntegrityError(f"{path} is no plain file")
    return fd, info.st_size


def read_plain(path: Path | str, max_bytes: int, what: str) -> bytes:
    """The whole of a small file. Raises IntegrityError when it is longer, OSError."""
    fd, size = _opened(path)
    try:
        if size > max_bytes:
            raise IntegrityError(f"{path} is too long for {what}")
        data = os.read(fd, size)
        while len(data) < size and (more := os.read(fd, size - len(data))):
            data += more
        return data
    finally:
        os.close(fd)


def sha256_of(path: Path | str) -> str:
    """The SHA-256 of a plain file, in hexadecimal digits. Raises IntegrityError for other kinds, OSError."""
    fd, size = _opened(path)
    try:
        seen = hashlib.sha256()
        while size > 0 and (data := os.read(fd, min(size, _CHUNK))):
            seen.update(data)
            size -= len(data)
        return seen.hexdigest()
    finally:
        os.close(fd)
