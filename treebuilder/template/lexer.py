"""Go text/template's tokens. Text between actions is one token; trim markers have already done their work on it.

Source: https://pkg.go.dev/text/template (sections "Text and spaces", "Actions", "Arguments").
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum

from treebuilder.records import record
from treebuilder.template.faults import LocatedFault
from treebuilder.template.source import Source

KEYWORDS = frozenset(
    ("block", "break", "continue", "define", "else", "end", "if", "nil", "range", "template", "with")
)  # fmt: skip
_SPACE = " \t\r\n"
_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r\n]+)
  | (?P<string>"(?:[^"\\\n]|\\[^\n])*")
  | (?P<raw>`[^`]*`)
  | (?P<char>'(?:[^'\\\n]|\\[^\n])+')
  | (?P<number>[+-]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+
        |(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9_]+)?))
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
    """,
    re.VERBOSE,
)
_ENDS_WORD = re.compile(r"[ \t\r\n.,|:=()]|\Z|-?\}\}")


class Kind(Enum):
    TEXT = "text"
    LEFT = "{{"
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
    END = "end of the text"


_KIND_OF_GROUP = {kind.name.lower(): kind for kind in Kind}


@record
class Token:
    kind: Kind
    text: str
    mark: int


def lex(source: Source) -> Iterator[Token]:
    """The tokens of the whole source, ending with one END. Raises LocatedFault."""
    text = source.text
    position = 0
    trim = False
    while True:
        left = text.find("{{", position)
        end = left if left >= 0 else len(text)
        start = position
        if trim:
            while start < end and text[start] in _SPACE:
                start += 1
        piece = text[start:end]
        if left < 0:
            yield from _text(source, start, len(piece))
            yield Token(Kind.END, "", source.mark(len(text)))
            return
        inside = left + 2
        trims_left = text.startswith("-", inside) and text[inside + 1 : inside + 2] in tuple(_SPACE)
        if trims_left:
            inside += 2
            piece = piece.rstrip(_SPACE)
        yield from _text(source, start, len(piece))
        if text.startswith("/*", inside):
            position, trim = _comment(source, left, inside)
            continue
        yield Token(Kind.LEFT, "{{", source.mark(left))
        tokens, position, trim = _action(source, left, inside)
        yield from tokens


def _text(source: Source, start: int, length: int) -> Iterator[Token]:
    """Text tokens, one per file."""
    if length:
        for begin, size in source.parts(start, length):
            yield Token(Kind.TEXT, source.text[begin : begin + size], source.mark(begin))


def _comment(source: Source, left: int, inside: int) -> tuple[int, bool]:
    text = source.text
    close = text.find("*/", inside + 2)
    if close < 0:
        raise LocatedFault("a comment that does not end", source.mark(left))
    after = close + 2
    if text.startswith("}}", after):
        return after + 2, False
    if text[after : after + 1] in tuple(_SPACE) and text.startswith("-}}", after + 1):
        return after + 4, True
    raise LocatedFault("a comment must be followed by }} at once", source.mark(left))


def _action(source: Source, left: int, inside: int) -> tuple[list[Token], int, bool]:
    """The tokens between `{{` and `}}`, the position behind it, and whether it trims what follows."""
    text = source.text
    tokens: list[Token] = []
    depth = 0
    position = inside
    while True:
        mark = source.mark(position)
        right = 2 if text.startswith("}}", position) else 0
        if not right and text[position : position + 1] in tuple(_SPACE) and text.startswith("-}}", position + 1):
            right = 4
        if right:
            if depth:
                raise LocatedFault("a parenthesis that is not closed", mark)
            tokens.append(Token(Kind.RIGHT, "}}", mark))
            return tokens, position + right, right == 4
        if position >= len(text):
            raise LocatedFault("an action that is not closed by }}", source.mark(left))
        found = _TOKEN.match(text, position)
        if found is None:
            raise LocatedFault(_complaint(text, position), mark)
        assert found.lastgroup is not None
        kind = _KIND_OF_GROUP[found.lastgroup]
        word = found.group()
        position = found.end()
        if kind is Kind.SPACE and text.startswith("-}}", position):
            # the white space before a trim marker belongs to the marker
            position -= 1
            word = word[:-1]
            if not word:
                continue
        if kind in (Kind.WORD, Kind.FIELD, Kind.VARIABLE, Kind.NUMBER) and not _ENDS_WORD.match(text, position):
            raise LocatedFault(f"unexpected {text[position]!r} after {word}", mark)
        if kind is Kind.WORD and word in KEYWORDS:
            kind = Kind.KEYWORD
        depth += 1 if kind is Kind.OPEN else -1 if kind is Kind.CLOSE else 0
        if depth < 0:
            raise LocatedFault("a closing parenthesis too many", mark)
        tokens.append(Token(kind, word, mark))


def _complaint(text: str, position: int) -> str:
    char = text[position]
    if char in "\"'`":
        return "a string that does not end"
    return f"unexpected {char!r} in an action"
