"""Where a path of a package really lies in a root: links in its folders are followed inside, never out."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from treebuilder.system.inside import resolve

_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def look(root: Path, name: str) -> Path | None:
    """What stands at `name` in the root, a final link itself; links in its folders are followed inside."""
    return resolve(root, name, last=False)


class Places:
    """Real places of many paths; what was found out about a folder is remembered."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folders: dict[str, str] = {"": ""}

    def real(self, path: str) -> str:
        """The path without links in its folders; unchanged below folders that are not there."""
        folder, _, name = path.rpartition("/")
        place = self._folder(folder)
        return f"{place}/{name}" if place else name

    def _folder(self, folder: str) -> str:
        known = self._folders.get(folder)
        if known is None:
            place = self.real(folder)
            if os.path.islink(self._root / place):
                found = resolve(self._root, folder)
                place = found.relative_to(self._root).as_posix() if found is not None else place
                place = "" if place == "." else place
            known = self._folders[folder] = place
        return known


def delete(root: Path, places: list[tuple[str, str]]) -> None:
    """Removes real places, (path, kind) with kind "d" for folders, in the order given. Folders that are not empty, or
    in use, stay; what is not there any more, or another kind of thing, or behind a link, is passed over."""
    top = os.open(root, _DIR)
    try:
        folder, fd = "", os.dup(top)
        try:
            for path, kind in places:
                parent, _, name = path.rpartition("/")
                if parent != folder:
                    if fd >= 0:
                        os.close(fd)
                    folder, fd = parent, -1
                    fd = _open(top, parent)
                if fd >= 0:
                    _delete_at(fd, name, kind)
        finally:
            if fd >= 0:
                os.close(fd)
    finally:
        os.close(top)


def _open(top: int, folder: str) -> int:
    """A descriptor of the folder; -1 where there is none. No link is followed."""
    fd = os.dup(top)
    for part in folder.split("/") if folder else ():
        try:
            inner = os.open(part, _DIR, dir_fd=fd)
        except (FileNotFoundError, NotADirectoryError, OSError):
            os.close(fd)
            return -1
        os.close(fd)
        fd = inner
    return fd


def _delete_at(parent: int, name: str, kind: str) -> None:
    try:
        is_folder = stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return
    if is_folder != (kind == "d"):
        return
    if not is_folder:
        os.unlink(name, dir_fd=parent)
        return
    try:
        os.rmdir(name, dir_fd=parent)
    except OSError:  # something of others is in it, or mounted on it
        return
