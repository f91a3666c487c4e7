"""sprig's semantic versions and their constraints, by Masterminds/semver v3.

Source: https://pkg.go.dev/github.com/Masterminds/semver/v3. A version with a pre-release satisfies only constraints
that name one.
"""

from __future__ import annotations

import re

from treebuilder.records import record, replace
from treebuilder.template.faults import TemplateFault
from treebuilder.template.functions.signature import GoFunction, method, table
from treebuilder.template.values import GoObject, Uint64
from treebuilder.template.verbs import quote

_PRE = r"(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
_VERSION = re.compile(r"v?([0-9]+)(\.[0-9]+)?(\.[0-9]+)?" + _PRE + r"\Z")
_PART = r"v?([0-9|xX*]+)(\.[0-9|xX*]+)?(\.[0-9|xX*]+)?" + _PRE
_CONSTRAINT = re.compile(r"\s*(!=|>=|=>|<=|=<|~>|[=<>~^])?\s*" + _PART + r"\s*(?:,|\s|\Z)")
_HYPHEN = re.compile(r"(?<!\S)(\S+) - (\S+)")
_IDENTIFIERS = re.compile(r"[0-9A-Za-z.-]*")
_WORD = 1 << 64
_OF_POINTERS = frozenset(("Original", "Compare", "Equal", "LessThan", "GreaterThan"))
_SPACE = re.compile(r"\s+", re.ASCII)
_WILD = frozenset(("", "x", "X", "*"))

_Key = tuple[int, int, int, tuple[int, tuple[tuple[int, int, str], ...]]]


@record
class SemVer(GoObject):
    """A version; as a template value it has Go's methods."""

    major: int
    minor: int
    patch: int
    prerelease: str
    metadata: str
    original: str

    go_type = "*semver.Version"

    def go_text(self) -> str:
        pre = f"-{self.prerelease}" if self.prerelease else ""
        meta = f"+{self.metadata}" if self.metadata else ""
        return f"{self.major}.{self.minor}.{self.patch}{pre}{meta}"

    def go_syntax(self) -> str:
        numbers = f"major:{self.major:#x}, minor:{self.minor:#x}, patch:{self.patch:#x}"
        texts = f"pre:{quote(self.prerelease)}, metadata:{quote(self.metadata)}, original:{quote(self.original)}"
        return f"{self.go_type.replace('*', '&')}{{{numbers}, {texts}}}"

    def go_marshal(self) -> object:
        return self.go_text()

    def go_field(self, name: str) -> GoFunction:
        return method(self, _METHODS, name)

    def changed(
        self, *, major: int = -1, minor: int = -1, patch: int = -1, prerelease: str = "", metadata: str = ""
    ) -> _Changed:
        """A version with other parts; -1 stands for the number there is."""
        major, minor, patch = (
            (old if new < 0 else new) % _WORD
            for new, old in ((major, self.major), (minor, self.minor), (patch, self.patch))
        )
        made = _Changed(major, minor, patch, prerelease, metadata, "")
        return replace(made, original=("v" if self.original.startswith("v") else "") + made.go_text())

    def compare(self, other: SemVer) -> int:
        return (self.key > other.key) - (self.key < other.key)

    @property
    def key(self) -> _Key:
        """Orders versions: a release comes after its pre-releases, numbers before words."""
        parts = tuple(
            (0, int(part), "") if _fits(part) else (1, 0, part) for part in self.prerelease.split(".") if part
        )
        return self.major, self.minor, self.patch, (0, parts) if self.prerelease else (1, ())


@record
class _Changed(SemVer):
    """Go's `semver.Version` without a pointer: what methods give. It is compared with no other."""

    go_type = "semver.Version"

    def go_field(self, name: str) -> GoFunction:
        if name in _OF_POINTERS:
            raise KeyError(name)
        return SemVer.go_field(self, name)


def _fits(text: str) -> bool:
    """Whether a text is a number to Go: one of 64 bits."""
    return text.isdigit() and len(text.lstrip("0")) <= 20 and int(text) < 1 << 64


def _number(text: str) -> int:
    """Raises TemplateFault."""
    if not _fits(text):
        raise TemplateFault(f"Error parsing version segment: {text[:40]} is out of range")
    return int(text)


def _with_prerelease(version: SemVer, text: str) -> SemVer:
    if any(part.isdigit() and len(part) > 1 and part[0] == "0" for part in text.split(".")):
        raise TemplateFault("Version segment starts with 0")
    if not _IDENTIFIERS.fullmatch(text):
        raise TemplateFault("Invalid Prerelease string")
    return version.changed(prerelease=text, metadata=version.metadata)


def _with_metadata(version: SemVer, text: str) -> SemVer:
    if not _IDENTIFIERS.fullmatch(text):
        raise TemplateFault("Invalid Metadata string")
    return version.changed(prerelease=version.prerelease, metadata=text)


def _plain(major: int, minor: int, patch: int) -> SemVer:
    return SemVer(major, minor, patch, "", "", f"{major}.{minor}.{patch}")


