"""A folder to work in during an upgrade: one run at a time, swept of what a killed run left, gone in the end.

What was fetched whole stays when the other side failed or we were killed, so that a rerun need not fetch it again. The
archives of the last upgrade may stay for longer: the next one then fetches what changed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from treebuilder.errors import NoSpace, TransportError
from treebuilder.system import locks
from treebuilder.system.files import disk_errors, remove_tree, write_atomic

NAME = ".treebuild-upgrade"
STORE = "store"
_KEPT = "kept"  # a file: names of the blobs that stay, one a line
_HEX = frozenset("0123456789abcdef")


class Work:
    """A folder to work in. `keep` names blobs of the store that stay there for the next upgrade."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._kept = folder / _KEPT

    def keep(self, blobs: Iterable[Path]) -> None:
        """These, and no longer those from before."""
        write_atomic(self._kept, "".join(f"{path.name}\n" for path in blobs).encode())

    def kept(self) -> frozenset[str]:
        """What stays."""
        try:
            lines = self._kept.read_text(encoding="ascii", errors="replace").splitlines()
        except FileNotFoundError:
            return frozenset()
        return frozenset(line for line in lines if len(line) == 64 and _HEX.issuperset(line))

    def sweep(self) -> None:
        """What a killed run left, but for what was fetched."""
        for path in sorted(self.folder.iterdir()):
            if path.name not in (STORE, _KEPT):
                remove_tree(path)

    def prune(self) -> None:
        """All that does not stay."""
        kept = self.kept()
        if not kept:
            remove_tree(self.folder)
            return
        self.sweep()
        store = self.folder / STORE
        for path in sorted((store / "blobs/sha256").glob("*")):
            if path.name not in kept:
                path.unlink()
        for name in ("trees", "tmp"):
            remove_tree(store / name)


@contextmanager
def work_folder(parent: Path) -> Iterator[Work]:
    """A swept folder below `parent`, pruned in the end. Raises LockHeld."""
    folder = parent / NAME
    with locks.exclusive(parent / f"{NAME}.lock", "the folder for upgrades"):
        work = Work(folder)
        with disk_errors(f"preparing {folder}", parent):
            folder.mkdir(mode=0o700, exist_ok=True)
            work.sweep()
        try:
            yield work
        except TransportError:
            work.sweep()
            raise
        except NoSpace:
            remove_tree(folder)
            raise
        except BaseException:
            work.prune()
            raise
        work.prune()


def need(folder: Path, size_bytes: int, what: str) -> None:
    """Raises NoSpace before anything is fetched."""
    info = os.statvfs(folder)
    free = info.f_bavail * info.f_frsize
    if free < size_bytes:
        raise NoSpace(
            f"{what} needs {size_bytes >> 20} MiB to work in, and {folder} has {free >> 20} MiB",
            hint="nothing was fetched and nothing was changed",
        )
