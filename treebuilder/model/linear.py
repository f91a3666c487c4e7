"""Regular expressions in time that grows with the text: RE2's promise, which Python's backtracking does not keep.

`search` lets Python's engine do what is harmless: the pattern's repeats and the length of the text say how long it
could take. Everything else runs through all the pattern's states at once (Thompson, Pike), with the same first match,
and within a limit of states.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from treebuilder.annotations import cast
from treebuilder.records import record

_HARMLESS = 2_000_000  # comparisons of the backtracking engine
_MAX_STATES = 5_000  # of one pattern
_MAX_TURNS = 1_000_000  # states looked at in one search
_MANY = 1_000  # RE2 allows no larger count
_PER_TURN = 256  # comparisons of that engine, in the time of a turn

_Node = tuple[object, object]
_Code = tuple[str, object, object]
_Spans = tuple[int, ...]


class TooHard(ValueError):
    """A pattern that cannot be searched within the limits."""


class Found:
    """A match: like `re.Match`, as far as we need it."""

    def __init__(self, text: str, spans: _Spans, names: dict[str, int]) -> None:
        self._text = text
        self._spans = spans
        self._names = names

    def start(self) -> int:
        return self._spans[0]

    def end(self) -> int:
        return self._spans[1]

    def group(self, which: int | str = 0) -> str | None:
        """Raises IndexError for a group that the pattern has not."""
        number = self._names.get(which, -1) if isinstance(which, str) else which
        if not 0 <= number < len(self._spans) // 2:
            raise IndexError("no such group")
        start, end = self._spans[2 * number : 2 * number + 2]
        return None if start < 0 or end < 0 else self._text[start:end]


def _nobody(turns: int) -> None:
    return


def search(
    pattern: re.Pattern[str], text: str, position: int = 0, spend: Callable[[int], object] = _nobody
) -> re.Match[str] | Found | None:
    """The leftmost match from a position on. Raises TooHard when even the linear way takes too long.

    `spend` is told how many turns it took, a microsecond or two each; of Python's engine, how many it may have taken.
    """
    degree = _degree(pattern)
    length = len(text) - position + 1
    harmless = length <= 14 if degree is None else length ** (degree + 1) <= _HARMLESS
    if harmless or (degree == 0 and length <= 1 << 24):
        spend((1 << length if degree is None else length ** (degree + 1)) // _PER_TURN)
        return pattern.search(text, position)
    return _run(_program(pattern), pattern, text, position, spend)


def _tree(pattern: re.Pattern[str]) -> Iterable[_Node]:
    parser = importlib.import_module("re._parser")
    return cast("Iterable[_Node]", parser.parse(pattern.pattern, pattern.flags))


@lru_cache(maxsize=256)
def _degree(pattern: re.Pattern[str]) -> int | None:
    """How many repeats follow one another; None when one repeats another, which can take exponential time."""
    return _count(_tree(pattern))


def _count(nodes: Iterable[_Node]) -> int | None:
    total = 0
    for operation, argument in nodes:
        found: int | None = 0
        match str(operation):
            case "SUBPATTERN":
                found = _count(cast("tuple[object, object, object, Iterable[_Node]]", argument)[3])
            case "BRANCH":
                _, branches = cast("tuple[object, list[Iterable[_Node]]]", argument)
                counts = [_count(branch) for branch in branches]
                found = None if None in counts else sum(count or 0 for count in counts)
            case "MAX_REPEAT" | "MIN_REPEAT":
                least, most, inner = cast("tuple[int, int, Iterable[_Node]]", argument)
                simple = [str(operation) for operation, _ in inner]
                single = len(simple) == 1 and simple[0] in ("LITERAL", "NOT_LITERAL", "ANY", "IN")
                if single or int(most) <= 1:
                    inside = _count(inner)
                    found = None if inside is None else inside + (least != most)
                else:
                    found = None
            case _:
                pass
        if found is None:
            return None
        total += found
    return total


@record
class _Program:
    codes: tuple[_Code, ...]
    groups: int


@lru_cache(maxsize=256)
def _program(pattern: re.Pattern[str]) -> _Program:
    builder = _Builder()
    builder.nodes(_tree(pattern), pattern.flags)
    builder.add("match")
    return _Program(tuple(builder.codes), pattern.groups)


class _Builder:
    """The states of a pattern: char, split, jump, save, at and match."""

    def __init__(self) -> None:
        self.codes: list[_Code] = []

    def add(self, kind: str, first: object = None, second: object = None) -> int:
        if len(self.codes) >= _MAX_STATES:
            raise TooHard("the pattern is too large")
        self.codes.append((kind, first, second))
        return len(self.codes) - 1

    def nodes(self, nodes: Iterable[_Node], flags: int) -> None:
        for operation, argument in nodes:
            self._node(str(operation), argument, flags)

    def _node(self, operation: str, argument: object, flags: int) -> None:
        match operation:
            case "LITERAL" | "NOT_LITERAL" | "ANY" | "IN":
                self.add("char", _tester(operation, argument, flags))
            case "AT":
                self.add("at", _place(str(argument), flags))
            case "SUBPATTERN":
                group, more, less, inner = cast("tuple[int | None, int, int, Iterable[_Node]]", argument)
                if group is not None:
                    self.add("save", 2 * group)
                self.nodes(inner, (flags | more) & ~less)
                if group is not None:
                    self.add("save", 2 * group + 1)
            case "BRANCH":
                self._branch(cast("tuple[object, list[Iterable[_Node]]]", argument)[1], flags)
            case "MAX_REPEAT" | "MIN_REPEAT":
                self._repeat(operation == "MAX_REPEAT", cast("tuple[int, int, Iterable[_Node]]", argument), flags)
            case _:
                raise TooHard("the pattern has a part that needs backtracking")

    def _branch(self, branches: list[Iterable[_Node]], flags: int) -> None:
        jumps: list[int] = []
        for number, branch in enumerate(branches):
            last = number == len(branches) - 1
            split = -1 if last else self.add("split")
            self.nodes(branch, flags)
            if not last:
                jumps.append(self.add("jump"))
                self.codes[split] = ("split", split + 1, len(self.codes))
        for jump in jumps:
            self.codes[jump] = ("jump", len(self.codes), None)

    def _repeat(self, greedy: bool, argument: tuple[int, int, Iterable[_Node]], flags: int) -> None:
        least, most, inner = argument
        for _ in range(int(least)):
            self.nodes(inner, flags)
        if int(most) > _MANY:
            split = self.add("split")
            self.nodes(inner, flags)
            self.add("jump", split)
            self._choose(split, greedy)
            return
        splits: list[int] = []
        for _ in range(int(most) - int(least)):
            splits.append(self.add("split"))
            self.nodes(inner, flags)
        for split in splits:
            self._choose(split, greedy)

    def _choose(self, split: int, greedy: bool) -> None:
        into, past = split + 1, len(self.codes)
        self.codes[split] = ("split", into, past) if greedy else ("split", past, into)


def _tester(operation: str, argument: object, flags: int) -> Callable[[str], bool]:
    """Whether a character is one of a class."""
    exact = _exact(operation, argument, flags)
    if not flags & re.IGNORECASE:
        return exact
    return lambda char: exact(char) or (char.isascii() and (exact(char.lower()) or exact(char.upper())))


def _exact(operation: str, argument: object, flags: int) -> Callable[[str], bool]:
    match operation:
        case "LITERAL":
            wanted = chr(cast("int", argument))
            return lambda char: char == wanted
        case "NOT_LITERAL":
            unwanted = chr(cast("int", argument))
            return lambda char: char != unwanted
        case "ANY":
            return (lambda char: True) if flags & re.DOTALL else (lambda char: char != "\n")
        case _:
            return _class(cast("list[_Node]", argument))


def _class(parts: list[_Node]) -> Callable[[str], bool]:
    negated = str(parts[0][0]) == "NEGATE"
    ranges: list[tuple[int, int]] = []
    for operation, argument in parts[negated:]:
        if str(operation) == "RANGE":
            ranges.append(cast("tuple[int, int]", argument))
        elif str(operation) == "LITERAL":
            ranges.append((cast("int", argument), cast("int", argument)))
        else:
            raise TooHard("the pattern has a class that needs backtracking")
    return lambda char: any(low <= ord(char) <= high for low, high in ranges) != negated


def _place(name: str, flags: int) -> Callable[[str, int], bool]:
    """Whether an assertion holds at a position."""
    lines = bool(flags & re.MULTILINE)
    match name:
        case "AT_BEGINNING":
            return lambda text, at: at == 0 or (lines and text[at - 1] == "\n")
        case "AT_BEGINNING_STRING":
            return lambda text, at: at == 0
        case "AT_END":
            return lambda text, at: at == len(text) or (text[at] == "\n" and (lines or at == len(text) - 1))
        case "AT_END_STRING":
            return lambda text, at: at == len(text)
        case "AT_BOUNDARY":
            return _is_boundary
        case _:
            return lambda text, at: not _is_boundary(text, at)


def _is_boundary(text: str, at: int) -> bool:
    before, after = text[at - 1 : at] if at else "", text[at : at + 1]
    return _is_word(before) != _is_word(after)


def _is_word(char: str) -> bool:
    return char == "_" or (char.isascii() and char.isalnum())


def _run(
    program: _Program, pattern: re.Pattern[str], text: str, position: int, spend: Callable[[int], object]
) -> Found | None:
    """All threads step through the text together, in the order of their preference."""
    codes, none = program.codes, (-1,) * (2 * program.groups + 2)
    threads: list[tuple[int, _Spans]] = []
    best: _Spans | None = None
    turns = 0
    for at in range(position, len(text) + 1):
        seen: set[int] = set()
        ready: list[tuple[int, _Spans]] = []
        for state, spans in threads:
            _follow(codes, state, spans, text, at, seen, ready)
        if best is None:
            _follow(codes, 0, (at, *none[1:]), text, at, seen, ready)
        turns += len(seen)
        if turns > _MAX_TURNS:
            spend(turns)
            raise TooHard(f"the pattern {pattern.pattern[:100]!r} takes too long on this text")
        threads = []
        for state, spans in ready:
            kind, test, _ = codes[state]
            if kind == "match":
                best = (spans[0], at, *spans[2:])
                break  # the others are preferred less
            if at < len(text) and cast("Callable[[str], bool]", test)(text[at]):
                threads.append((state + 1, spans))
        if not threads and best is not None:
            break
    spend(turns)
    return None if best is None else Found(text, best, dict(pattern.groupindex))


def _follow(
    codes: tuple[_Code, ...], start: int, spans: _Spans, text: str, at: int, seen: set[int],
    ready: list[tuple[int, _Spans]],
) -> None:  # fmt: skip
    """The states that a thread reaches without a character, by preference."""
    open_ = [(start, spans)]
    while open_:
        state, spans = open_.pop()
        if state in seen:
            continue
        seen.add(state)
        kind, first, second = codes[state]
        match kind:
            case "jump":
                open_.append((cast("int", first), spans))
            case "split":
                open_.append((cast("int", second), spans))
                open_.append((cast("int", first), spans))
            case "save":
                slot = cast("int", first)
                open_.append((state + 1, (*spans[:slot], at, *spans[slot + 1 :])))
            case "at":
                if cast("Callable[[str, int], bool]", first)(text, at):
                    open_.append((state + 1, spans))
            case _:
                ready.append((state, spans))
