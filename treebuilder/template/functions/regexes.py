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
from treebuilder.template.functions.lists import effort
from treebuilder.template.functions.signature import GoFunction, table
from treebuilder.template.values import MAX_TEXT, NilTextList, TextList

_REFERENCE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})")
_MAX_WRITTEN = 1_000_000  # by one call
_MAX_EFFORT = 800_000  # of all searches of one call
_META = re.compile(r"[\\.+*?()|\[\]{}^$]")


_Found = re.Match[str] | Found


def _whole(found: _Found) -> str:
    return found.group(0) or ""


def _read(pattern: str) -> re.Pattern[str]:
    """Raises SpecError. It counts also what is known already: steps must not depend on what was rendered before."""
    effort.compared += len(pattern) >> 2
    return compile_pattern(pattern)


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return _read(pattern)
    except SpecError as err:
        raise TemplateFault(err.message) from err


def _spend(turns: int) -> None:
    effort.compared += turns >> 2


def search(pattern: re.Pattern[str], text: str, position: int = 0) -> re.Match[str] | Found | None:
    """The leftmost match from a position on. A turn counts as an eighth of a step."""
    try:
        return linear.search(pattern, text, position, _spend)
    except linear.TooHard as err:
        raise TemplateFault(str(err)) from err


def _matches(pattern: str, text: str) -> Iterator[_Found]:
    """All matches, as Go finds them: behind an empty one the search goes on a character later, and an empty one right
    behind another does not count."""
    compiled = _compiled(pattern)
    position, previous_end, before = 0, -1, effort.compared
    while position <= len(text):
        found = search(compiled, text, position)
        if effort.compared - before > _MAX_EFFORT:
            raise TemplateFault(f"the pattern {pattern[:100]!r} takes too long on this text")
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
        compiled = _read(pattern)
    except SpecError as err:
        if err.reason == "too-large":
            raise TemplateFault(err.message) from err
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
    if text.isascii():
        return text
    return "".join(takewhile(lambda char: char == "_" or category(char)[0] == "L" or category(char) == "Nd", text))


def _parts(template: str, pattern: re.Pattern[str]) -> list[str | int]:
    """A replacement as texts and numbers of groups; a group that the pattern has not is nothing."""
    parts: list[str | int] = []
    position = 0
    for reference in _REFERENCE.finditer(template):
        parts.append(template[position : reference.start()])
        position = reference.end()
        dollar, plain, braced = reference.groups()
        if dollar:
            parts.append("$")
            continue
        name = _name(plain or braced)
        if not name or (braced and name != braced):
            parts.append(reference.group())
            continue
        is_number = name.isascii() and name.isdecimal() and len(name) < 10 and (name[0] != "0" or name == "0")
        group = int(name) if is_number else pattern.groupindex.get(group_name(name), -1)
        if 0 <= group <= pattern.groups:
            parts.append(group)
        parts.append((plain or name)[len(name) :])
    return [part for part in (*parts, template[position:]) if part != ""]


def _replace(pattern: str, text: str, replacement: str, literal: bool) -> str:
    compiled = _compiled(pattern)
    parts = [replacement] if literal else _parts(replacement, compiled)
    effort.compared += 0 if literal else len(replacement) >> 2
    pieces: list[str] = []
    position = size = written = 0
    for found in _matches(pattern, text):
        new = "".join([part if isinstance(part, str) else found.group(part) or "" for part in parts])
        pieces += (text[position : found.start()], new)
        position = found.end()
        written += len(parts) or 1
        size += len(new)
        if written > _MAX_WRITTEN:
            raise TemplateFault(f"more than {_MAX_WRITTEN} parts of replacements")
        if size > MAX_TEXT:
            raise TemplateFault(f"the result is larger than {MAX_TEXT >> 20} MiB")
    effort.compared += written
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
