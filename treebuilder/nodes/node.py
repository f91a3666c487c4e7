"""A YAML value that remembers file and line."""

from __future__ import annotations

from collections.abc import Iterator

from treebuilder.annotations import Any, NoReturn, TypeAlias
from treebuilder.errors import Place, SpecError
from treebuilder.records import field, record

Plain: TypeAlias = "int | float | bool | None"


class Key(str):
    """A key that is no text in YAML (`80`, `true`), as luet writes it; `value` is what it says."""

    __slots__ = ("value",)
    value: Plain

    @classmethod
    def of(cls, text: str, value: Plain) -> Key:
        key = cls(text)
        key.value = value
        return key


class Entries(dict[str, "Node"]):
    """A map's values by key, in the order written. `said`: what keys that are no texts say, as `Key`."""

    __slots__ = ("_folded", "doubled", "said")
    _folded: dict[str, Node]
    doubled: tuple[tuple[str, Place], ...]  # only where there are any, as of `said`
    said: dict[str, Key]

    def in_any_case(self, key: str) -> Node | None:
        """The last whose key differs only in case. The map must be complete."""
        try:
            return self._folded.get(key.lower())
        except AttributeError:
            self._folded = {name.lower(): node for name, node in self.items()}
            return self._folded.get(key.lower())


@record
class Node:
    """One YAML value and where it stands. `kind` is text, number, boolean, nothing, map or list.

    `written` is a scalar as the file has it (`1.10`, `yes`), for readers to whom every scalar is text.
    """

    kind: str
    place: Place
    value: Any  # str | int | float | bool | None | Entries | list[Node]
    written: str = field(default="", compare=False)

    def fail(self, message: str, *, hint: str | None = None, reason: str | None = None) -> NoReturn:
        raise SpecError(message, where=self.place, hint=hint, reason=reason)

    def _expect(self, kind: str, what: str) -> None:
        if self.kind != kind:
            hint = (
                f'write it in quotes: "{self.written or self.value}"'
                if kind == "text" and self.kind in ("number", "boolean")
                else None
            )
            article = "a " if kind in ("text", "map", "list", "boolean", "number") else ""
            self.fail(f"{what} must be {article}{kind}, not a {self.kind}", hint=hint, reason="wrong-type")

    # maps -------------------------------------------------------------------------------------------------------
    def entries(self, what: str = "this") -> tuple[tuple[str, Node], ...]:
        """Key and value pairs in the order written; nothing (`null`) counts as an empty map."""
        if self.kind == "nothing":
            return ()
        self._expect("map", what)
        return tuple(self.value.items())

    def get(self, key: str) -> Node | None:
        """The value of a key, found exactly or, failing that, in any case. None when missing or null."""
        if self.kind == "nothing":
            return None
        self._expect("map", "this")
        found: Node | None = self.value.get(key)
        if found is None:
            found = self.value.in_any_case(key)
        return None if found is None or found.kind == "nothing" else found

    def text(self, key: str, default: str = "") -> str:
        node = self.get(key)
        return default if node is None else node.as_text(key)

    def boolean(self, key: str, default: bool = False) -> bool:
        node = self.get(key)
        return default if node is None else node.as_boolean(key)

    def integer(self, key: str, default: int = 0) -> int:
        node = self.get(key)
        return default if node is None else node.as_integer(key)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; missing is empty."""
        node = self.get(key)
        return () if node is None else tuple(item.as_text(f"an item of {key}") for item in node.items(key))

    def text_map(self, key: str) -> tuple[tuple[str, str], ...]:
        """A map of texts as sorted pairs; missing is empty."""
        node = self.get(key)
        if node is None:
            return ()
        return tuple(sorted((name, item.as_text(f"{key}.{name}")) for name, item in node.entries(key)))

    def children(self, key: str) -> tuple[Node, ...]:
        """The items of a list under a key; missing is empty."""
        node = self.get(key)
        return () if node is None else node.items(key)

    def unknown(self, known: frozenset[str]) -> tuple[tuple[str, Place], ...]:
        """Keys that are not in `known` (lower case), with their places, for a warning."""
        if self.kind != "map":
            return ()
        return tuple((name, node.place) for name, node in self.value.items() if name.lower() not in known)

    def doubled(self) -> tuple[tuple[str, Place], ...]:
        """Keys of a map that stood there before, with their places, for a warning: the last one counts."""
        return getattr(self.value, "doubled", ()) if self.kind == "map" else ()

    # lists and scalars ------------------------------------------------------------------------------------------
    def items(self, what: str = "this") -> tuple[Node, ...]:
        if self.kind == "nothing":
            return ()
        self._expect("list", what)
        return tuple(self.value)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.items())

    def as_text(self, what: str = "this") -> str:
        if self.kind == "nothing":
            return ""
        self._expect("text", what)
        text = str(self.value)
        if "\0" in text:
            self.fail(f"{what} holds a NUL character, which no program can take", reason="wrong-type")
        return text

    def as_loose_text(self, what: str = "this") -> str:
        """A text, or what luet makes of a number or a boolean where it wants one (`gotexts`)."""
        if self.kind not in ("number", "boolean"):
            return self.as_text(what)
        from treebuilder.nodes.gotexts import go_text

        return go_text(self.value)

    def as_boolean(self, what: str = "this") -> bool:
        self._expect("boolean", what)
        return bool(self.value)

    def as_integer(self, what: str = "this") -> int:
        self._expect("number", what)
        if not isinstance(self.value, int):
            self.fail(f"{what} must be a whole number", reason="wrong-type")
        return self.value

    def plain(self, *, keys: bool = False) -> Any:  # noqa: ANN401 - data for templates, whose types are the user's
        """The value as dicts, lists and scalars, for template values and for writing it out again.

        `keys`: those that are no texts in YAML are of the class `Key`, which remembers what they are.
        """
        if self.kind == "map":
            said: dict[str, Key] = getattr(self.value, "said", {}) if keys else {}
            return {said.get(name, name): node.plain(keys=keys) for name, node in self.value.items()}
        if self.kind == "list":
            return [node.plain(keys=keys) for node in self.value]
        return self.value
