"""A folder that is locked itself: no file is needed in it. For every verb that changes a root, so it loads nothing."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def take_folder(path: Path) -> int | str:
    """The open folder, which is locked as long as it is open, or who has it. Raises OSError."""
    while True:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(fd), os.stat(path)):
                return fd
        except BlockingIOError:
            inode = os.fstat(fd).st_ino
            os.close(fd)
            return _holder_of(inode)
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # whoever had it put another folder in its place


def _holder_of(inode: int) -> str:
    """Who holds a lock on this file, as the kernel lists it: `1: FLOCK ADVISORY WRITE PID MAJ:MIN:INODE 0 EOF`."""
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        words = line.split()
        if len(words) > 5 and words[1] == "FLOCK" and words[5].rpartition(":")[2] == str(inode) and int(words[4]) > 0:
            return f"pid {words[4]}"
    return "another process"
