"""Which line of the user's file a line of a text comes from."""

from __future__ import annotations

from collections.abc import Sequence

from treebuilder.errors import Place
from treebuilder.records import record


@record
class Places:
    """`offset` is added to lines; `lines[i]` is the line of the file that line i+1 comes from, 0 for none."""

    file: str
    offset: int
    lines: Sequence[int] | None

    def at(self, index: int) -> Place:
        """The place of the text's line `index`, counted from 0."""
        if self.lines is None:
            return Place(self.file, index + 1 + self.offset)
        return Place(self.file, self.lines[min(index, len(self.lines) - 1)] if self.lines else 0)
