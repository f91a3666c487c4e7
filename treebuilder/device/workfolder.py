"""A folder to work in during an upgrade: one run at a time, swept of what a killed run left, gone in the end.

What was fetched whole stays when the other side failed or we were killed, so that a rerun need not fetch it again. The
archives of the last upgrade may stay for longer: the next one then fetches what changed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from treebuilder.errors import (
    Cancelled,
    ConfigError,
    IntegrityError,
    LockHeld,
    NoSpace,
    SpecError,
    TransportError,
    Unsatisfiable,
    UpdateRefused,
)
from treebuilder.system import locks
from treebuilder.system.files import disk_errors, remove_tree, write_atomic

NAME = ".treebuild-upgrade"
STORE = "store"
TIMES = 3  # as much as an image is what fetching, unpacking and composing one takes at least
_KEPT = "kept"  # a file: names of the blobs that stay, one a line
_SPARE_BYTES = 16 << 20
# These say nothing of what lies here.
_OF_OTHERS = (Cancelled, ConfigError, IntegrityError, LockHeld, SpecError, Unsatisfiable, UpdateRefused)
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
    with _alone(parent):
        work = Work(folder)
        with disk_errors(f"preparing {folder}", parent):
            folder.mkdir(mode=0o700, exist_ok=True)
            work.sweep()
        try:
            yield work
        except TransportError:
            work.sweep()
            raise
        except _OF_OTHERS:
            work.prune()
            raise
        except BaseException:
            # No room; or something here is damaged, and whoever tries again must not meet it for ever.
            remove_tree(folder)
            raise
        work.prune()


def clear(parent: Path, *, keep: bool) -> None:
    """Removes what a cut run left below `parent`, unless somebody is at work there. With `keep` what was fetched stays
    for a rerun, as long as there is room for anything else."""
    folder = parent / NAME
    if not folder.is_dir():
        return
    with suppress(LockHeld), _alone(parent):
        with disk_errors(f"clearing {folder}", parent):
            Work(folder).sweep()
            if not keep or free_bytes(parent) < _SPARE_BYTES:
                remove_tree(folder)


def is_busy(parent: Path) -> bool:
    """Somebody is at work below `parent`."""
    if not (parent / NAME).is_dir():
        return False
    try:
        with _alone(parent):
            return False
    except LockHeld:
        return True


def _alone(parent: Path) -> AbstractContextManager[None]:
    return locks.exclusive(parent / f"{NAME}.lock", "the folder for upgrades")


def free_bytes(folder: Path) -> int:
    """What may still be written there."""
    info = os.statvfs(folder)
    return info.f_bavail * info.f_frsize


def need(folder: Path, size_bytes: int, what: str) -> None:
    """Raises NoSpace before anything is fetched."""
    free = free_bytes(folder)
    if free < size_bytes:
        raise NoSpace(
            f"{what} needs {size_bytes >> 20} MiB to work in, and {folder} has {free >> 20} MiB",
            hint="nothing was fetched and nothing was changed",
        )
