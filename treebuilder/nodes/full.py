"""Any YAML as typed nodes, over PyYAML's composer; `simple` reads what most specfiles are without it.

Rules (luet.md §2.2): YAML 1.1 scalars, keys found in any case, the last of equal keys wins, anchors and `<<` merges
work, an empty document is an empty map. Types are strict: `version: 1.0` is a number, not text, and is refused.
"""

from __future__ import annotations

import base64
import re
from math import isinf

import yaml
from yaml.composer import Composer

from treebuilder.annotations import Any
from treebuilder.errors import Place, SpecError
from treebuilder.nodes.depth import MAX_DEPTH, too_deep
from treebuilder.nodes.gotexts import go_text
from treebuilder.nodes.node import Entries, Key, Node
from treebuilder.nodes.places import Places
from treebuilder.records import replace

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML without libyaml
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]


class _GoLoader(_Loader):
    """The loader with the words and numbers that YAML 1.1 and go-yaml know and PyYAML does not: y, n, 1e3, 08, 0o14."""


_GoLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"[yYnN]\Z"), list("yYnN"))
_GoLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z"),
    list("-+.0123456789"),
)
_BASED = re.compile(r"[-+]?0_*[oOxXbB][0-9a-fA-F_]*\Z")
_GoLoader.add_implicit_resolver("tag:yaml.org,2002:int", _BASED, list("-+0"))
_BOOLEANS = {"y": True, "n": False}
_MAX_REPEATED = 200_000  # an alias bomb is refused: what aliases repeat counts, not what is really written
_MAX_WRITTEN = 2_000_000
_BINARY = "tag:yaml.org,2002:binary"
_NO_BREAKS = str.maketrans("", "", "\r\n")
_MERGE = "tag:yaml.org,2002:merge"
# What libyaml takes for no character of a document (yaml_parser_update_buffer).
_CONTROL = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_KINDS = {
    "tag:yaml.org,2002:str": "text", "tag:yaml.org,2002:int": "number", "tag:yaml.org,2002:float": "number",
    "tag:yaml.org,2002:bool": "boolean", "tag:yaml.org,2002:null": "nothing", "tag:yaml.org,2002:timestamp": "text",
    "tag:yaml.org,2002:binary": "text", "tag:yaml.org,2002:value": "text", "tag:yaml.org,2002:merge": "text",
}  # fmt: skip


class _LastAnchor(Composer):
    """PyYAML's composer, but of anchors with one name an alias means the last before it, as in YAML and in go-yaml;
    both of PyYAML's composers refuse the second."""

    peek_event: Any  # the parser's

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:  # noqa: ANN401 - PyYAML's own types
        event = self.peek_event()
        if not isinstance(event, yaml.AliasEvent):
            self.anchors.pop(getattr(event, "anchor", None), None)
        return super().compose_node(parent, index)


class _AgainLoader(_LastAnchor, _GoLoader):
    """The loader over libyaml's parser with a composer in Python: for the few files that need it."""

    def __init__(self, text: str) -> None:
        _GoLoader.__init__(self, text)
        Composer.__init__(self)


def load_full(text: str, places: Places) -> Node:
    """Parses one YAML document. Raises SpecError (reason "yaml") with the line of the fault."""
    place = places
    try:
        deep = too_deep(text, _GoLoader)
        if deep is not None:
            raise SpecError("broken YAML: nested too deeply", where=place.at(deep), reason="yaml")
        try:
            return _read(_GoLoader(text), place)
        except yaml.composer.ComposerError as err:
            if "duplicate anchor" not in str(err.context):
                raise
            return _read(_AgainLoader(text), place)
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        where = place.at(min(mark.line, text.count("\n"))) if mark is not None else Place(places.file)
        raise SpecError(f"broken YAML: {err.problem or err.context}", where=where, reason="yaml") from err
    except yaml.YAMLError as err:
        found = _CONTROL.search(text)
        where = place.at(text.count("\n", 0, found.start())) if found else Place(places.file)
        message = "a control character" if found else str(err)
        raise SpecError(f"broken YAML: {message}", where=where, reason="yaml") from err
    except ValueError as err:
        raise SpecError(f"broken YAML: {err}", where=Place(places.file), reason="yaml") from err
    except RecursionError as err:
        raise SpecError("broken YAML: nested too deeply", where=Place(places.file), reason="yaml") from err


def _read(loader: Any, places: Places) -> Node:  # noqa: ANN401 - PyYAML's loader has no type
    """The first document, which alone counts in Go too."""
    try:
        root = loader.get_node() if loader.check_node() else None
        return Node("map", Place(places.file), Entries()) if root is None else _Reader(loader, places).read(root)
    finally:
        loader.dispose()


