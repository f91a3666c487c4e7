"""Who holds a lock, for whoever is told to wait: a module that is loaded by every verb, and loads nothing."""

from __future__ import annotations

from pathlib import Path


def holder_of(inode: int) -> str:
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
