"""Reading specfiles: UTF-8, and never through a link that leads out of the tree."""

from __future__ import annotations

import os

from treebuilder.errors import Place, SpecError


def read_text(path: str) -> str:
    """A specfile's text. Raises SpecError (reasons "encoding", "unreadable") and FileNotFoundError."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        raise
    except OSError as err:
        raise SpecError(f"cannot read it: {err.strerror}", where=Place(path), reason="unreadable") from err
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        line = data.count(b"\n", 0, err.start) + 1
        raise SpecError("the file is not UTF-8", where=Place(path, line), reason="encoding") from err


def is_inside(path: str, folder: str) -> bool:
    """Whether `path`, with all links resolved, lies in `folder` (resolved as well) or is it."""
    real, base = os.path.realpath(path), os.path.realpath(folder)
    return real == base or real.startswith(base.rstrip("/") + "/")