def parse(text: str) -> SemVer:
    """A version, also with one or two numbers or a `v` in front. Raises TemplateFault."""
    found = _VERSION.match(text)
    if found is None:
        raise TemplateFault("Invalid Semantic Version")
    major, minor, patch, prerelease, metadata = found.groups()
    if any(part.isdigit() and len(part) > 1 and part[0] == "0" for part in (prerelease or "").split(".")):
        raise TemplateFault("Version segment starts with 0")
    return SemVer(
        _number(major),
        _number((minor or ".0")[1:]),
        _number((patch or ".0")[1:]),
        prerelease or "",
        metadata or "",
        text,
    )


@record
class _Limit:
    """One comparison. `given` is how many numbers were written: `1.x` has one."""

    operator: str
    version: SemVer
    given: int

    def allows(self, version: SemVer) -> bool:
        exact = self.operator == "!=" and self.given == 3
        if version.prerelease and not self.version.prerelease and not exact:
            return False
        low, key = self.version.key, version.key
        match self.operator:
            case "!=":
                return key != low if exact else not self._within(version, self.given)
            case ">":
                return key > low if self.given == 3 else key >= self._above(self.given).key and self.given > 0
            case ">=" | "=>":
                return key >= low
            case "<":
                return key < low
            case "<=" | "=<":
                return key <= low if self.given == 3 else self.given == 0 or key < self._above(self.given).key
            case "~" | "~>":
                return key >= low and self._within(version, min(self.given, 2))
            case "^":
                return key >= low and self._within(version, self._caret())
            case _:
                return key == low if self.given == 3 else self._within(version, self.given)

    def _numbers(self) -> tuple[int, int, int]:
        return self.version.major, self.version.minor, self.version.patch

    def _within(self, version: SemVer, count: int) -> bool:
        """Whether the first `count` numbers are equal."""
        return (version.major, version.minor, version.patch)[:count] == self._numbers()[:count]

    def _above(self, count: int) -> SemVer:
        """The first version whose first `count` numbers are higher."""
        major, minor, _ = self._numbers()
        return _plain(major + 1, 0, 0) if count <= 1 else _plain(major, minor + 1, 0)

    def _caret(self) -> int:
        """How many numbers must stay: up to the first that is not zero."""
        for count, number in enumerate(self._numbers()[: self.given], start=1):
            if number:
                return count
        return self.given


def _limits(text: str) -> list[_Limit]:
    if not text.strip():
        raise TemplateFault("improper constraint: it is empty")
    limits: list[_Limit] = []
    position = 0
    while position < len(text):
        found = _CONSTRAINT.match(text, position)
        if found is None:
            raise TemplateFault(f"improper constraint: {text}")
        operator, *numbers, prerelease, metadata = found.groups()
        parts = [(number or "").lstrip(".") for number in numbers]
        given = next((index for index, part in enumerate(parts) if part in _WILD), 3)
        if any(not part.isdigit() for part in parts[:given]):
            raise TemplateFault(f"improper constraint: {text}")
        known = [_number(part) for part in parts[:given]] + [0] * (3 - given)
        version = SemVer(known[0], known[1], known[2], prerelease or "", metadata or "", text)
        limits.append(_Limit(operator or "=", version, given))
        position = found.end()
    return limits


def satisfies(constraint: str, version: SemVer) -> bool:
    """Whether a version satisfies `>=1.2 <2 || ^3`. Raises TemplateFault."""
    constraint = _HYPHEN.sub(r" >=\1 <=\2 ", _SPACE.sub(" ", constraint))
    return any(all(limit.allows(version) for limit in _limits(part)) for part in constraint.split("||"))


_METHODS = table(
    ("Major", "", lambda version: Uint64(version.major)),
    ("Minor", "", lambda version: Uint64(version.minor)),
    ("Patch", "", lambda version: Uint64(version.patch)),
    ("Prerelease", "", lambda version: version.prerelease),
    ("Metadata", "", lambda version: version.metadata),
    ("Original", "", lambda version: version.original),
    ("String", "", SemVer.go_text),
    ("Compare", "*semver.Version", SemVer.compare),
    ("Equal", "*semver.Version", lambda version, other: version.compare(other) == 0),
    ("LessThan", "*semver.Version", lambda version, other: version.compare(other) < 0),
    ("GreaterThan", "*semver.Version", lambda version, other: version.compare(other) > 0),
    ("IncMajor", "", lambda version: version.changed(major=version.major + 1, minor=0, patch=0)),
    ("IncMinor", "", lambda version: version.changed(minor=version.minor + 1, patch=0)),
    ("IncPatch", "", lambda version: version.changed(patch=version.patch + (not version.prerelease))),
    ("SetPrerelease", "string", _with_prerelease),
    ("SetMetadata", "string", _with_metadata),
)
SEMVERS: dict[str, GoFunction] = table(
    ("semver", "string", parse),
    ("semverCompare", "string string", lambda constraint, version: satisfies(constraint, parse(version))),
)
