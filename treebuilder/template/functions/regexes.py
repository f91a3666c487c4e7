"""sprig's regular expressions: RE2 patterns, leftmost first, and Go's `$1` in replacements."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import takewhile

from treebuilder.errors import SpecError
from treebuilder.model import linear
from treebuilder.model.linear import Found
from treebuilder.model.patterns import compile_pattern, group_name
from treebuilder.template.faults import TemplateFault
from treebuilder.template.functions.characters import category
from treebuilder.template.functions.signature import GoFunction, table
from treebuilder.template.values import NilTextList, TextList

_REFERENCE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})")
_META = re.compile(r"[\\.+*?()|\[\]{}^$]")


_Found = re.Match[str] | Found


def _whole(found: _Found) -> str:
    return found.group(0) or ""


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return compile_pattern(pattern)
    except SpecError as err:
        raise TemplateFault(err.message) from err


def search(pattern: re.Pattern[str], text: str, position: int = 0) -> re.Match[str] | Found | None:
    """The leftmost match from a position on."""
    try:
        return linear.search(pattern, text, position)
    except linear.TooHard as err:
        raise TemplateFault(str(err)) from err


def _matches(pattern: str, text: str) -> Iterator[_Found]:
    """All matches, as Go finds them: behind an empty one the search goes on a character later, and an empty one right
    behind another does not count."""
    compiled = _compiled(pattern)
    position, previous_end = 0, -1
    while position <= len(text):
        found = search(compiled, text, position)
        if found is None:
            return
        is_empty_here = found.end() == position
        counts = not (is_empty_here and found.start() == previous_end)
        position = position + 1 if is_empty_here else found.end()
        previous_end = found.end()
        if counts:
            yield found


def _match(pattern: str, text: str) -> bool:
    try:
        compiled = _compiled(pattern)
    except TemplateFault:
        return False
    return search(compiled, text) is not None


def _must_match(pattern: str, text: str) -> bool:
    return search(_compiled(pattern), text) is not None


def _find(pattern: str, text: str) -> str:
    found = search(_compiled(pattern), text)
    return _whole(found) if found else ""


def _find_all(pattern: str, text: str, count: int) -> TextList:
    found = [_whole(match) for match in _matches(pattern, text)]
    return TextList(found if count < 0 else found[:count]) or NilTextList()


def _name(text: str) -> str:
    """The letters, digits and `_` that a text begins with."""
    return "".join(takewhile(lambda char: char == "_" or category(char)[0] == "L" or category(char) == "Nd", text))


def _expand(found: _Found, template: str) -> str:
    def value(reference: re.Match[str]) -> str:
        dollar, plain, braced = reference.groups()
        if dollar:
            return "$"
        name = _name(plain or braced)
        rest = (plain or "")[len(name) :]
        if not name or (braced and name != braced):
            return reference.group()
        is_number = name.isascii() and name.isdecimal() and len(name) < 10 and (name[0] != "0" or name == "0")
        try:
            return (found.group(int(name) if is_number else group_name(name)) or "") + rest
        except IndexError:
            return rest

    return _REFERENCE.sub(value, template)


def _replace(pattern: str, text: str, replacement: str, literal: bool) -> str:
    pieces: list[str] = []
    position = 0
    for found in _matches(pattern, text):
        pieces.append(text[position : found.start()])
        pieces.append(replacement if literal else _expand(found, replacement))
        position = found.end()
    return "".join(pieces) + text[position:]


def _split(pattern: str, text: str, count: int) -> TextList:
    _compiled(pattern)
    if count == 0:
        return NilTextList()
    if pattern and not text:
        return TextList([""])
    parts: list[str] = []
    begin = end = 0
    for found in _matches(pattern, text):
        if 0 < count == len(parts) + 1:
            break
        end = found.start()
        if found.end() != 0:
            parts.append(text[begin:end])
        begin = found.end()
    if end != len(text):
        parts.append(text[begin:])
    return TextList(parts)


def _replace_all(pattern: str, text: str, replacement: str) -> str:
    return _replace(pattern, text, replacement, False)


def _replace_literal(pattern: str, text: str, replacement: str) -> str:
    return _replace(pattern, text, replacement, True)


REGEXES: dict[str, GoFunction] = table(
    ("regexMatch", "string string", _match),
    ("mustRegexMatch", "string string", _must_match),
    ("regexFind mustRegexFind", "string string", _find),
    ("regexFindAll mustRegexFindAll", "string string int", _find_all),
    ("regexReplaceAll mustRegexReplaceAll", "string string string", _replace_all),
    ("regexReplaceAllLiteral mustRegexReplaceAllLiteral", "string string string", _replace_literal),
    ("regexSplit mustRegexSplit", "string string int", _split),
    ("regexQuoteMeta", "string", lambda text: _META.sub(lambda found: "\\" + found.group(), text)),
)
