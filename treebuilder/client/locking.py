"""One change of a root at a time. The root's own folder is locked: no file is needed, and whoever changes it, with
whatever cache and under whatever name, meets the same lock."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from treebuilder.errors import LockHeld
from treebuilder.system.folderlock import take_folder


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Raises LockHeld, which names the holder, at once."""
    found = take_folder(root)
    if isinstance(found, str):
        raise LockHeld(f"another instance is already running: the root {root} is in use by {found}")
    try:
        yield
    finally:
        os.close(found)
