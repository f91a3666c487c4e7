"""passwd, group, shadow and gshadow as tables of lines; what is not understood stays as it is."""

from __future__ import annotations

from collections.abc import Iterator

from treebuilder.cloudconfig.root import Root
from treebuilder.errors import TreebuildError
from treebuilder.records import record


@record
class Kind:
    """A file's format: its fields in order, the first is the key. `fresh` are the values of a new line."""

    name: str
    path: str
    mode: int
    fields: tuple[str, ...]
    fresh: tuple[tuple[str, str], ...] = ()


PASSWD = Kind(
    "user", "/etc/passwd", 0o644, ("username", "password", "uid", "gid", "info", "homedir", "shell"),
    (("password", "x"),),
)  # fmt: skip
GROUP = Kind("group", "/etc/group", 0o644, ("group_name", "password", "gid", "users"), (("password", "x"),))
SHADOW = Kind(
    "shadow", "/etc/shadow", 0o640,
    ("username", "password", "last_changed", "minimum_changed", "maximum_changed", "warn", "inactive", "expire",
     "reserved"),
    (("password", "!"), ("minimum_changed", "0"), ("maximum_changed", "99999"), ("warn", "7")),
)  # fmt: skip
GSHADOW = Kind(
    "gshadow", "/etc/gshadow", 0o640, ("name", "password", "administrators", "members"), (("password", "!"),)
)
KINDS = {kind.name: kind for kind in (PASSWD, GROUP, SHADOW, GSHADOW)}


@record
class Entry:
    """One line."""

    kind: Kind
    values: tuple[str, ...]

    def get(self, field: str) -> str:
        return self.values[self.kind.fields.index(field)]

    def number(self, field: str) -> int:
        """A numeric field, -1 where it is none."""
        text = self.get(field)
        return int(text) if text.isdecimal() and len(text) <= 10 else -1


class Table:
    """One file. Changes are kept until `save`, which replaces it whole and keeps its owner and mode."""

    def __init__(self, root: Root, kind: Kind, path: str = "") -> None:
        self._root = root
        self._kind = kind
        self._path = path or kind.path
        self._lines = root.lines(self._path)
        self._changed = False

    def entries(self) -> Iterator[Entry]:
        for line in self._lines:
            entry = self._entry(line)
            if entry is not None:
                yield entry

    def find(self, key: str) -> Entry | None:
        return next((entry for entry in self.entries() if entry.values[0] == key), None)

    def put(self, values: dict[str, str]) -> Entry:
        """Adds a line or changes the given fields of one. Raises TreebuildError for forbidden characters."""
        kind = self._kind
        key = values.get(kind.fields[0], "")
        if not key or key.startswith(("+", "-", "#")):
            raise TreebuildError(f"{key!r} is no name for a {kind.name}", reason="entity")
        for name, value in values.items():
            if ":" in value or "\n" in value or "\r" in value or "\0" in value:
                raise TreebuildError(
                    f"{name} of {kind.name} {key} must not hold a colon or a line end", reason="entity"
                )
        old = self.find(key)
        base = dict(kind.fresh) if old is None else dict(zip(kind.fields, old.values, strict=True))
        entry = Entry(kind, tuple(values.get(field, base.get(field, "")) for field in kind.fields))
        if entry == old:
            return entry
        line = ":".join(entry.values)
        if old is None:
            at = next((i for i, text in enumerate(self._lines) if text.startswith(("+", "-"))), len(self._lines))
            self._lines.insert(at, line)  # what NIS appends stays last
        else:
            index = next(i for i, text in enumerate(self._lines) if self._entry(text) == old)
            self._lines[index] = line
        self._changed = True
        return entry

    def remove(self, key: str) -> bool:
        kept = [line for line in self._lines if (entry := self._entry(line)) is None or entry.values[0] != key]
        gone = len(kept) < len(self._lines)
        self._lines, self._changed = kept, self._changed or gone
        return gone

    def free_id(self, *, system: bool) -> int:
        """The next number that nobody has: from 1000 upwards, for the system from 999 downwards."""
        field = "uid" if self._kind is PASSWD else "gid"
        taken = {entry.number(field) for entry in self.entries()}
        numbers = range(999, 99, -1) if system else range(1000, 60000)
        found = next((number for number in numbers if number not in taken), None)
        if found is None:
            raise TreebuildError(f"there is no free {field} left", reason="no-account")
        return found

    def save(self) -> None:
        if self._changed:
            text = "".join(f"{line}\n" for line in self._lines)
            self._root.write_text(self._path, text, default_mode=self._kind.mode)
            self._changed = False

    def _entry(self, line: str) -> Entry | None:
        if not line or line.startswith(("#", "+", "-")):
            return None
        values = line.split(":")
        count = len(self._kind.fields)
        if len(values) > count:
            return None
        return Entry(self._kind, tuple(values + [""] * (count - len(values))))
