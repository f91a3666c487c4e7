"""Files written whole or not at all, folders switched by rename, and deletions that always succeed."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from treebuilder.annotations import IO
from treebuilder.errors import NoSpace, TreebuildError

_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_BAD_PATHS = (
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP, errno.EIO, errno.ESTALE
)  # fmt: skip


@contextmanager
def disk_errors(what: str, folder: Path | str = "") -> Iterator[None]:
    """Maps the kernel's refusals (full disk, read-only, no permission) to our errors. `folder` is what is filled."""
    try:
        yield
    except OSError as err:
        if err.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = f"free some space in {folder}, or use another folder" if folder else "free some space"
            raise NoSpace(f"no space left while {what}", hint=hint) from err
        if err.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise TreebuildError(
                f"not allowed while {what}: {err.strerror}: {err.filename}", reason="permission"
            ) from err
        if err.errno == errno.ENOENT and folder and not os.path.isdir(folder):
            raise TreebuildError(f"cannot go on {what}: there is no folder {folder}", reason="bad-path") from err
        if err.errno in _BAD_PATHS:
            raise TreebuildError(f"cannot go on {what}: {err.strerror}: {err.filename}", reason="bad-path") from err
        raise


def is_read_only(folder: Path) -> bool:
    """Whether nothing can be written there by anybody."""
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644, sync: bool = True) -> None:
    """Replaces `path` by `data`: a reader sees the old file or the new one, also after a crash."""
    with disk_errors(f"writing {path}", path.parent), replacing(path, mode=mode, sync=sync) as out:
        out.write(data)


@contextmanager
def replacing(path: Path, *, mode: int = 0o644, sync: bool = True) -> Iterator[IO[bytes]]:
    """A new file beside `path` that takes its name when the block ends, and is gone when it raises.

    It is locked as long as it is written, so `remove_unfinished` tells it from one whose writer was killed.
    """
    name, fd = _open_beside(path)
    try:
        with os.fdopen(fd, "w+b") as out:
            yield out
            out.flush()
            os.fchmod(fd, mode)
            if sync:
                os.fsync(fd)
            os.rename(name, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise
    if sync:
        sync_folder(path.parent)


def _open_beside(path: Path) -> tuple[str, int]:
    while True:
        name = f"{path.parent}/.{path.name[-80:]}.{new_name()}"
        fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with suppress(OSError):  # file systems without locks
            fcntl.flock(fd, fcntl.LOCK_EX)
        if os.fstat(fd).st_nlink:
            return name, fd
        os.close(fd)  # swept before it was locked


def remove_unfinished(folder: Path, of: str = "") -> None:
    """Deletes what killed runs left of `replacing` in a folder; `of` names the one file whose leftovers are meant.

    Raises TreebuildError for a folder that cannot be read.
    """
    with disk_errors(f"reading {folder}"):
        names = sorted(os.listdir(folder))
    for name in names:
        meant, _, random = name[1:].rpartition(".")
        if not (name.startswith(".") and is_new_name(random) and (meant == of[-80:] if of else meant)):
            continue
        with suppress(OSError):  # locked: somebody is writing it
            fd = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if stat.S_ISREG(os.fstat(fd).st_mode):
                    os.unlink(folder / name)
            finally:
                os.close(fd)


def sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def move_folder_into_place(made: Path, place: Path) -> bool:
    """Renames a finished folder to its final name. False (and `made` is removed) when somebody was first."""
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.rename(made, place)
        return True
    except OSError as err:
        if err.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        remove_tree(made)
        return False


def new_name() -> str:
    """A name that nobody else has, for a file or folder that is renamed or removed later."""
    return os.urandom(8).hex()


def is_new_name(text: str) -> bool:
    """Whether a text may be one of `new_name`'s."""
    return len(text) == 16 and all(char in "0123456789abcdef" for char in text)


def remove_tree(path: Path) -> None:
    """Deletes a folder whatever its modes are, or a file. Missing is fine; links are not followed."""
    try:
        parent = os.open(path.parent, _DIR)
    except FileNotFoundError:
        return
    try:
        _remove(parent, path.name)
    except FileNotFoundError:
        return
    except (OSError, RecursionError):
        _remove_flat(path)
    finally:
        os.close(parent)


def _remove(parent: int, name: str) -> None:
    """Deletes an entry of an open folder. A descriptor stays open for each level, so depth has a limit: OSError."""
    if not stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode):
        os.unlink(name, dir_fd=parent)
        return
    try:
        fd = os.open(name, _DIR | os.O_NOFOLLOW, dir_fd=parent)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=parent)
        fd = os.open(name, _DIR | os.O_NOFOLLOW, dir_fd=parent)
    try:
        if os.geteuid() != 0:
            os.fchmod(fd, 0o700)
        with os.scandir(fd) as found:
            entries = [(item.name, item.is_dir(follow_symlinks=False)) for item in found]
        for inner, is_folder in entries:
            if is_folder:
                _remove(fd, inner)
            else:
                os.unlink(inner, dir_fd=fd)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=parent)


def _remove_flat(path: Path) -> None:
    """Deletes a folder of any depth: what is below is first moved to the top, so no path and no descriptor runs out."""
    waiting = [path]
    number = 0
    while waiting:
        folder = waiting.pop()
        os.chmod(folder, 0o700)
        for item in sorted(folder.iterdir()):
            if item.is_symlink() or not item.is_dir():
                item.unlink()
                continue
            if folder != path:
                item.chmod(0o700)
                target = path / f".below-{number}"
                while os.path.lexists(target):
                    number += 1
                    target = path / f".below-{number}"
                item = item.rename(target)
            waiting.append(item)
        if folder != path:
            folder.rmdir()
    path.rmdir()
