"""Where a path of a package really lies in a root: links in its folders are followed inside, never out."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from treebuilder.client.names import checked
from treebuilder.errors import UnsafeArchive
from treebuilder.system.inside import resolve

_MAX_LINKS = 40  # the kernel's own limit
_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def look(root: Path, name: str) -> Path | None:
    """What stands at `name` in the root, a final link itself; links in its folders are followed inside."""
    return None if "\0" in name else resolve(root, name, last=False)


class Places:
    """Real places of many paths; what was found out about a folder is remembered.

    `strict` refuses links that go round, which else are left as they are. What will lie in the root is told by `lay`.
    """

    def __init__(self, root: Path, *, strict: bool = False) -> None:
        self._root = root
        self._strict = strict
        self._folders: dict[str, str] = {"": ""}
        self._laid: dict[str, str | None] = {}
        self._passed: set[str] = set()

    def lay(self, real: str, link: str | None) -> None:
        """Something new will stand at a real place: a link to `link`, or else no link."""
        self._laid[real] = link
        if real in self._passed:
            self._folders, self._passed = {"": ""}, set()

    def real(self, path: str) -> str:
        """The path without links in its folders; unchanged below folders that are not there. Raises UnsafeArchive."""
        folder, _, name = path.rpartition("/")
        place = self.folder(folder)
        return f"{place}/{name}" if place else name

    def folder(self, path: str) -> str:
        """Where a folder really is, its own name a link or not; as the extractor walks. Raises UnsafeArchive."""
        known = self._folders.get(path)
        if known is None:
            parent, _, name = path.rpartition("/")
            known = self._folders[path] = self._walk(self.folder(parent), name, path)
        return known

    def links(self) -> frozenset[str]:
        """Real places of all links that were followed."""
        return frozenset(place for place in self._passed if self._target(place) is not None)

    def _walk(self, folder: str, name: str, path: str) -> str:
        at, rest, hops = folder.split("/") if folder else [], [name], 0
        while rest:
            part = rest.pop()
            if part == "..":
                del at[-1:]
                continue
            here = "/".join((*at, part))
            self._passed.add(here)
            target = self._target(here)
            if target is None:
                at.append(part)
                continue
            hops += 1
            if hops > _MAX_LINKS and self._strict:
                raise UnsafeArchive(
                    f"{self._root}/{path} is behind too many links: some of them lead in a circle",
                    hint="they are in the root, or in a package that is to be installed; remove one of the circle",
                )
            if hops > _MAX_LINKS:
                return f"{folder}/{name}" if folder else name
            if target.startswith("/"):
                at.clear()
            rest.extend(piece for piece in reversed(target.split("/")) if piece not in ("", "."))
        return "/".join(at)

    def _target(self, place: str) -> str | None:
        if place in self._laid:
            return self._laid[place]
        try:
            return os.readlink(f"{self._root}/{place}")
        except OSError:  # no link, or nothing at all
            return None


def links_on_the_way(root: Path, folders: Iterable[str]) -> frozenset[str]:
    """Real places of the links that lead to these folders, links to links as well."""
    places = Places(root)
    for folder in folders:
        places.folder(folder)
    return places.links()


def delete(root: Path, places: list[tuple[str, str]]) -> None:
    """Removes real places, (path, kind) with kind "d" for folders, in the order given. Folders that are not empty, or
    in use, stay; what is not there any more, or another kind of thing, or behind a link, is passed over.

    Raises UnsafeArchive before anything is gone for a path that is none below the root."""
    for path, _ in places:
        checked(path, "a removal")
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
                    try:
                        _delete_at(fd, name, kind)
                    except OSError as err:
                        raise OSError(err.errno, err.strerror, str(root / path)) from err
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
        except OSError:
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
