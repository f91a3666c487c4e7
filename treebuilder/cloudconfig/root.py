"""The file system that is configured: `/`, or a folder whose links are followed as if it were `/`.

Links inside the folder lead where they would lead on the booted system, and never out of it. Files are replaced whole.

What is read, written or given away is reached folder by folder, each held open, and where somebody else than root could
have put a link none is followed: we are root, and `~/.ssh/authorized_keys` may be a link to /etc/shadow.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from treebuilder.annotations import IO, NoReturn
from treebuilder.errors import TreebuildError
from treebuilder.records import record, replace
from treebuilder.system.files import disk_errors, new_name

_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NOBODY = (-1, -1)
_MAX_LINKS = 40


@record
class _Here:
    """A folder that is held open, a name in it ("" for the folder itself), and where that is on this machine.

    `free`: nobody but root can have put something there, so that links may be followed.
    """

    fd: int
    name: str
    free: bool
    path: Path

    def look(self) -> os.stat_result | None:
        """What is there, its own link if it is one; None for nothing."""
        try:
            return os.stat(self.name, dir_fd=self.fd, follow_symlinks=False) if self.name else os.fstat(self.fd)
        except FileNotFoundError:
            return None

    def read(self) -> bytes:
        """Raises FileNotFoundError, IsADirectoryError, TreebuildError (reason "path")."""
        if not self.name:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self.path))
        quick = 0 if self.free else os.O_NONBLOCK  # a pipe of a user must not hold up a boot
        fd = os.open(self.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | quick, dir_fd=self.fd)
        with os.fdopen(fd, "rb") as file:
            info = os.fstat(file.fileno())
            if not self.free and (not stat.S_ISREG(info.st_mode) or info.st_nlink > 1):
                refuse(self.path, "it is no file of its own")
            return file.read()

    @contextmanager
    def replaced(self, mode: int, owner: tuple[int, int]) -> Iterator[IO[bytes]]:
        """A new file, that takes the name when the block ends, and is gone when it raises."""
        fresh = f".{self.name[:80]}.{new_name()}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(fresh, flags, 0o600, dir_fd=self.fd)
        try:
            with os.fdopen(fd, "wb") as out:
                yield out
                out.flush()
                _give(fd, mode, owner)
                os.fsync(fd)
            os.rename(fresh, self.name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(fresh, dir_fd=self.fd)
            raise
        os.fsync(self.fd)


@record
class Root:
    """`folder` is absolute."""

    folder: Path

    @property
    def is_host(self) -> bool:
        """True for the running system itself."""
        return self.folder == Path("/")

    def locate(self, inside: str, *, last: bool = True) -> Path:
        """Where `inside` is on this machine. The last part's link is followed too unless `last` is False.

        Raises TreebuildError for a circle of links.
        """
        if "\0" in inside:
            raise TreebuildError(f"a path must not hold a NUL: {inside!r}", reason="path")
        pending = inside.split("/")[::-1]
        done: list[str] = []
        links = 0
        while pending:
            part = pending.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if done:
                    done.pop()
                continue
            here = self.folder.joinpath(*done, part)
            if (pending or last) and here.is_symlink():
                links += 1
                if links > _MAX_LINKS:
                    raise TreebuildError(f"too many links on the way to {inside}", reason="path")
                target = os.readlink(here)
                if target.startswith("/"):
                    done = []
                pending += target.split("/")[::-1]
                continue
            done.append(part)
        return self.folder.joinpath(*done)

    def exists(self, inside: str) -> bool:
        return self.locate(inside).exists()

    def read(self, inside: str) -> bytes | None:
        """A file's content, None when there is none. Raises TreebuildError (reason "path") for a user's link."""
        try:
            with self._walked(inside) as here:
                return here.read()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read_text(self, inside: str) -> str:
        """A file as text, empty when there is none; undecodable bytes survive a round trip."""
        return (self.read(inside) or b"").decode("utf-8", "surrogateescape")

    def lines(self, inside: str) -> list[str]:
        """A file's lines, which end at line feeds alone: a value may hold U+2028."""
        text = self.read_text(inside).removesuffix("\n")
        return text.split("\n") if text else []

    def write(
        self, inside: str, data: bytes, *, mode: int | None = None, default_mode: int = 0o644,
        owner: tuple[int, int] = _NOBODY,
    ) -> Path:  # fmt: skip
        """Replaces a file. Without `mode`, mode and owner of the old file stay. Missing folders get mode 0755.

        A half of `owner` that is -1 is not given away. Raises TreebuildError (reason "path") for a user's link.
        """
        with disk_errors(f"writing {inside}"), self._walked(inside, make=0o755) as here:
            old = here.look()
            if old is not None and not stat.S_ISREG(old.st_mode):
                raise TreebuildError(f"{inside} is not a regular file", reason="path")
            if old is not None and mode is None:
                mode = stat.S_IMODE(old.st_mode)
                owner = (old.st_uid if owner[0] == -1 else owner[0], old.st_gid if owner[1] == -1 else owner[1])
            with here.replaced(default_mode if mode is None else mode, owner) as out:
                out.write(data)
            return here.path

    @contextmanager
    def receive(self, inside: str, *, mode: int, owner: tuple[int, int] = _NOBODY) -> Iterator[IO[bytes]]:
        """A file that is written piece by piece: in its place when the block ends, and not at all when it raises."""
        with disk_errors(f"writing {inside}"), self._walked(inside, make=0o755) as here:
            if not here.name:
                raise TreebuildError(f"{inside} is not a regular file", reason="path")
            with here.replaced(mode, owner) as out:
                yield out

    def write_text(
        self, inside: str, text: str, *, mode: int | None = None, default_mode: int = 0o644,
        owner: tuple[int, int] = _NOBODY,
    ) -> Path:  # fmt: skip
        data = text.encode("utf-8", "surrogateescape")
        return self.write(inside, data, mode=mode, default_mode=default_mode, owner=owner)

    def make_folders(
        self, inside: str, mode: int = 0o755, *, always: int | None = None, owner: tuple[int, int] = _NOBODY
    ) -> Path:
        """Makes a folder and what is missing above it with `mode`; existing ones are left as they are.

        The last one gets the mode `always` and `owner` also when it was there: -1 leaves that half as it is.
        """
        with disk_errors(f"making {inside}"), self._walked(inside, make=mode, whole=True) as here:
            if always is not None or owner != _NOBODY:
                _give(here.fd, always, owner)
            return here.path

    @contextmanager
    def _walked(self, inside: str, *, make: int | None = None, whole: bool = False) -> Iterator[_Here]:
        """The way to a path, and a link at its end too, with its folder held open; `whole`: the last part is one.

        `make` is the mode of folders that are missing. Raises OSError, TreebuildError (reason "path").
        """
        pending = _parts(inside)
        name, links = "", 0
        way = [_Here(os.open(self.folder, _DIR & ~os.O_NOFOLLOW), "", True, self.folder)]
        trusted = (0, os.geteuid(), os.fstat(way[0].fd).st_uid)
        try:
            while pending and not name:
                part = pending.pop()
                here = way[-1]
                if part == "..":
                    if len(way) > 1:
                        os.close(way.pop().fd)
                    continue
                info = replace(here, name=part).look()
                if info is not None and stat.S_ISLNK(info.st_mode):
                    links += 1
                    if not here.free or info.st_uid not in trusted:
                        refuse(here.path / part, "it is a link that a user can have made")
                    if links > _MAX_LINKS:
                        raise TreebuildError(f"too many links on the way to {inside}", reason="path")
                    target = os.readlink(part, dir_fd=here.fd)
                    while target.startswith("/") and len(way) > 1:
                        os.close(way.pop().fd)
                    pending += _parts(target)
                elif pending or whole:
                    way.append(_entered(here, part, make, trusted))
                else:
                    name = part
            here = way[-1]
            yield _Here(here.fd, name, here.free, here.path / name if name else here.path)
        finally:
            for each in way:
                os.close(each.fd)


