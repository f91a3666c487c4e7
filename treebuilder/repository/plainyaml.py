"""YAML as machines write it (luet's metadata and indexes, and ours), read line by line: every scalar is a text.

Block maps and lists, scalars of one line, `|` texts, empty `[]` and `{}`. Whatever goes beyond is left to libyaml
(`index.parse_document`), which takes twenty times as long; a test holds every answer against its.
"""

from __future__ import annotations

import json

from treebuilder.annotations import Any

_MAX_INDENT = 200
_MAX_KEY = 1000
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_/$(.+^<;=~\\")
_SAID = ("name", "version", "category")  # what a reference to a package says, in nineteen lines or eight

_KEYS: dict[str, str] = {}  # as they are written, and what they are: most documents have the same ones
_MAX_KEYS = 10_000
_NOTHING = frozenset(("[]", "{}", "''", '""'))
_EMPTY: dict[str, tuple[int, str, Any]] = {}  # whole lines that say nothing: most lines are such ones


class _Odd(Exception):
    """Something for the full reader."""


def read_plain_yaml(text: str) -> dict[str, Any] | None:
    """The document, or None where the full reader must decide. What is empty in it is shared: nobody may fill it."""
    if text[-1:] != "\n" or not text.replace("\n", "").isprintable():
        return None
    lines = text.split("\n")
    while lines and not lines[-1]:
        lines.pop()
    lines.append("")  # nothing is less deep than the end
    try:
        return _Reader(lines).document()
    except (_Odd, IndexError):
        return None


class _Reader:
    """`at` is the line that is read next. The line "" at the end is as deep as the document itself."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._end = len(lines) - 1
        self._at = 0
        if len(_KEYS) > _MAX_KEYS:
            _KEYS.clear()
        self._keys = _KEYS
        self._shapes: dict[int, tuple[list[str], list[int], dict[str, Any]]] = {}

    def document(self) -> dict[str, Any]:
        found = self._map(0)
        if self._at != self._end or not found:
            raise _Odd
        return found

    def _map(self, indent: int) -> dict[str, Any]:
        """The map whose keys stand `indent` deep, until a line that is less deep."""
        if indent > _MAX_INDENT:
            raise _Odd
        lines, keys = self._lines, self._keys
        found: dict[str, Any] = {}
        at = self._at
        while True:
            line = lines[at]
            known = _EMPTY.get(line)
            if known is not None and known[0] == indent:
                found[known[1]] = known[2]
                at += 1
                continue
            content = line.lstrip(" ")
            here = len(line) - len(content)
            if here != indent or not content:
                if here < indent or at == self._end:
                    self._at = at
                    return found
                raise _Odd
            if content[:2] == "- ":
                self._at = at
                return found  # items that stand as deep as their key: the list above goes on
            word, separator, rest = content.partition(": ")
            if not separator:
                if content[-1] != ":":
                    raise _Odd
                word, rest = content[:-1], ""
            key = keys.get(word)
            if key is None:
                key = keys[word] = self._key(word)
            at += 1
            if rest and rest[0] in _PLAIN:
                if ": " in rest or " #" in rest or rest[-1] in ": ":
                    raise _Odd
                found[key] = rest
            elif rest in _NOTHING:
                value = found[key] = _scalar(rest)
                if len(_EMPTY) < _MAX_KEYS:
                    _EMPTY[line] = indent, key, value
            else:
                self._at = at
                found[key] = self._value(rest, indent)
                at = self._at

    @staticmethod
    def _key(word: str) -> str:
        key = _scalar(word) if word and ":" not in word and len(word) < _MAX_KEY else None
        if not isinstance(key, str):
            raise _Odd
        return key

    def _value(self, rest: str, indent: int) -> Any:  # noqa: ANN401 - a text, list or map
        """What follows a key: on its line, or on those below it, of which the first is the next."""
        if rest:
            return self._block(indent, rest) if rest[0] == "|" else _scalar(rest)
        line = self._lines[self._at]
        content = line.lstrip(" ")
        below = len(line) - len(content)
        if content[:2] == "- " and below >= indent:
            return self._list(below)
        return self._map(below) if below > indent else ""

    def _list(self, indent: int) -> list[Any]:
        lines = self._lines
        items: list[Any] = []
        while True:
            line = lines[self._at]
            content = line.lstrip(" ")
            here = len(line) - len(content)
            if here < indent or content[:2] != "- ":
                if here > indent or (not content and self._at != self._end):
                    raise _Odd
                return items
            if here > indent:
                raise _Odd
            item = content[2:].lstrip(" ")
            if not item or item[:2] == "- ":
                raise _Odd
            if item[0] not in "\"'" and (": " in item or item[-1] == ":"):
                inner = indent + len(content) - len(item)
                lines[self._at] = " " * inner + item
                items.append(self._item(inner))
                continue
            if item[0] in "\"'" and item[-1] != item[0]:
                raise _Odd  # a quoted key
            self._at += 1
            items.append(self._block(indent, item) if item[0] == "|" else _scalar(item))

    def _item(self, indent: int) -> dict[str, Any]:
        """A map in a list. Of references to packages all lines but three are the same, each time: these are compared
        and not read."""
        start, lines = self._at, self._lines
        known = self._shapes.get(indent)
        if known is not None:
            shape, places, rest = known
            end = start + len(shape)
            block = lines[start:end]
            if len(block) == len(shape) and self._closes(end, indent):
                own = [block[place] for place in places]
                for place in places:
                    block[place] = ""
                if block == shape and (found := self._said(own, indent)) is not None:
                    self._at = end
                    return rest | found
        made = self._map(indent)
        if known is None and len(made) == self._at - start and len(made) > len(_SAID) and _is_bare(made):
            keys = list(made)
            places = [keys.index(key) for key in _SAID]
            shape = ["" if at in places else line for at, line in enumerate(lines[start : self._at])]
            self._shapes[indent] = shape, places, made
        return made

    def _closes(self, at: int, indent: int) -> bool:
        """Whether a map that is so deep ends before this line."""
        line = self._lines[at] if at <= self._end else " " * (indent + 1)
        return len(line) - len(line.lstrip(" ")) < indent

    def _said(self, own: list[str], indent: int) -> dict[str, Any] | None:
        """Lines of a reference that say what it is; None if they are anything else."""
        found: dict[str, Any] = {}
        for key, line in zip(_SAID, own, strict=True):
            content = line.lstrip(" ")
            word, _, rest = content.partition(": ")
            if word != key or len(line) - len(content) != indent or not rest or rest[0] == "|":
                return None
            found[key] = _scalar(rest)
        return found

    def _block(self, indent: int, style: str) -> str:
        """A text of several lines, kept as they are; `indent` is that of what holds it."""
        if style not in ("|", "|-"):
            raise _Odd
        lines = self._lines
        inner = 0
        found: list[str] = []
        while self._at < self._end:
            line = lines[self._at]
            content = line.lstrip(" ")
            here = len(line) - len(content)
            if not content:
                if here:
                    raise _Odd
                found.append("")
            else:
                inner = inner or here
                if here < inner or inner <= indent:
                    if here > indent:
                        raise _Odd
                    break
                found.append(line[inner:])
            self._at += 1
        if not found or not found[0] or not found[-1]:
            raise _Odd
        return "\n".join(found) + ("" if style == "|-" else "\n")


def read_scalar(text: str) -> str | None:
    """A scalar of one line; None for what is none, and where the full reader must decide."""
    try:
        found = _scalar(text) if text else None
    except _Odd:
        return None
    return found if isinstance(found, str) else None


def _is_bare(value: dict[str, Any]) -> bool:
    """Whether a map is a reference to a package that says nothing but which."""
    if any(key not in value for key in _SAID):
        return False
    return all(item in ("", "0", "false", "null", [], {}) for key, item in value.items() if key not in _SAID)


def _scalar(text: str) -> Any:  # noqa: ANN401 - a text, or an empty list or map
    first = text[0]
    if first in _PLAIN or (first == "-" and text[1:2] not in ("", " ", "-")):
        if ": " in text or " #" in text or text[-1] in ": ":
            raise _Odd
        return text
    if first == "'" and len(text) > 1 and text[-1] == "'":
        inner = text[1:-1]
        if "'" in inner:
            if "'" in inner.replace("''", ""):
                raise _Odd
            return inner.replace("''", "'")
        return inner
    if first == '"' and len(text) > 1 and text[-1] == '"':
        inner = text[1:-1]
        if "\\" not in inner:
            if '"' in inner:
                raise _Odd
            return inner
        rest = inner.replace("\\\\", "").replace('\\"', "").replace("\\n", "").replace("\\t", "")
        if "\\" in rest or '"' in rest:
            raise _Odd
        found: str = json.loads(text)
        return found
    if text == "[]":
        return []
    if text == "{}":
        return {}
    raise _Odd
