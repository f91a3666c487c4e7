"""Texts whose actions are the same, one by one, are parsed once: what stands between the actions fills holes.

Specfiles of a tree are mostly copies of each other, with other names and requirements around equal actions. This is a
short cut and no second reader: it takes only actions that stand on one line and define nothing, and whatever fails on
it is rendered again the long way, which says what is wrong and where.
"""

from __future__ import annotations

import re

from treebuilder.records import record
from treebuilder.template.lexer import SIMPLE, SPACE, Action, Kind, Lexer, Piece, Token
from treebuilder.template.source import Source

_SPLIT = re.compile(f"({SIMPLE})")
_WIDE = 1 << 40  # more than an action has characters
_DEFINES = ("define", "block")


class Holes(Source):
    """A source whose marks number the texts and the actions in between, in turn. `base` counts marks before them.

    `lines` are where they begin in the file, `texts` what fills the holes: both of the text that is rendered now.
    """

    def __init__(self, base: int, lines: list[int], texts: list[str]) -> None:
        super().__init__(())
        self._base = base
        self._lines = lines
        self._texts = texts

    def mark(self, offset: int) -> int:
        return self._base + 1 + offset // _WIDE

    def own_line(self, mark: int) -> int:
        return self._lines[mark - self._base - 1] if mark > self._base else 0

    def text(self, mark: int, text: str) -> str:
        return self._texts[mark - self._base - 1] if mark > self._base else text


@record
class Cut:
    """A text cut at its actions. `lines[i]` and `texts[i]` are of part i: texts have even numbers, actions odd ones."""

    actions: tuple[str, ...]
    lines: list[int]
    texts: list[str]

    def pieces(self) -> list[Piece | Action] | None:
        """For the parser, with numbers for offsets; None if an action is more than these short cuts are for."""
        found: list[Piece | Action] = []
        for number, text in enumerate(self.texts):
            if number % 2 == 0:
                found.append(Piece(text, number * _WIDE))
                continue
            tokens = _tokens(text)
            if tokens is None:
                return None
            found.append(Action(number * _WIDE, tokens, text))
        return found


def cut(text: str, *, trim: bool) -> Cut | None:
    """Cuts a text at its actions, white space trimmed; None if some are not simple. `trim`: the first text loses its
    leading white space."""
    texts = _SPLIT.split(text)
    lines: list[int] = []
    line = 1
    last = len(texts) - 1
    for number in range(0, last + 1, 2):
        part = texts[number]
        if "{{" in part or (number < last and part[-1:] == "{"):
            return None
        end = line + part.count("\n")
        if trim:
            part = texts[number] = part.lstrip(SPACE)
            line = end - part.count("\n")
        lines.append(line)
        line = end
        if number < last:
            action = texts[number + 1]
            if action[2] == "-" and action[3] in SPACE:
                texts[number] = part.rstrip(SPACE)
            trim = action[-3] == "-" and action[-4] in SPACE
            lines.append(line)
    return Cut(tuple(texts[1::2]), lines, texts)


def _tokens(action: str) -> tuple[Token, ...] | None:
    found = list(Lexer(Source((("", action),)), action, 0).run())
    if len(found) != 1 or not isinstance(found[0], Action):
        return None
    first = found[0].tokens[0]
    return None if first.kind is Kind.KEYWORD and first.text in _DEFINES else found[0].tokens
