"""Typed nodes over PyYAML's composer.

Rules (luet.md §2.2): YAML 1.1 scalars, keys found in any case, the last of equal keys wins, anchors and `<<` merges
work, an empty document is an empty map. Types are strict: `version: 1.0` is a number, not text, and is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import isinf
from typing import Any, NoReturn

import yaml

from treebuilder.errors import Place, SpecError
from treebuilder.records import field, record, replace

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML without libyaml
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]


class _GoLoader(_Loader):
    """The loader with the words and numbers that YAML 1.1 and go-yaml know and PyYAML does not: y, n, 1e3, 08."""


_GoLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"[yYnN]\Z"), list("yYnN"))
_GoLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z"),
    list("-+.0123456789"),
)
_BOOLEANS = {"y": True, "n": False}
_MAX_NODES = 200_000  # an alias bomb is refused, a real specfile has some hundreds
_MAX_DEPTH = 200
_MERGE = "tag:yaml.org,2002:merge"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_INDENT = re.compile(r"^[ \t?:-]+", re.MULTILINE)
_KINDS = {
    "tag:yaml.org,2002:str": "text", "tag:yaml.org,2002:int": "number", "tag:yaml.org,2002:float": "number",
    "tag:yaml.org,2002:bool": "boolean", "tag:yaml.org,2002:null": "nothing", "tag:yaml.org,2002:timestamp": "text",
    "tag:yaml.org,2002:binary": "text", "tag:yaml.org,2002:value": "text", "tag:yaml.org,2002:merge": "text",
}  # fmt: skip


@record
class Node:
    """One YAML value and where it stands. `kind` is text, number, boolean, nothing, map or list.

    `written` is a scalar as the file has it (`1.10`, `yes`), for readers to whom every scalar is text.
    """

    kind: str
    place: Place
    value: Any  # str | int | float | bool | None | dict[str, Node] | list[Node]
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
            for name, node in self.value.items():
                if name.lower() == key.lower():
                    found = node
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

    def as_boolean(self, what: str = "this") -> bool:
        self._expect("boolean", what)
        return bool(self.value)

    def as_integer(self, what: str = "this") -> int:
        self._expect("number", what)
        if not isinstance(self.value, int):
            self.fail(f"{what} must be a whole number", reason="wrong-type")
        return self.value

    def plain(self) -> Any:  # noqa: ANN401 - data for templates, whose types are the user's
        """The value as dicts, lists and scalars, for template values and for writing it out again."""
        if self.kind == "map":
            return {name: node.plain() for name, node in self.value.items()}
        if self.kind == "list":
            return [node.plain() for node in self.value]
        return self.value


def load(text: str, file: str, *, first_line: int = 1, lines: Sequence[int] | None = None) -> Node:
    """Parses one YAML document. Raises SpecError (reason "yaml") with the line of the fault.

    `first_line` is the number of the text's first line in `file`, for texts that stand inside another. `lines` are
    for texts that were made from `file`: `lines[i]` is the line of `file` that line i+1 comes from, 0 for none.
    """
    place = _Places(file, first_line - 1, lines)
    try:
        if _depth_bound(text) > _MAX_DEPTH:
            _refuse_depth(text, place)
        loader = _GoLoader(text)
        try:
            root = loader.get_single_node()
            if root is None:
                return Node("map", Place(file), {})
            return _Reader(loader, place).read(root)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        where = place.at(min(mark.line, text.count("\n"))) if mark is not None else Place(file)
        raise SpecError(f"broken YAML: {err.problem or err.context}", where=where, reason="yaml") from err
    except yaml.YAMLError as err:
        found = _CONTROL.search(text)
        where = place.at(text.count("\n", 0, found.start())) if found else Place(file)
        message = "a control character" if found else str(err)
        raise SpecError(f"broken YAML: {message}", where=where, reason="yaml") from err
    except ValueError as err:
        raise SpecError(f"broken YAML: {err}", where=Place(file), reason="yaml") from err
    except RecursionError as err:
        raise SpecError("broken YAML: nested too deeply", where=Place(file), reason="yaml") from err


def _depth_bound(text: str) -> int:
    """At least how deep the document nests: a level of a block needs a column of its own, or a dash in it."""
    indent = max((len(found) for found in _INDENT.findall(text)), default=0)
    return 2 * indent + text.count("[") + text.count("{")


def _refuse_depth(text: str, places: _Places) -> None:
    """PyYAML composes by recursion in C, which a deep document would crash. Raises SpecError."""
    parser = _GoLoader(text)
    try:
        depth = 0
        while parser.check_event():
            event = parser.get_event()
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > _MAX_DEPTH:
                    where = places.at(event.start_mark.line if event.start_mark else 0)
                    raise SpecError("broken YAML: nested too deeply", where=where, reason="yaml")
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
    finally:
        parser.dispose()


@record
class _Places:
    file: str
    offset: int
    lines: Sequence[int] | None

    def at(self, index: int) -> Place:
        """The place of the text's line `index`, counted from 0."""
        if self.lines is None:
            return Place(self.file, index + 1 + self.offset)
        return Place(self.file, self.lines[min(index, len(self.lines) - 1)] if self.lines else 0)


