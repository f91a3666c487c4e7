"""Indexes of specfiles that go wrong."""

from __future__ import annotations

from treebuilder.tree.index import FileStamp, MemoryIndex


class Damaged(MemoryIndex):
    """Gives back something else than it was given."""

    def get(self, stamp: FileStamp) -> bytes | None:
        data = super().get(stamp)
        return data and data[:-3] + b"xyz"