class _Reader:
    def __init__(self, loader: Any, places: Places) -> None:  # noqa: ANN401 - PyYAML's loader has no type
        self._loader = loader
        self._places = places
        self._repeated = 0
        self._seen: set[int] = set()
        self._open: set[int] = set()

    def read(self, node: yaml.Node) -> Node:
        place = self._at(node)
        if id(node) in self._seen:
            self._repeated += 1
            if self._repeated > _MAX_REPEATED:
                raise SpecError("the file's aliases expand to too many values", where=place, reason="yaml")
        else:
            self._seen.add(id(node))
            if len(self._seen) > _MAX_WRITTEN:
                raise SpecError("the file has too many values", where=place, reason="yaml")
        if isinstance(node, yaml.ScalarNode):
            kind, value = self._scalar(node)
            return Node(kind, place, value, str(node.value))
        if id(node) in self._open:
            raise SpecError("an alias that contains itself", where=place, reason="yaml")
        if len(self._open) >= MAX_DEPTH:  # aliases nest what stands side by side
            raise SpecError("broken YAML: nested too deeply", where=place, reason="yaml")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return Node("list", place, [self.read(item) for item in node.value])
            assert isinstance(node, yaml.MappingNode)
            return Node("map", place, self._entries(node))
        finally:
            self._open.discard(id(node))

    def _entries(self, node: yaml.MappingNode) -> Entries:
        """The map's own entries over those it merges with `<<`; of several merged maps the first wins."""
        merged = Entries()
        own = Entries()
        doubled: list[tuple[str, Place]] = []
        said: dict[str, Key] = {}
        for key, value in node.value:
            if key.tag != _MERGE:
                # A value is where its key says it is: the list under `steps:` begins on that line for a reader.
                given = self._key(key)
                name = str(given)
                doubled += [(name, self._at(key))] if name in own else []
                own[name] = replace(self.read(value), place=self._at(key))
                if isinstance(given, Key):
                    said[name] = given
                else:
                    said.pop(name, None)
                continue
            for part in reversed(value.value) if isinstance(value, yaml.SequenceNode) else (value,):
                if not isinstance(part, yaml.MappingNode):
                    raise SpecError("<< merges a map or a list of maps", where=self._at(part), reason="yaml")
                part_entries = self.read(part).value
                merged.update(part_entries)
                said = {**getattr(part_entries, "said", {}), **said}
        merged.update(own)
        if doubled:
            merged.doubled = tuple(doubled)
        if said:
            merged.said = said
        return merged

    def _key(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise SpecError("a key must be a plain value", where=self._at(node), reason="yaml")
        if len(self._open) <= 1:  # the document's own keys are texts to Go, and null is an empty one
            return "" if _KINDS.get(node.tag) == "nothing" else str(node.value)
        _, value = self._scalar(node)
        if isinstance(value, str):
            return value
        return Key.of(str(node.value) if value is None else go_text(value), value)

    def _scalar(self, node: yaml.ScalarNode) -> tuple[str, str | int | float | bool | None]:
        """Kind and value of a plain value."""
        kind = _KINDS.get(node.tag)
        if kind is None:
            return "text", str(node.value)  # a tag of somebody's own (go-yaml takes the text)
        if node.tag == _BINARY:
            return "text", _decoded(str(node.value), self._at(node))
        if kind == "text" or (kind == "number" and ":" in node.value):  # go-yaml knows no numbers to the base of 60
            return "text", str(node.value)
        if kind == "boolean" and node.value.lower() in _BOOLEANS:
            return kind, _BOOLEANS[node.value.lower()]
        if kind == "number" and _BASED.match(node.value):
            number = _based(node.value)
            return ("text", str(node.value)) if number is None else (kind, number)
        try:
            value = self._loader.construct_object(node)
        except (ValueError, LookupError, AttributeError) as err:
            message = f"{node.value[:80]!r} is not what its tag {node.tag.rpartition(':')[2]} says"
            raise SpecError(message, where=self._at(node), reason="yaml") from err
        if kind == "number" and isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
            value = _wide(node.value)
            if value is None:
                return "text", str(node.value)
        if kind == "number" and isinstance(value, float) and isinf(value) and "inf" not in node.value.lower():
            return "text", str(node.value)  # 1e999, a commit's hash: no float64 holds it
        return kind, value

    def _at(self, node: yaml.Node) -> Place:
        return self._places.at(node.start_mark.line)


def _decoded(text: str, where: Place) -> str:
    """base64 as Go reads it; what is no UTF-8 is lost, for values are texts here."""
    try:
        data = base64.b64decode(text.translate(_NO_BREAKS), validate=True)
    except ValueError as err:
        raise SpecError("!!binary value contains invalid base64 data", where=where, reason="yaml") from err
    return data.decode("utf-8", "replace")


def _wide(text: str) -> float | None:
    """A number that 64 bits do not hold, as Go's `strconv.ParseFloat` takes it; None if it does not."""
    try:
        return float(text.replace("_", ""))
    except ValueError:
        return None


def _based(text: str) -> int | None:
    """A number with its base in front, as Go's `strconv.ParseInt(text, 0, 64)` takes it; None if it does not."""
    try:
        number = int(text.replace("_", ""), 0)
    except ValueError:
        return None
    return number if -(1 << 63) <= number < 1 << (63 if text[0] == "+" else 64) else None
