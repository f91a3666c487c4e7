"""Names that packages, indexes, journals and records may hold: inside the root, and none of ours."""

from __future__ import annotations

import os
from pathlib import Path

from treebuilder.errors import UnsafeArchive

STAGING = ".treebuild-staging"  # a change of a root in use: its packages, and its journal
FILLING = ".treebuild-filling"  # an empty root's packages, until all are unpacked
FILLED = ".treebuild-filled"  # the same when they are, until they have their places
RESERVED = frozenset({STAGING, FILLING, FILLED})


def left_over(root: Path) -> tuple[str, ...]:
    """Those of our places that are there: a change was interrupted, if nobody is at work."""
    return tuple(name for name in sorted(RESERVED) if os.path.lexists(root / name))


def fault(path: str) -> str:
    """What is wrong with a path below a root; empty for nothing."""
    if not path or path.startswith("/") or "\0" in path:
        return "is empty" if not path else "is absolute" if path[0] == "/" else "holds a NUL"
    parts = path.split("/")
    if ".." in parts:
        return "leads out of its root"
    if "" in parts:
        return "has an empty part"
    return "is a place that treebuild works in" if parts[0] in RESERVED else ""


def checked(path: str, what: str) -> str:
    """The path without `.`; `what` names in errors who says it. Raises UnsafeArchive."""
    parts = path.split("/")
    clean = "/".join(part for part in parts if part != ".") if "." in parts else path
    wrong = fault(clean)
    if wrong:
        raise UnsafeArchive(f"{what} lists the file {path!r}, which {wrong}")
    return clean
