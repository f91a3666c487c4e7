"""Folders in which jobs run, one after the other: making and removing files is what a file system takes longest for."""

from __future__ import annotations

import os
from pathlib import Path

from treebuilder.system.files import remove_tree


class Workplace:
    """`upper` and `work` of an overlay, the `root` it is mounted on, and files that are bound into the container."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.upper, self.work, self.root = folder / "upper", folder / "work", folder / "root"
        self._private: dict[str, os.stat_result] = {}
        for name in (self.upper, self.work, self.root):
            os.mkdir(name, 0o755)

    def tidy(self) -> None:
        """As new for the next job: the overlay is unmounted, and the layer has mostly taken the upper folder with it.

        A volatile overlay leaves a mark that bars the next.
        """
        remove_tree(self.work / "work/incompat")
        remove_tree(self.upper)
        os.mkdir(self.upper, 0o755)

    def private(self, name: str, data: bytes) -> str:
        """The path of a file with this content that no other job sees; made anew if the last job changed it."""
        path = f"{self.folder}/{name}"
        if not self._is_as_made(path, data):
            remove_tree(Path(path))
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            try:
                os.write(fd, data)
                os.fchmod(fd, 0o644)
                self._private[path] = os.fstat(fd)
            finally:
                os.close(fd)
        return path

    def _is_as_made(self, path: str, data: bytes) -> bool:
        made = self._private.get(path)
        if made is None:
            return False
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            now = os.fstat(fd)
            same = all(
                getattr(now, name) == getattr(made, name) for name in ("st_mode", "st_uid", "st_gid", "st_ctime_ns")
            )
            return same and os.read(fd, len(data) + 1) == data  # two changes within a tick have one time
        finally:
            os.close(fd)
