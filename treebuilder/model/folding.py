"""Which characters differ in their case only, as RE2's `(?i)` has it: Unicode's simple case folding.

A set of characters is a list of ranges, first and last code point, in order.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache

Ranges = list[tuple[int, int]]
_Orbits = tuple[tuple[int, ...], Mapping[int, Collection[int]]]  # characters with others that differ in case, and these

_LAST = 0x10FFFF
_LAST_CASED = 0x1E943
_DOTLESS = frozenset((0x130, 0x131))  # the Turkish letters are not folded
_OF_ASCII = (  # the only letters of ASCII that have more than two forms: the sign of kelvin and the long s
    *((ord(char), ord(char) + 32) for char in "ABCDEFGHIJLMNOPQRTUVWXYZ"), (0x4B, 0x6B, 0x212A), (0x53, 0x73, 0x17F),
)  # fmt: skip


def folded(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """A set and all characters that differ from its own in their case only."""
    found = merged(ranges)
    codes, orbits = _ascii() if not found or found[-1][1] < 0x80 else _orbits()
    forms = {
        form
        for first, last in found
        for code in codes[bisect_left(codes, first) : bisect_right(codes, last)]
        for form in orbits[code]
    }
    return merged([*found, *((code, code) for code in forms)])


def merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The ranges in order, those that touch as one."""
    found: Ranges = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(last, found[-1][1])
        else:
            found.append((first, last))
    return found


def without(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """All characters that are not in a set."""
    found: Ranges = []
    start = 0
    for first, last in merged(ranges):
        if start < first:
            found.append((start, first - 1))
        start = last + 1
    return [*found, (start, _LAST)] if start <= _LAST else found


@lru_cache(maxsize=1)
def _ascii() -> _Orbits:
    return _in_order({code: orbit for orbit in _OF_ASCII for code in orbit})


@lru_cache(maxsize=1)
def _orbits() -> _Orbits:
    """Those of all characters. A case of several characters is none here."""
    orbit_of: dict[int, set[int]] = {}
    for code in range(0x41, _LAST_CASED + 1):
        char = chr(code)
        others = {ord(other) for other in (char.lower(), char.upper(), char.title()) if len(other) == 1} - {code}
        if not others or code in _DOTLESS:
            continue
        joined = {code}
        for other in (code, *others):
            joined |= orbit_of.get(other, {other})
        orbit_of.update(dict.fromkeys(joined, joined))
    return _in_order(orbit_of)


def _in_order(orbits: Mapping[int, Collection[int]]) -> _Orbits:
    return tuple(sorted(orbits)), orbits