class _Reader:
    def __init__(self, loader: Any, places: _Places) -> None:  # noqa: ANN401 - PyYAML's loader has no type
        self._loader = loader
        self._places = places
        self._count = 0
        self._open: set[int] = set()

    def read(self, node: yaml.Node) -> Node:
        self._count += 1
        place = self._at(node)
        if self._count > _MAX_NODES:
            raise SpecError("the file expands to too many values", where=place, reason="yaml")
        if isinstance(node, yaml.ScalarNode):
            kind, value = self._scalar(node)
            return Node(kind, place, value, str(node.value))
        if id(node) in self._open:
            raise SpecError("an alias that contains itself", where=place, reason="yaml")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return Node("list", place, [self.read(item) for item in node.value])
            assert isinstance(node, yaml.MappingNode)
            return Node("map", place, self._entries(node))
        finally:
            self._open.discard(id(node))

    def _entries(self, node: yaml.MappingNode) -> dict[str, Node]:
        """The map's own entries over those it merges with `<<`; of several merged maps the first wins."""
        merged: dict[str, Node] = {}
        own: dict[str, Node] = {}
        for key, value in node.value:
            if key.tag != _MERGE:
                # A value is where its key says it is: the list under `steps:` begins on that line for a reader.
                own[self._key(key)] = replace(self.read(value), place=self._at(key))
                continue
            for part in reversed(value.value) if isinstance(value, yaml.SequenceNode) else (value,):
                if not isinstance(part, yaml.MappingNode):
                    raise SpecError("<< merges a map or a list of maps", where=self._at(part), reason="yaml")
                merged.update(self.read(part).value)
        return merged | own

    def _key(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise SpecError("a key must be a plain value", where=self._at(node), reason="yaml")
        kind, value = self._scalar(node)
        return ("true" if value else "false") if kind == "boolean" else str(node.value)

    def _scalar(self, node: yaml.ScalarNode) -> tuple[str, str | int | float | bool | None]:
        """Kind and value of a plain value."""
        kind = _KINDS.get(node.tag)
        if kind is None:
            raise SpecError(f"the tag {node.tag} is not known", where=self._at(node), reason="yaml")
        if kind == "text":
            return kind, str(node.value)
        if kind == "boolean" and node.value.lower() in _BOOLEANS:
            return kind, _BOOLEANS[node.value.lower()]
        try:
            value = self._loader.construct_object(node)
        except (ValueError, KeyError, AttributeError) as err:
            message = f"{node.value[:80]!r} is not what its tag {node.tag.rpartition(':')[2]} says"
            raise SpecError(message, where=self._at(node), reason="yaml") from err
        if kind == "number" and isinstance(value, float) and isinf(value) and "inf" not in node.value.lower():
            return "text", str(node.value)  # 1e999, a commit's hash: no float64 holds it
        return kind, value

    def _at(self, node: yaml.Node) -> Place:
        return self._places.at(node.start_mark.line)
