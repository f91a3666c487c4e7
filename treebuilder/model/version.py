"""Versions and selectors by luet HEAD's rules (luet.md §8.1): one comparator, dpkg's.

A version is normalised (trim, `_` to `-`, a leading `v` dropped before a digit, leading zeros of digit runs
dropped) and read as `[epoch:]upstream[-revision]`. What cannot be read compares by string only.
Comparing is comparing two strings made once per version, so sorting a distribution costs no Python code per pair.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from treebuilder.model.package import Package
from treebuilder.records import record

_UPSTREAM = re.compile(r"[0-9][A-Za-z0-9.+~:-]*\Z")
_REVISION = re.compile(r"[A-Za-z0-9.+~]*\Z")
_EPOCH = re.compile(r"[0-9]{1,18}\Z")
_ZEROS = re.compile(r"(?<![0-9])0+(?=[0-9])")
_RUNS = re.compile(r"([^0-9]*)([0-9]*)")
_OPERATORS = (">=", "<=", "!=", "==", ">", "<", "=", "!")
_ORDERS: dict[str, Callable[[str, str], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt,
    "=": operator.eq, "==": operator.eq, "!=": operator.ne, "!": operator.ne,
}  # fmt: skip
_LONGEST = 10_000  # characters; no real version comes near, and a key stays cheap to make
_END = "\x02"  # sorts after `~`, before letters


@record
class Version:
    """A parsed version. `valid` is False for text that is no Debian version; then only `text` counts.

    `key` sorts by dpkg's rules as a plain string, among valid versions.
    """

    text: str
    epoch: int
    upstream: str
    revision: str
    valid: bool
    key: str = ""

    @staticmethod
    def parse(text: str) -> Version:
        """Reads any text; never raises. More than 10,000 characters are no version."""
        if len(text) > _LONGEST:
            return Version(text, 0, text, "", False)
        return _parse(text)


@lru_cache(maxsize=65536)
def _parse(text: str) -> Version:
    norm = text.strip().replace("_", "-")
    if len(norm) > 1 and norm[0] in "vV" and norm[1].isdigit():
        norm = norm[1:]
    norm = _ZEROS.sub("", norm)
    bad = Version(text, 0, norm, "", False)
    epoch = 0
    head, colon, rest = norm.partition(":")
    if not colon:
        rest = norm
    elif _EPOCH.match(head):
        epoch = int(head)
    else:
        return bad
    upstream, dash, revision = rest.rpartition("-")
    if not dash:
        upstream, revision = rest, ""
    if not _UPSTREAM.match(upstream) or not _REVISION.match(revision):
        return bad
    return Version(text, epoch, upstream, revision, True, _digits(str(epoch)) + _part(upstream) + _part(revision))


def _part(text: str) -> str:
    """dpkg's order as a string: pairs of a non-digit run (each closed by an end mark) and a digit run.

    `~` comes before the end, the end before letters, letters before the rest; digit runs compare by length, then text.
    """
    out: list[str] = []
    for other, digits in _RUNS.findall(text):
        if other or digits or not out:  # nothing at all equals "0": dpkg's missing revision
            out.append("".join(map(_letter, other)) + _END + _digits(digits))
    return "".join(out) + _END


def _letter(char: str) -> str:
    if char == "~":
        return "\x01"
    return char if char.isalpha() else chr(ord(char) + 256)


def _digits(run: str) -> str:
    run = run.lstrip("0")
    return chr(len(run) + 3) + run


def compare(a: str, b: str) -> int:
    """-1, 0 or 1. Versions that cannot be read come before all others and equal each other only as text."""
    if a == b:
        return 0
    left, right = Version.parse(a), Version.parse(b)
    if not (left.valid and right.valid):
        if left.valid != right.valid:
            return 1 if left.valid else -1
        return 0
    return (left.key > right.key) - (left.key < right.key)


def sort_key(version: str) -> tuple[bool, str]:
    """Ascending by version; unreadable ones first and all equal (sort by text before)."""
    parsed = Version.parse(version)
    return parsed.valid, parsed.key


def newest_first(packages: Iterable[Package]) -> tuple[Package, ...]:
    """Sorted by version, newest first; equal or unreadable versions by text, so the order is total."""
    ordered = sorted(packages, key=lambda p: (p.id.category, p.id.name, p.id.version))
    return tuple(sorted(ordered, key=lambda p: sort_key(p.id.version), reverse=True))


@record
class Selector:
    """An operator and a version. An empty text matches everything; no operator means equality."""

    operator: str
    version: str

    @staticmethod
    def parse(text: str) -> Selector:
        """Reads any text; never raises. The longest operator wins, spaces may follow it."""
        stripped = text.strip()
        if not stripped:
            return Selector("any", "")
        for sign in _OPERATORS:
            if stripped.startswith(sign):
                return Selector(sign, stripped[len(sign) :].strip())
        return Selector("=", stripped)

    def matches(self, version: str) -> bool:
        """Whether a concrete version satisfies this selector. An empty version satisfies every one."""
        return self.operator == "any" or version == "" or self._accepts(version, Version.parse(self.version))

    def _accepts(self, version: str, right: Version) -> bool:
        left = Version.parse(version)
        if not (left.valid and right.valid):
            same = version.strip() == self.version
            if self.operator in ("=", "=="):
                return same
            return not same if self.operator in ("!=", "!") else False
        return _ORDERS[self.operator](left.key, right.key)


def select(selector: Selector, packages: tuple[Package, ...]) -> tuple[Package, ...]:
    """Those packages whose version satisfies the selector, in the order given."""
    if selector.operator == "any":
        return packages
    right = Version.parse(selector.version)
    return tuple([p for p in packages if p.id.version == "" or selector._accepts(p.id.version, right)])


def fault(text: str) -> str | None:
    """Why a selector is nonsense, as half a sentence ("'>=' names no version"); None for one that means something.

    Nothing satisfies nonsense, except that everything differs from it.
    """
    if not any(c in text for c in "<>="):
        return None
    selector = Selector.parse(text)
    version = selector.version
    if not version:
        return f"{text.strip()!r} names no version"
    if "," in version:
        return f"{text.strip()!r} is a list, and a selector is one operator and one version"
    if any(c in version for c in "<>=! \t\n"):
        return f"{version!r} is no version"
    if selector.operator in (">=", "<=", ">", "<") and not Version.parse(version).valid:
        return f"{version!r} is no version that can be compared"
    return None


def is_selector(text: str) -> bool:
    """luet's test: a version with `<`, `>` or `=` in it is a selector, an empty one matches all."""
    return text == "" or any(c in text for c in "<>=")
