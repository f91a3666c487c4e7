"""The plainest YAML as plain data: texts, lists of texts or of small maps, small maps, one level below the keys.

Four specfiles of five are no more than that. One regex takes all lines; no node is made. Whatever goes beyond, or could
be read in two ways, is left to `simple` and `full`: this reader never guesses, and a test holds its every answer
against theirs.
"""

from __future__ import annotations

import re

from treebuilder.annotations import TypeAlias

Leaf: TypeAlias = str | bool
Map: TypeAlias = "dict[str, tuple[int, Leaf]]"
List: TypeAlias = "list[tuple[int, Leaf | Map]]"
Flat: TypeAlias = "dict[str, tuple[int, Leaf | Map | List]]"
Form: TypeAlias = "tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[bool, ...]]"

# indent, dash, key, value, all empty for a line that says nothing; a value in quotes is complete and has no escapes.
# What looks like a key is never part of a value. (Debian's first Python 3.11 loses the place in a possessive group.)
_ROW = re.compile(
    r"""^(?:(\ *+)(-\ ++)?(?:([A-Za-z_][\w./-]*+):(?:\ ++|(?=\n))|(?![A-Za-z_][\w./-]*+:[\ \n]))
           ("[^"\\\n]*+"|'[^'\n]*+'|[A-Za-z_/$(][^\n]*+|[0-9]+\.[0-9]+\.[0-9][^\n]*+|)\ *+
        |\ *+\#[^\n]*+
        )\n""",
    re.ASCII | re.MULTILINE | re.VERBOSE,
)
_WORDS: dict[str, bool | None] = {
    "true": True, "false": False, **dict.fromkeys(("y", "n", "yes", "no", "on", "off", "null"))
}  # fmt: skip
_LONGEST = 5
_MAX_LINES = 50_000


class _Odd(Exception):
    """Something for another reader."""


def read_flat(text: str) -> Flat | None:
    """The values of the keys, each with its line, counted from 0; None where another reader must decide."""
    rows = _rows(text)
    if rows is None:
        return None
    try:
        return _Filler().read(rows)
    except _Odd:
        return None


def read_form(text: str) -> tuple[Form, tuple[str, ...]] | None:
    """What is left of a text without its values, and these, in quotes or not; None as for `read_flat`.

    Texts of one form differ in their values only. `flat_of` says what is where, `texts_of` what the values are.
    """
    rows = _rows(text)
    if not rows:
        return None
    indents, dashes, keys, values = zip(*rows, strict=True)
    return (indents, dashes, keys, tuple(map(bool, values))), values


def flat_of(form: Form) -> Flat | None:
    """What `read_flat` gives for texts of a form, with the number of its line, as a text, for each value."""
    rows = [(*row[:3], f'"{line}"' if row[3] else "") for line, row in enumerate(zip(*form, strict=True))]
    try:
        return _Filler().read(rows)
    except _Odd:
        return None


def texts_of(values: tuple[str, ...]) -> list[str] | None:
    """The values of a form without their quotes; None if one is no text, or might be something else."""
    found = []
    for value in values:
        if value and value[0] in "\"'":
            found.append(value[1:-1])
        elif ":" not in value and "#" not in value and len(value) > _LONGEST and value[-1] != " ":
            found.append(value)
        elif value:
            try:
                leaf = _plain(value)
            except _Odd:
                return None
            if not isinstance(leaf, str):
                return None
            found.append(leaf)
        else:
            found.append("")
    return found


def _rows(text: str) -> list[tuple[str, str, str, str]] | None:
    if not text.endswith("\n"):
        text += "\n"
    if not text.replace("\n", "").isprintable():
        return None
    rows: list[tuple[str, str, str, str]] = _ROW.findall(text)
    return rows if len(rows) == text.count("\n") <= _MAX_LINES else None


class _Filler:
    """Puts rows where they belong. `_open` is a key whose value is on the lines below it."""

    def __init__(self) -> None:
        self._found: Flat = {}
        self._open: tuple[str, int] | None = None
        self._list: List | None = None
        self._list_indent = 0
        self._map: Map | None = None  # the one that further keys belong to
        self._map_indent = 0

    def read(self, rows: list[tuple[str, str, str, str]]) -> Flat:
        found, words = self._found, _WORDS
        leaf: Leaf | None
        for line, (indent, dash, key, value) in enumerate(rows):
            if not value:
                if not key and not dash:
                    continue
                leaf = None
            elif value[0] in "\"'":
                leaf = value[1:-1]
            elif ":" not in value and "#" not in value and len(value) > _LONGEST and value[-1] != " ":
                leaf = value
            else:
                leaf = _plain(value)
            if key in words or (len(key) <= _LONGEST and key.lower() in words):
                raise _Odd
            if dash:
                self._item(line, indent, dash, key, leaf)
            elif indent:
                known = self._map
                if known is None or not key or leaf is None or key in known or len(indent) != self._map_indent:
                    self._first_entry(line, len(indent), key, leaf)
                else:
                    known[key] = line, leaf
            elif not key or key in found or self._open is not None:
                raise _Odd
            else:
                self._list = self._map = None
                if leaf is None:
                    self._open = key, line
                else:
                    found[key] = line, leaf
        if self._open is not None or not found:
            raise _Odd
        return found

    def _item(self, line: int, indent: str, dash: str, key: str, leaf: Leaf | None) -> None:
        """A line that begins an item of a list."""
        if self._open is not None:
            self._list, self._list_indent = [], len(indent)
            self._found[self._open[0]] = self._open[1], self._list
            self._open = None
        elif len(indent) != self._list_indent:
            raise _Odd
        if self._list is None or leaf is None:
            raise _Odd
        if key:
            self._map, self._map_indent = {key: (line, leaf)}, len(indent) + len(dash)
            self._list.append((line, self._map))
        else:
            self._map = None
            self._list.append((line, leaf))

    def _first_entry(self, line: int, indent: int, key: str, leaf: Leaf | None) -> None:
        """A line that begins a map below a key."""
        if self._open is None or not key or leaf is None:
            raise _Odd
        self._map, self._map_indent = {key: (line, leaf)}, indent
        self._found[self._open[0]] = self._open[1], self._map
        self._open = None


def _plain(value: str) -> Leaf:
    value = value.rstrip(" ")
    if ": " in value or value[-1] == ":" or " #" in value:
        raise _Odd
    if len(value) <= _LONGEST and value.lower() in _WORDS:
        known = _WORDS.get(value)
        if known is None:
            raise _Odd
        return known
    return value
