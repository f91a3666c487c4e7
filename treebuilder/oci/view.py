"""The merged view of stacked layer folders, computed without a mount.

Overlayfs's rules: the topmost folder that holds a name decides; a whiteout ends the search; folders merge downwards
until an opaque folder or a non-folder; a merged folder has the attributes of its topmost part.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from treebuilder.archive.entry import Entry, entry_of, is_opaque, is_whiteout
from treebuilder.records import record

_MAX_LINKS = 40


@record
class Found:
    """A path of the view: the real file that shows there and its stat."""

    real: str
    info: os.stat_result


class StackView:
    """Layers given bottom first, each a folder in layer form. Read only; folders must not change meanwhile."""

    def __init__(self, folders: tuple[str, ...]) -> None:
        self._top_down = tuple(reversed(folders))
        self._dirs: dict[str, tuple[str, ...]] = {"": self._top_down}

    def _parts(self, folder: str) -> tuple[str, ...]:
        """The layer folders (top first) that merge into `folder` of the view; empty if it is no folder there."""
        known = self._dirs.get(folder)
        if known is not None:
            return known
        parent, _, name = folder.rpartition("/")
        parts: list[str] = []
        for base in self._parts(parent):
            real = f"{base}/{name}"
            try:
                info = os.lstat(real)
            except (FileNotFoundError, NotADirectoryError):
                continue
            if not stat.S_ISDIR(info.st_mode):
                break
            parts.append(real)
            if is_opaque(real):
                break
        self._dirs[folder] = tuple(parts)
        return self._dirs[folder]

    def find(self, path: str) -> Found | None:
        """What shows at `path` (relative, last link not followed); None if nothing does."""
        if not path:
            return Found(self._top_down[0], os.lstat(self._top_down[0])) if self._top_down else None
        parent, _, name = path.rpartition("/")
        for base in self._parts(parent):
            real = f"{base}/{name}"
            try:
                info = os.lstat(real)
            except (FileNotFoundError, NotADirectoryError):
                continue
            return None if is_whiteout(info) else Found(real, info)
        return None

    def names(self, folder: str) -> list[str]:
        """The names in a folder of the view, in byte order."""
        hidden: set[str] = set()
        shown: set[str] = set()
        for part in self._parts(folder):
            with os.scandir(part) as found:
                for item in found:
                    if item.name in shown or item.name in hidden:
                        continue
                    if is_whiteout(item.stat(follow_symlinks=False)):
                        hidden.add(item.name)
                    else:
                        shown.add(item.name)
        return sorted(shown, key=os.fsencode)

    def resolve(self, path: str) -> str:
        """`path` with every link followed inside the view; parts that do not exist stay as they are."""
        todo = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        done: list[str] = []
        hops = 0
        while todo:
            part = todo.pop()
            if part == "..":
                if done:
                    done.pop()
                continue
            here = "/".join([*done, part])
            found = self.find(here)
            if found is not None and stat.S_ISLNK(found.info.st_mode) and hops < _MAX_LINKS:
                hops += 1
                target = os.readlink(found.real)
                if target.startswith("/"):
                    done.clear()
                todo.extend(p for p in reversed(target.split("/")) if p not in ("", "."))
                continue
            done.append(part)
        return "/".join(done)

    def walk(self, folder: str = "") -> Iterator[tuple[Entry, str]]:
        """Entries below a folder of the view in walk order, each with the real file behind it.

        Hard links are recognised as in `archive.entry.scan`; there are no whiteouts in a view.
        """
        links: dict[tuple[int, int], str] = {}
        yield from self._walk(folder, links)

    def _walk(self, folder: str, links: dict[tuple[int, int], str]) -> Iterator[tuple[Entry, str]]:
        prefix = f"{folder}/" if folder else ""
        for name in self.names(folder):
            found = self.find(prefix + name)
            if found is None:
                continue
            entry = entry_of(found.real, prefix + name, found.info)
            if entry is None:
                continue
            entry = entry._replace(opaque=False)
            if entry.kind == "f" and found.info.st_nlink > 1:
                first = links.setdefault((found.info.st_dev, found.info.st_ino), entry.path)
                if first != entry.path:
                    entry = entry._replace(kind="h", link=first, size=0)
            yield entry, found.real
            if entry.kind == "d":
                yield from self._walk(entry.path, links)