def refuse(path: Path, why: str) -> NoReturn:
    """Raises TreebuildError (reason "path")."""
    raise TreebuildError(f"{path} is left alone: {why}", hint="name the place that is meant", reason="path")


def _parts(inside: str) -> list[str]:
    """The parts of a path, the first one last."""
    if "\0" in inside:
        raise TreebuildError(f"a path must not hold a NUL: {inside!r}", reason="path")
    return [part for part in inside.split("/")[::-1] if part not in ("", ".")]


def _entered(here: _Here, part: str, make: int | None, trusted: tuple[int, ...]) -> _Here:
    """A folder in a folder. Below one that a user can write nothing is free again."""
    try:
        fd = os.open(part, _DIR, dir_fd=here.fd)
    except FileNotFoundError:
        if make is None:
            raise
        os.mkdir(part, 0o700, dir_fd=here.fd)
        fd = os.open(part, _DIR, dir_fd=here.fd)
        os.fchmod(fd, make)
    info = os.fstat(fd)
    open_to_all = info.st_mode & stat.S_IWOTH and not info.st_mode & stat.S_ISVTX
    return _Here(fd, "", here.free and info.st_uid in trusted and not open_to_all, here.path / part)


def _give(fd: int, mode: int | None, owner: tuple[int, int]) -> None:
    """Owner and mode of what is open. Set-id bits survive."""
    before = os.fstat(fd)
    if owner[0] not in (-1, before.st_uid) or owner[1] not in (-1, before.st_gid):
        os.fchown(fd, *owner)
        mode = stat.S_IMODE(before.st_mode) if mode is None else mode
    if mode is not None:
        os.fchmod(fd, mode)
