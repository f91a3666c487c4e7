"""The folder of final images: made beside the one that is there, and put in its place as a whole.

What a killed run left is swept by the next: a folder that is being made is locked by its run for as long as that lives.
Sweeping and replacing are done under a lock of the folder they are in, one run at a time. Where a file system locks no
folders (NFS wants files that may be written), nobody sweeps, for what lies there may be in use.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from treebuilder.container.exchange import exchange
from treebuilder.system.files import disk_errors, is_new_name, new_name, remove_tree

GENERATED = "final-images"
_MADE = f".{GENERATED}."
_OLD = f"{_MADE}was."
_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Source: flock(2), there "NFS details" for EBADF: its locks are of bytes, of what was opened to be written.
_NO_LOCKS = (errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def settle(parent: Path) -> None:
    """Undoes what killed runs left in `parent`: brings back the last layout that was taken away, removes the rest.

    Does nothing where no lock is to be had.
    """
    if not parent.is_dir():
        return
    with disk_errors(f"tidying {parent}", parent), _alone(parent) as locked:
        if not locked:
            return
        taken = [path for path in parent.glob(f"{_OLD}*") if _is_ours(path.name) and _is_folder(path)]
        if taken and not (parent / GENERATED).exists():
            newest = max(taken, key=lambda path: (path.lstat().st_mtime_ns, path.name))
            newest.rename(parent / GENERATED)
        for path in sorted(parent.glob(f"{_MADE}*")):
            if _is_ours(path.name):
                _sweep(path)


def _is_ours(name: str) -> bool:
    return is_new_name(name.removeprefix(_MADE).removeprefix("was."))


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _sweep(path: Path) -> None:
    try:
        fd = os.open(path, _DIR)
    except OSError:
        return
    try:
        if _locks(fd, fcntl.LOCK_EX | fcntl.LOCK_NB):
            remove_tree(path)
    except (BlockingIOError, PermissionError):  # in use, or another user's
        return
    finally:
        os.close(fd)


def _locks(fd: int, how: int = fcntl.LOCK_EX) -> bool:
    """Whether a folder is locked now: False where no lock is to be had. Raises BlockingIOError."""
    try:
        fcntl.flock(fd, how)
    except OSError as err:
        if err.errno in _NO_LOCKS:
            return False
        raise
    return True


@contextmanager
def _alone(parent: Path) -> Iterator[bool]:
    fd = os.open(parent, _DIR & ~os.O_NOFOLLOW)
    try:
        yield _locks(fd)
    finally:
        os.close(fd)


@contextmanager
def being_made(parent: Path) -> Iterator[Path]:
    """A new folder in `parent`, gone in the end. `put` gives it the name that others look for."""
    with disk_errors(f"writing to {parent}", parent):
        parent.mkdir(parents=True, exist_ok=True)
        made, fd = _locked(parent)
    try:
        yield made
    finally:
        remove_tree(made)
        os.close(fd)


def _locked(parent: Path) -> tuple[Path, int]:
    while True:
        made = parent / f"{_MADE}{new_name()}"
        made.mkdir()
        with suppress(FileNotFoundError):  # another run swept it away before it was locked
            fd = os.open(made, _DIR)
            _locks(fd)  # where it cannot be, nobody sweeps either
            if made.is_dir():
                return made, fd
            os.close(fd)


def put(made: Path) -> None:
    """Makes what stands at `made`, a folder or nothing, the final images. Raises NoSpace, OSError."""
    parent = made.parent
    with disk_errors(f"replacing {parent / GENERATED}", parent), _alone(parent):
        replace(parent / GENERATED, made, parent / f"{_OLD}{new_name()}")
        remove_tree(made)


def replace(folder: Path, made: Path, old: Path) -> None:
    """Puts what was made, also if that is nothing, in the place of the layout that is there.

    At every instant one of them stands there, and where this fails the old one does. `old` is a name for it meanwhile,
    where a file system cannot exchange two folders: `settle` knows that.
    """
    if folder.exists() and made.is_dir():
        try:
            exchange(made, folder)  # what is called `made` then is the caller's to remove
            return
        except OSError as err:
            if err.errno not in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
                raise
    try:
        if folder.exists():
            folder.rename(old)
        if made.is_dir():
            made.rename(folder)
    except BaseException:
        if old.exists() and not folder.exists():
            old.rename(folder)
        raise
    remove_tree(old)
