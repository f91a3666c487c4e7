"""Paths as the system in a root sees them: `/` is the root's top, and no link leads out of it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_MAX_LINKS = 40  # the kernel's own limit


def resolve(root: Path, name: str, *, last: bool = True) -> Path | None:
    """The real file behind `name`, links followed with `root` as `/`; with `last` False not a final one.

    None when it is missing or links go round.
    """
    rest = [part for part in reversed(name.split("/")) if part not in ("", ".")]
    at: list[str] = []
    links = 0
    while rest:
        part = rest.pop()
        if part == "..":
            del at[-1:]
            continue
        path = root.joinpath(*at, part)
        try:
            info = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not stat.S_ISLNK(info.st_mode) or (not rest and not last):
            at.append(part)
            continue
        links += 1
        if links > _MAX_LINKS:
            return None
        target = os.readlink(path)
        if target.startswith("/"):
            at.clear()
        rest.extend(piece for piece in reversed(target.split("/")) if piece not in ("", "."))
    return root.joinpath(*at)
