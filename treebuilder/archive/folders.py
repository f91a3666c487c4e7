"""Opens folders below a root one by one, so that no name and no link leads out of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from treebuilder.errors import UnsafeArchive

DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_KEPT = 64  # folders of a path; deeper ones are opened anew
_MOST_LINKS = 40


class _Walk:
    """Where we are below a root: open folders, those from `own` on to be closed by us, and their path."""

    def __init__(self, folders: list[int], path: list[str]) -> None:
        self.folders, self.path = folders, path
        self.own = len(folders)

    def into(self, fd: int, name: str) -> None:
        self.folders.append(fd)
        self.path.append(name)

    def up(self) -> None:
        """The root is above itself."""
        if len(self.folders) > 1:
            self._back_to(len(self.folders) - 1)

    def top(self) -> None:
        self._back_to(1)

    def _back_to(self, count: int) -> None:
        for fd in self.folders[max(count, self.own) :]:
            os.close(fd)
        del self.folders[count:], self.path[count - 1 :]
        self.own = min(self.own, count)


class Folders:
    """Folders below `root`, a descriptor. `follow`: links are resolved inside it. `reserved`: names at its top that
    nothing may have. `made` is told of a folder that was not there.

    Neighbours in an archive share their folders: those of the last path that led through no link stay open.
    """

    def __init__(self, root: int, *, follow: bool, reserved: frozenset[str], made: Callable[[str], None]) -> None:
        self._root, self._follow, self._reserved, self._made = root, follow, reserved, made
        self._chain: list[str] = []
        self._kept: list[int] = []

    def open(self, folder: str) -> tuple[int, str]:
        """A descriptor of a folder, to be closed by the caller, and where it really is; made (0755) if not there.

        Raises UnsafeArchive.
        """
        wanted = [part for part in folder.split("/") if part]
        known = 0
        for one, other in zip(wanted, self._chain, strict=False):
            if one != other:
                break
            known += 1
        walk = _Walk([self._root, *self._kept[:known]], wanted[:known])
        parts = wanted[known:]
        parts.reverse()
        hops = 0
        try:
            while parts:
                part = parts.pop()
                if part == "..":  # of a link
                    walk.up()
                    continue
                if not walk.path and part in self._reserved:
                    raise UnsafeArchive(f"{folder} is a name that treebuild keeps for itself")
                target = self._enter(walk, part, folder)
                if target is None:
                    continue
                hops += 1
                if hops > _MOST_LINKS:
                    raise UnsafeArchive(f"{folder}: too many links")
                if target.startswith("/"):
                    walk.top()
                parts.extend(p for p in reversed(target.split("/")) if p not in ("", "."))
            found = os.dup(walk.folders[-1])
            if not hops and ".." not in wanted:
                self._close(known)
                self._chain, self._kept = wanted[:_MOST_KEPT], walk.folders[1 : _MOST_KEPT + 1]
                walk.own = _MOST_KEPT + 1
            return found, "/".join(walk.path)
        finally:
            for fd in walk.folders[walk.own :]:
                os.close(fd)

    def forget(self) -> None:
        """Folders may be gone, or this is the end."""
        self._close(0)
        self._chain, self._kept = [], []

    def _close(self, known: int) -> None:
        for fd in self._kept[known:]:
            os.close(fd)

    def _enter(self, walk: _Walk, part: str, folder: str) -> str | None:
        """Goes one folder down, or says where the link leads that is there instead."""
        above = walk.folders[-1]
        try:
            walk.into(os.open(part, DIR, dir_fd=above), part)
        except FileNotFoundError:
            os.mkdir(part, 0o755, dir_fd=above)
            walk.into(os.open(part, DIR, dir_fd=above), part)
            os.fchmod(walk.folders[-1], 0o755)  # whatever the umask is
            self._made("/".join(walk.path))
        except OSError as err:
            if not stat.S_ISLNK(os.stat(part, dir_fd=above, follow_symlinks=False).st_mode):
                raise UnsafeArchive(f"{folder}: {part} is not a folder") from err
            if not self._follow:
                raise UnsafeArchive(f"{folder} leads through the link {part!r}") from err
            return os.readlink(part, dir_fd=above)
        return None
