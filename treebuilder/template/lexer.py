"""Go text/template's tokens: texts and actions in turn; trim markers have already done their work on the texts.

Source: https://pkg.go.dev/text/template (sections "Text and spaces", "Actions", "Arguments"). An action that stands on
one line is the same wherever it stands, so its tokens are kept by its text: specfiles repeat theirs thousands of times.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum

from treebuilder.annotations import NamedTuple
from treebuilder.template.faults import LocatedFault
from treebuilder.template.source import Source

KEYWORDS = frozenset(
    ("block", "break", "continue", "define", "else", "end", "if", "nil", "range", "template", "with")
)  # fmt: skip
SPACE = " \t\r\n"
_NUMBER = (
    r"(?:0[xX][0-9a-fA-F_]*(?:\.[0-9a-fA-F_]*)?(?:[pP][+-]?[0-9_]*)?|0[bB][01_]+|0[oO][0-7_]+"
    r"|(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9_]+)?)"
)
_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r\n]+)
  | (?P<string>"(?:[^"\\\n]|\\[^\n])*")
  | (?P<raw>`[^`]*`)
  | (?P<char>'(?:[^'\\\n]|\\[^\n])+')
  | (?P<number>[+-]?{number}(?:[+-]{number}i|i)?)
  | (?P<variable>\$[\w]*)
  | (?P<field>\.[^\W\d]\w*)
  | (?P<dot>\.)
  | (?P<word>[^\W\d]\w*)
  | (?P<declare>:=)
  | (?P<assign>=)
  | (?P<pipe>\|)
  | (?P<comma>,)
  | (?P<open>\()
  | (?P<close>\))
    """.replace("{number}", _NUMBER),
    re.VERBOSE,
)
_ENDS_WORD = re.compile(r"[ \t\r\n.,|:=()]|\Z|-?\}\}")
# an action on one line without comments and characters; what does not look like it is lexed with care
SIMPLE = r"""\{\{(?:[^"'`{}\n/]|"(?:[^"\\\n]|\\[^\n])*"|`[^`\n]*`)*\}\}"""
_SIMPLE = re.compile(SIMPLE)
_MAX_KEPT = 20_000


class Kind(Enum):
    RIGHT = "}}"
    SPACE = "space"
    STRING = "string"
    RAW = "raw string"
    CHAR = "character"
    NUMBER = "number"
    VARIABLE = "variable"
    FIELD = "field"
    DOT = "."
    WORD = "identifier"
    KEYWORD = "keyword"
    DECLARE = ":="
    ASSIGN = "="
    PIPE = "|"
    COMMA = ","
    OPEN = "("
    CLOSE = ")"


_KIND_OF_GROUP = {kind.name.lower(): kind for kind in Kind}
_ARE_WORDS = (Kind.WORD, Kind.FIELD, Kind.VARIABLE, Kind.NUMBER)


class Token(NamedTuple):
    """`offset` counts from the action's start; `spaced`: white space stands before it."""

    kind: Kind
    text: str
    offset: int
    spaced: bool


class Action(NamedTuple):
    """What stands between `{{` and `}}`, ending with RIGHT. `key` is its text if it stands on one line, else empty."""

    offset: int
    tokens: tuple[Token, ...]
    key: str


class Piece(NamedTuple):
    """Text between actions, of one file."""

    text: str
    offset: int


_kept: dict[str, tuple[tuple[Token, ...], bool]] = {}


class Lexer:
    """`base` is the offset of `text` in the source; `trim` is left True when text that follows loses its spaces."""

    def __init__(self, source: Source, text: str, base: int, *, trim: bool = False) -> None:
        self._source = source
        self._text = text
        self._base = base
        self.trim = trim

    def run(self) -> Iterator[Piece | Action]:
        """Raises LocatedFault."""
        text, base = self._text, self._base
        position = 0
        while True:
            left = text.find("{{", position)
            end = left if left >= 0 else len(text)
            start = position
            if self.trim:
                while start < end and text[start] in SPACE:
                    start += 1
                self.trim = start == end
            piece = text[start:end]
            trims_left = left >= 0 and text.startswith("-", left + 2) and _is_space(text, left + 3)
            if trims_left:
                piece = piece.rstrip(SPACE)
            if piece:
                for begin, size in self._source.parts(base + start, len(piece)):
                    yield Piece(text[begin - base : begin - base + size], begin)
            if left < 0:
                return
            inside = left + 4 if trims_left else left + 2
            if text.startswith("/*", inside):
                position, self.trim = self._comment(left, inside)
                continue
            simple = _SIMPLE.match(text, left)
            key = simple.group() if simple else ""
            known = _kept.get(key) if key else None
            if known is not None:
                tokens, self.trim = known
                position = left + len(key)
            else:
                tokens, position, self.trim = self._action(left, inside)
                if key and position == left + len(key):
                    if len(_kept) > _MAX_KEPT:
                        _kept.clear()
                    _kept[key] = tokens, self.trim
                else:
                    key = ""
            yield Action(base + left, tokens, key)

    def _fault(self, message: str, offset: int) -> LocatedFault:
        return LocatedFault(message, self._source.mark(self._base + offset))

    def _comment(self, left: int, inside: int) -> tuple[int, bool]:
        text = self._text
        close = text.find("*/", inside + 2)
        if close < 0:
            raise self._fault("a comment that does not end", left)
        after = close + 2
        if text.startswith("}}", after):
            return after + 2, False
        if _is_space(text, after) and text.startswith("-}}", after + 1):
            return after + 4, True
        raise self._fault("a comment must be followed by }} at once", left)

    def _action(self, left: int, inside: int) -> tuple[tuple[Token, ...], int, bool]:
        """The tokens between `{{` and `}}`, the position behind it, and whether it trims what follows."""
        text = self._text
        tokens: list[Token] = []
        depth = 0
        position = inside
        spaced = False
        while True:
            right = 2 if text.startswith("}}", position) else 0
            if not right and _is_space(text, position) and text.startswith("-}}", position + 1):
                right = 4
            if right:
                if depth:
                    raise self._fault("a parenthesis that is not closed", position)
                tokens.append(Token(Kind.RIGHT, "}}", position - left, spaced or right == 4))
                return tuple(tokens), position + right, right == 4
            if position >= len(text):
                raise self._fault("an action that is not closed by }}", left)
            found = _TOKEN.match(text, position)
            if found is None:
                raise self._fault(_complaint(text, position), position)
            assert found.lastgroup is not None
            kind = _KIND_OF_GROUP[found.lastgroup]
            word = found.group()
            if kind is Kind.SPACE:
                # the last white space before a trim marker belongs to the marker
                position = found.end() - 1 if text.startswith("-}}", found.end()) else found.end()
                spaced = True
                continue
            if kind in _ARE_WORDS and not _ENDS_WORD.match(text, found.end()):
                raise self._fault(f"unexpected {text[found.end()]!r} after {word}", position)
            if kind is Kind.WORD and word in KEYWORDS:
                kind = Kind.KEYWORD
            depth += 1 if kind is Kind.OPEN else -1 if kind is Kind.CLOSE else 0
            if depth < 0:
                raise self._fault("a closing parenthesis too many", position)
            tokens.append(Token(kind, word, position - left, spaced))
            position = found.end()
            spaced = False


def _is_space(text: str, position: int) -> bool:
    return position < len(text) and text[position] in SPACE


def _complaint(text: str, position: int) -> str:
    char = text[position]
    if char in "\"'`":
        return "a string that does not end"
    return f"unexpected {char!r} in an action"
