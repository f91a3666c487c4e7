"""Reading specfiles: plain files of UTF-8, and never through a link that leads out of the tree."""

from __future__ import annotations

import os
import stat

from treebuilder.errors import Place, SpecError

SPECFILES = ("definition.yaml", "collection.yaml", "build.yaml", "finalize.yaml")

_MAX_BYTES = 16 * 1024 * 1024


def read_text(path: str, size: int = -1) -> str:
    """A specfile's text. Raises SpecError (reasons "encoding", "unreadable") and FileNotFoundError.

    `size` is that of a plain file as it was a moment ago; if it still is, nothing else has to be asked.
    """
    try:
        # a pipe would wait for a writer
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            data = os.read(fd, size + 1) if 0 <= size <= _MAX_BYTES else b""
            if not data or len(data) != size:
                data += _rest(fd, path, len(data))
        finally:
            os.close(fd)
    except FileNotFoundError:
        raise
    except OSError as err:
        raise SpecError(f"cannot read it: {err.strerror}", where=Place(path), reason="unreadable") from err
    try:
        return data.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as err:
        line = data.count(b"\n", 0, err.start) + 1
        raise SpecError("the file is not UTF-8", where=Place(path, line), reason="encoding") from err


def _rest(fd: int, path: str, done: int) -> bytes:
    """What is left to read of a file. Raises SpecError for what is none."""
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode) or info.st_size > _MAX_BYTES:
        raise SpecError("it is no plain file of reasonable size", where=Place(path), reason="unreadable")
    data = os.read(fd, max(info.st_size - done, 0) + 1)
    if done + len(data) != info.st_size:  # it is being written
        data += os.read(fd, _MAX_BYTES)
    return data


def is_inside(path: str, folder: str) -> bool:
    """Whether `path`, with all links resolved, lies in `folder` (resolved as well) or is it."""
    real, base = os.path.realpath(path), os.path.realpath(folder)
    return real == base or real.startswith(base.rstrip("/") + "/")
