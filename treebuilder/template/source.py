"""Where a template's text comes from: several files read as one text, each character with its file and line.

luet glues the shared files and the rendered file together without a separator, so a line of the whole may belong to
two files. Positions are therefore given as *marks*: a number per (file, line), counted from 1 over all files.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator

from treebuilder.errors import Place

_NEWLINE = re.compile("\n")


class Source:
    """`files` are (name, text) in the order they are glued; the last one is the file that is rendered."""

    def __init__(self, files: tuple[tuple[str, str], ...]) -> None:
        self.text = "".join(text for _, text in files)
        self._starts: list[int] = []  # offset at which each mark begins
        self._places: list[tuple[int, int]] = []  # (index of the file, line)
        self._names = tuple(name for name, _ in files)
        self._joints: list[int] = []  # offsets at which a file begins behind another
        offset = 0
        for index, (_, text) in enumerate(files):
            last = index == len(files) - 1
            if not text and not last:
                continue
            self._starts.append(offset)
            self._places.append((index, 1))
            if offset:
                self._joints.append(offset)
            for line, found in enumerate(_NEWLINE.finditer(text), start=2):
                if found.end() < len(text) or last:
                    self._starts.append(offset + found.end())
                    self._places.append((index, line))
            offset += len(text)

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

    def own_line(self, mark: int) -> int:
        """The line in the rendered file (the last one), 0 for a mark of a shared file."""
        index, line = self._places[min(max(mark, 1), len(self._places)) - 1]
        return line if index == len(self._names) - 1 else 0
