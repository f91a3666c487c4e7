"""Versions and selectors by luet HEAD's rules (luet.md §8.1): one comparator, dpkg's.

A version is normalised (trim, `_` to `-`, a leading `v` dropped before a digit, leading zeros of digit runs
dropped) and read as `[epoch:]upstream[-revision]`. What cannot be read compares by string only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cmp_to_key, lru_cache

from treebuilder.model.package import Package

_ALLOWED = re.compile(r"[A-Za-z0-9.+~:-]+\Z")
_OPERATORS = (">=", "<=", "!=", "==", ">", "<", "=", "!")


@dataclass(frozen=True, slots=True)
class Version:
    """A parsed version. `valid` is False for text that is no Debian version; then only `text` counts."""

    text: str
    epoch: int
    upstream: str
    revision: str
    valid: bool

    @staticmethod
    def parse(text: str) -> Version:
        return _parse(text)


@lru_cache(maxsize=65536)
def _parse(text: str) -> Version:
    norm = text.strip().replace("_", "-")
    if len(norm) > 1 and norm[0] in "vV" and norm[1].isdigit():
        norm = norm[1:]
    norm = re.sub(r"(?<![0-9])0+(?=[0-9])", "", norm)
    bad = Version(text, 0, norm, "", False)
    if not norm or not norm[0].isascii() or not norm[0].isdigit() or not _ALLOWED.match(norm):
        return bad
    epoch = 0
    rest = norm
    if ":" in norm:
        head, rest = norm.split(":", 1)
        if not head.isdigit() or not rest or ":" in rest:
            return bad
        epoch = int(head)
    upstream, dash, revision = rest.rpartition("-")
    if not dash:
        upstream, revision = rest, ""
    if not upstream:
        return bad
    return Version(text, epoch, upstream, revision, True)


def _order(char: str) -> int:
    if char == "~":
        return -1
    if char.isalpha():
        return ord(char)
    return ord(char) + 256


def _compare_part(a: str, b: str) -> int:
    """dpkg's verrevcmp: non-digit runs by letter order, digit runs by value."""
    i = j = 0
    while i < len(a) or j < len(b):
        while (i < len(a) and not a[i].isdigit()) or (j < len(b) and not b[j].isdigit()):
            left = 0 if i >= len(a) or a[i].isdigit() else _order(a[i])
            right = 0 if j >= len(b) or b[j].isdigit() else _order(b[j])
            if left != right:
                return -1 if left < right else 1
            i += 1 if i < len(a) and not a[i].isdigit() else 0
            j += 1 if j < len(b) and not b[j].isdigit() else 0
        start_a, start_b = i, j
        while i < len(a) and a[i].isdigit():
            i += 1
        while j < len(b) and b[j].isdigit():
            j += 1
        left, right = int(a[start_a:i] or "0"), int(b[start_b:j] or "0")
        if left != right:
            return -1 if left < right else 1
    return 0


def compare(a: str, b: str) -> int:
    """-1, 0 or 1. Versions that cannot be read come before all others and equal each other only as text."""
    if a == b:
        return 0
    left, right = Version.parse(a), Version.parse(b)
    if not (left.valid and right.valid):
        if left.valid != right.valid:
            return 1 if left.valid else -1
        return 0
    if left.epoch != right.epoch:
        return -1 if left.epoch < right.epoch else 1
    return _compare_part(left.upstream, right.upstream) or _compare_part(left.revision, right.revision)


def newest_first(packages: Iterable[Package]) -> tuple[Package, ...]:
    """Sorted by version, newest first; equal or unreadable versions by text, so the order is total."""
    ordered = sorted(packages, key=lambda p: (p.id.category, p.id.name, p.id.version))
    newest = cmp_to_key(_newer_first)
    return tuple(sorted(ordered, key=newest))


def _newer_first(a: Package, b: Package) -> int:
    return compare(b.id.version, a.id.version)


@dataclass(frozen=True, slots=True)
class Selector:
    """An operator and a version. An empty text matches everything; no operator means equality."""

    operator: str
    version: str

    @staticmethod
    def parse(text: str) -> Selector:
        stripped = text.strip()
        if not stripped:
            return Selector("any", "")
        for operator in _OPERATORS:
            if stripped.startswith(operator):
                return Selector(operator, stripped[len(operator) :].strip())
        return Selector("=", stripped)

    def matches(self, version: str) -> bool:
        """Whether a concrete version satisfies this selector. An empty version satisfies every one."""
        if self.operator == "any" or version == "":
            return True
        left, right = Version.parse(version), Version.parse(self.version)
        if not (left.valid and right.valid):
            same = version.strip() == self.version
            if self.operator in ("=", "=="):
                return same
            return not same if self.operator in ("!=", "!") else False
        order = compare(version, self.version)
        match self.operator:
            case "=" | "==":
                return order == 0
            case "!=" | "!":
                return order != 0
            case ">=":
                return order >= 0
            case "<=":
                return order <= 0
            case ">":
                return order > 0
            case _:
                return order < 0


def is_selector(text: str) -> bool:
    """luet's test: a version with `<`, `>` or `=` in it is a selector, an empty one matches all."""
    return text == "" or any(c in text for c in "<>=")
