"""The plain part of YAML, line by line: what nine specfiles of ten are written in, read without PyYAML.

Block maps and lists, plain and quoted scalars of one line without escapes, `|` and `|-` texts, empty `[]` and `{}`,
comments on lines of their own. Whatever goes beyond, or could be read in two ways, is left to `full`: this reader
never guesses, and a test holds its every answer against the other's.
"""

from __future__ import annotations

import re

from treebuilder.errors import Place
from treebuilder.nodes.node import Entries, Node
from treebuilder.nodes.places import Places

_KEY = re.compile(r'(?:([A-Za-z_][\w./-]*)|"([^"\\]*)"):(?: +(.*))?\Z', re.ASCII)
_INT = re.compile(r"(?:0|[1-9][0-9]{0,17})\Z", re.ASCII)
_WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))
_STARTS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_/$(")
_MAX_LINES = 50_000
_MAX_INDENT = 200


class _Odd(Exception):
    """Something for the full reader."""


def load_simple(text: str, places: Places) -> Node | None:
    """The document, or None where the full reader must decide."""
    if not text.replace("\n", "").isprintable():
        return None
    lines = text.split("\n")
    if len(lines) > _MAX_LINES:
        return None
    try:
        return _Reader(lines, places).document()
    except _Odd:
        return None


class _Reader:
    """Walks the lines that say something, each as (index, indent, content)."""

    def __init__(self, lines: list[str], places: Places) -> None:
        self._lines = lines
        self._places = places
        self._rows = [
            (index, len(line) - len(content), content.rstrip(" "))
            for index, line in enumerate(lines)
            if (content := line.lstrip(" ")) and content[0] != "#"
        ]
        self._rows.append((len(lines), -1, ""))
        self._row = 0

    def document(self) -> Node:
        _, indent, content = self._rows[0]
        if content == "---" and indent == 0:
            self._row += 1
            _, indent, content = self._rows[1]
        if indent or not _KEY.match(content):
            raise _Odd
        root = self._map(0)
        if self._rows[self._row][2]:
            raise _Odd
        return root

    def _map(self, indent: int) -> Node:
        if indent > _MAX_INDENT:
            raise _Odd
        rows = self._rows
        at = self._places.at
        place = at(rows[self._row][0])
        entries = Entries()
        while True:
            _, here, content = rows[self._row]
            if here < indent:
                return Node("map", place, entries)
            match = _KEY.match(content) if here == indent else None
            if match is None:
                raise _Odd
            key, quoted, rest = match.groups()
            if key is None:
                key = quoted
            elif key in _WORDS or key.lower() in _WORDS:
                raise _Odd
            if key in entries:
                raise _Odd
            if rest and rest[0] != "|":
                index = rows[self._row][0]
                self._row += 1
                entries[key] = self._scalar(rest, at(index))
            else:
                entries[key] = self._value(rest or "", indent, in_map=True)

    def _value(self, rest: str, indent: int, *, in_map: bool) -> Node:
        """What follows a key or a dash on this line, or stands on the lines below it."""
        index = self._rows[self._row][0]
        place = self._places.at(index)
        if rest in ("|", "|-"):
            return self._block(index, indent, place, strip=rest == "|-")
        self._row += 1
        if rest:
            return self._scalar(rest, place)
        _, below, content = self._rows[self._row]
        if in_map and content[:2] == "- " and below >= indent:
            return Node("list", place, self._items(below))
        if below > indent:
            return Node("map", place, self._map(below).value)
        return Node("nothing", place, None)

    def _items(self, indent: int) -> list[Node]:
        if indent > _MAX_INDENT:
            raise _Odd
        rows = self._rows
        items: list[Node] = []
        while True:
            index, here, content = rows[self._row]
            if here < indent or (here == indent and content[0] != "-"):
                return items
            item = content[1:].lstrip(" ")
            if here != indent or content[:2] != "- " or item[:2] == "- ":
                raise _Odd
            if _KEY.match(item):
                inner = indent + len(content) - len(item)
                rows[self._row] = (index, inner, item)
                items.append(self._map(inner))
            else:
                items.append(self._value(item, indent, in_map=False))

    def _scalar(self, text: str, place: Place) -> Node:
        first = text[0]
        if text in ("true", "false"):
            return Node("boolean", place, text == "true", text)
        if first in _STARTS:
            if ": " in text or " #" in text or text[-1] == ":" or text.lower() in _WORDS:
                raise _Odd
            return Node("text", place, text, text)
        if first in "\"'":
            inner = text[1:-1]
            if len(text) < 2 or text[-1] != first or first in inner or (first == '"' and "\\" in inner):
                raise _Odd
            return Node("text", place, inner, inner)
        if text == "[]":
            return Node("list", place, [], "")
        if text == "{}":
            return Node("map", place, Entries(), "")
        if _INT.match(text):
            return Node("number", place, int(text), text)
        raise _Odd

    def _block(self, index: int, indent: int, place: Place, *, strip: bool) -> Node:
        """A text of several lines, kept as they are."""
        lines, at = self._lines, index + 1
        inner = 0
        found: list[str] = []
        while at < len(lines):
            line = lines[at]
            content = line.lstrip(" ")
            here = len(line) - len(content)
            if not content:
                if here > inner:
                    raise _Odd
                found.append("")
            else:
                inner = inner or here
                if here < inner:
                    if here > indent:
                        raise _Odd
                    break
                if inner <= indent:
                    break
                found.append(line[inner:])
            at += 1
        if at >= len(lines) and (not found or found[-1]):
            raise _Odd  # the file ends without a newline
        while found and not found[-1]:
            found.pop()
        if not found:
            raise _Odd
        while self._rows[self._row][0] < at:
            self._row += 1
        text = "\n".join(found) + ("" if strip else "\n")
        return Node("text", place, text, text)
