"""Go's view of characters: its classes and its cases, which change each character by itself.

Source: https://pkg.go.dev/unicode. Which characters there are is Python's Unicode.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from treebuilder.template.functions.lists import effort

SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_IDEOGRAPHS = ((0x3400, 0x4D85), (0x4E00, 0x9FCC), (0x20000, 0x2B81D))


def category(char: str) -> str:
    """Unicode's general category; the characters that Go knows by tables of their own are in the same."""
    return unicodedata.category(char)


def is_alphabetic(char: str) -> bool:
    """A letter, but for common ideographs, as xstrings sees it."""
    return category(char)[0] == "L" and not any(first <= ord(char) <= last for first, last in _IDEOGRAPHS)


def cased(text: str, change: Callable[[str], str]) -> str:
    """`change` is str.upper, str.lower or str.title; a character whose other case is longer stays."""
    if text.isascii():
        return change(text)
    effort.compared += len(text) >> 2
    if change("A") == "a":
        return "".join(map(_lower, text))
    return "".join(other if len(other := change(char)) == 1 else _simple(char) for char in text)


def _lower(char: str) -> str:
    return "i" if char == "\u0130" else char.lower()


def _simple(char: str) -> str:
    """Capitals of Greek letters with an iota are written with two in full, and have one of their own."""
    other = char.title()
    return other if len(other) == 1 else char
