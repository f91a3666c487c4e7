"""The shared texts in front of every file, lexed and parsed once, and the file behind them.

luet glues them together without a separator, so the shared texts can begin what the file ends: an action, a body, a
definition, white space that is trimmed. Then, and only then, the whole is parsed anew for each file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from treebuilder.template.faults import LocatedFault
from treebuilder.template.functions import NAMES
from treebuilder.template.holes import Holes, cut
from treebuilder.template.lexer import Lexer
from treebuilder.template.parser import EMPTY, Parsed, parse
from treebuilder.template.shapes import Program, program
from treebuilder.template.source import Source

_MAX_KEPT = 2_000
_TRIMS_BEFORE = re.compile(r"[ \t\r\n]*\{\{-[ \t\r\n]")


class Template:
    """A parsed text: its main program with the number of its variables, and the named ones."""

    def __init__(self, parsed: Parsed, before: _Prefix | None) -> None:

        self.main, self.slots = program(parsed.main)
        if before is not None:
            self.main = before.main + self.main
            self.slots = max(self.slots, before.slots)
        self._parsed = parsed
        self._before = before
        self._programs: dict[str, tuple[Program, int]] = {}

    def named(self, name: str) -> tuple[Program, int] | None:
        """The units of a defined template, made when it is first called, and the number of its variables."""
        body = self._parsed.defined.get(name)
        if body is None:
            return None
        shares = self._before is not None and self._before.parsed.defined.get(name) is body
        known = self._before.programs if self._before is not None and shares else self._programs
        if name not in known:
            known[name] = program(body)
        return known[name]


class _Prefix:
    """Shared texts that are whole by themselves. `trim`: what follows loses its leading white space."""

    def __init__(self, parsed: Parsed, trim: bool) -> None:
        self.parsed = parsed
        self.trim = trim
        self.main, self.slots = program(parsed.main)
        self.programs: dict[str, tuple[Program, int]] = {}


class Shared:
    """`files` are (name, text) of the shared texts in the order they are glued; `ranks` as in `Source`."""

    def __init__(self, files: tuple[tuple[str, str], ...], ranks: Sequence[int] = ()) -> None:
        self._text = "".join(text for _, text in files)
        self._source = Source(files, ranks=ranks)
        self._prefix: _Prefix | None = None
        self._is_tried = False
        self._by_actions: dict[tuple[str, ...], Template | None] = {}

    def source(self, file: str, text: str) -> Source:
        """The source of a file behind the shared ones."""
        return Source(((file, text),), self._source)

    def parsed(self, source: Source, text: str) -> Template:
        """Raises LocatedFault."""
        prefix = self._parsed_prefix()
        if prefix is None or self._touches(text):
            lexer = Lexer(source, self._text + text, 0)
            return Template(parse(lexer.run(), source, NAMES, EMPTY), None)
        lexer = Lexer(source, text, len(self._text), trim=prefix.trim)
        return Template(parse(lexer.run(), source, NAMES, prefix.parsed), prefix)

    def short_cut(self, text: str) -> tuple[Template, Holes] | None:
        """A template for a text by its actions alone, and what fills its holes; None where there is none.

        Raises LocatedFault where `parsed` does, with a mark that means nothing.
        """
        prefix = self._parsed_prefix()
        if prefix is None or self._touches(text):
            return None
        found = cut(text, trim=prefix.trim)
        if found is None:
            return None
        holes = Holes(self._source.marks, found.lines, found.texts)
        if found.actions not in self._by_actions:
            if len(self._by_actions) > _MAX_KEPT:
                self._by_actions.clear()
            pieces = found.pieces()
            parsed = None if pieces is None else parse(pieces, holes, NAMES, prefix.parsed)
            self._by_actions[found.actions] = None if parsed is None else Template(parsed, prefix)
        template = self._by_actions[found.actions]
        return None if template is None else (template, holes)

    def _touches(self, text: str) -> bool:
        """True when the file reaches into the shared text: a split `{{`, or white space that it trims."""
        last = self._text[-1:]
        return (last == "{" and text.startswith("{")) or (last in tuple(" \t\r\n") and bool(_TRIMS_BEFORE.match(text)))

    def _parsed_prefix(self) -> _Prefix | None:
        if not self._is_tried:
            lexer = Lexer(self._source, self._text, 0)
            try:
                parsed = parse(lexer.run(), self._source, NAMES, EMPTY)
                self._prefix = _Prefix(parsed, lexer.trim)
            except LocatedFault:
                self._prefix = None  # each file says where the fault is
            self._is_tried = True
        return self._prefix
