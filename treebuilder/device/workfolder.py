"""A folder to work in during an upgrade: one run at a time, swept of what a killed run left, gone in the end.

What was fetched whole stays when the other side failed or we were killed, so that a rerun need not fetch it again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from treebuilder.errors import NoSpace, TransportError
from treebuilder.system import locks
from treebuilder.system.files import disk_errors, remove_tree

NAME = ".treebuild-upgrade"
STORE = "store"


@contextmanager
def work_folder(parent: Path) -> Iterator[Path]:
    """An empty folder below `parent` but for `STORE`, which may hold what was fetched before. Raises LockHeld."""
    folder = parent / NAME
    with locks.exclusive(parent / f"{NAME}.lock", "the folder for upgrades"):
        with disk_errors(f"preparing {folder}", parent):
            folder.mkdir(mode=0o700, exist_ok=True)
            for path in folder.iterdir():
                if path.name != STORE:
                    remove_tree(path)
        try:
            yield folder
        except TransportError:
            for path in folder.iterdir():
                if path.name != STORE:
                    remove_tree(path)
            raise
        except BaseException:
            remove_tree(folder)
            raise
        remove_tree(folder)


def need(folder: Path, size_bytes: int, what: str) -> None:
    """Raises NoSpace before anything is fetched."""
    info = os.statvfs(folder)
    free = info.f_bavail * info.f_frsize
    if free < size_bytes:
        raise NoSpace(
            f"{what} needs {size_bytes >> 20} MiB to work in, and {folder} has {free >> 20} MiB",
            hint="nothing was fetched and nothing was changed",
        )
