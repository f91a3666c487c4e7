"""The file system that is configured: `/`, or a folder whose links are followed as if it were `/`.

Every path of a cloud-config goes through `Root.locate`: links inside the folder lead where they would lead on the
booted system, and never out of it. Files are replaced whole.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from treebuilder.errors import TreebuildError
from treebuilder.records import record
from treebuilder.system.files import disk_errors, new_name, sync_folder, write_atomic

_MAX_LINKS = 40


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
        """A file's content, None when there is none."""
        try:
            return self.locate(inside).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read_text(self, inside: str) -> str:
        """A file as text, empty when there is none; undecodable bytes survive a round trip."""
        return (self.read(inside) or b"").decode("utf-8", "surrogateescape")

    def write(self, inside: str, data: bytes, *, mode: int | None = None, default_mode: int = 0o644) -> Path:
        """Replaces a file. Without `mode`, mode and owner of the old file stay. Missing folders get mode 0755."""
        path = self.locate(inside)
        with disk_errors(f"writing {inside}"):
            try:
                old = path.stat()
            except (FileNotFoundError, NotADirectoryError):
                old = None
            if old is not None and not stat.S_ISREG(old.st_mode):
                raise TreebuildError(f"{inside} is not a regular file", reason="path")
            keep = mode is None and old is not None
            wanted = stat.S_IMODE(old.st_mode) if keep and old is not None else default_mode if mode is None else mode
            self._make(path.parent, 0o755)
            write_atomic(path, data, mode=wanted)
            if keep and old is not None and (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                self.own(path, old.st_uid, old.st_gid)
        return path

    @contextmanager
    def receive(self, inside: str, *, mode: int, owner: tuple[int, int] = (-1, -1)) -> Iterator[IO[bytes]]:
        """A file that is written piece by piece: in its place when the block ends, and not at all when it raises."""
        path = self.locate(inside)
        with disk_errors(f"writing {inside}"):
            self._make(path.parent, 0o755)
            fresh = path.with_name(f".{path.name[:80]}.{new_name()}")
            fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(fd, "wb") as out:
                    yield out
                    out.flush()
                    os.fchown(fd, *owner)
                    os.fchmod(fd, mode)
                    os.fsync(fd)
                os.rename(fresh, path)
            except BaseException:
                fresh.unlink(missing_ok=True)
                raise
            sync_folder(path.parent)

    def write_text(self, inside: str, text: str, *, mode: int | None = None, default_mode: int = 0o644) -> Path:
        return self.write(inside, text.encode("utf-8", "surrogateescape"), mode=mode, default_mode=default_mode)

    def make_folders(self, inside: str, mode: int = 0o755) -> Path:
        """Makes a folder and what is missing above it; existing ones are left as they are."""
        path = self.locate(inside)
        with disk_errors(f"making {inside}"):
            self._make(path, mode)
        return path

    @staticmethod
    def _make(path: Path, mode: int) -> None:
        missing = []
        while not path.is_dir():
            missing.append(path)
            path = path.parent
        for folder in reversed(missing):
            folder.mkdir()
            folder.chmod(mode)

    @staticmethod
    def own(path: Path, user: int, group: int) -> None:
        """Gives a file away; -1 leaves that half as it is. Set-id bits survive."""
        with disk_errors(f"changing the owner of {path}"):
            before = path.stat()
            if (user in (-1, before.st_uid)) and (group in (-1, before.st_gid)):
                return
            os.chown(path, user, group)
            os.chmod(path, stat.S_IMODE(before.st_mode))
