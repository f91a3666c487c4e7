"""Where a template's text comes from: several files read as one text, each character with its file and line.

luet glues the shared files and the rendered file together without a separator, so a line of the whole may belong to
two files. Positions are therefore given as *marks*: a number per (file, line), counted from 1 over all files.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from treebuilder.errors import Place

_NEWLINE = re.compile("\n")


class Source:
    """`files` are (name, text) in the order they are glued, behind those of `before`; the last one is rendered."""

    def __init__(
        self, files: tuple[tuple[str, str], ...], before: Source | None = None, ranks: Sequence[int] = ()
    ) -> None:
        """`ranks` are of the first files of all; those without one have 0."""
        self._starts: list[int] = before._starts.copy() if before else []  # offset at which each mark begins
        self._places: list[tuple[int, int]] = before._places.copy() if before else []  # (index of the file, line)
        self._joints: list[int] = before._joints.copy() if before else []  # offsets where a file begins behind another
        self._names: tuple[str, ...] = before._names if before else ()
        self.length: int = before.length if before else 0
        self._ranks: tuple[int, ...] = before._ranks if before else tuple(ranks)
        for index, (name, text) in enumerate(files, start=len(self._names)):
            self._names = (*self._names, name)
            self._add(index, text)

    def _add(self, index: int, text: str) -> None:
        """Notes the lines of a file. An empty line behind its final newline begins the next file, if there is one."""
        offset = self.length
        while self._starts and self._starts[-1] == offset:
            self._starts.pop()
            self._places.pop()
        self._starts.append(offset)
        self._places.append((index, 1))
        if offset:
            self._joints.append(offset)
        for line, found in enumerate(_NEWLINE.finditer(text), start=2):
            self._starts.append(offset + found.end())
            self._places.append((index, line))
        self.length += len(text)

    @property
    def marks(self) -> int:
        """How many marks there are."""
        return len(self._starts)

    def mark(self, offset: int) -> int:
        """The mark of a character."""
        return bisect_right(self._starts, offset)

    def parts(self, start: int, length: int) -> Iterator[tuple[int, int]]:
        """Start and length of the pieces of a stretch of text that lie in one file each."""
        end = start + length
        for joint in self._joints:
            if start < joint < end:
                yield start, joint - start
                start = joint
        yield start, end - start

    def place(self, mark: int) -> Place:
        """File and line of a mark; the end of the text counts as its last line."""
        index, line = self._places[min(max(mark, 1), len(self._places)) - 1]
        return Place(self._names[index], line)

    def rank(self, mark: int) -> int:
        """Of what files of several ranks define, that of the lowest counts."""
        index, _ = self._places[min(max(mark, 1), len(self._places)) - 1]
        return self._ranks[index] if index < len(self._ranks) else 0

    def text(self, mark: int, text: str) -> str:
        """What is written for the text at a mark, which was parsed as `text`."""
        return text

    def own_line(self, mark: int) -> int:
        """The line in the rendered file (the last one), 0 for a mark of a shared file."""
        index, line = self._places[min(max(mark, 1), len(self._places)) - 1]
        return line if index == len(self._names) - 1 else 0
