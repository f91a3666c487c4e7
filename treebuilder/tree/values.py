"""Template values: a package's own data under the `--values` files (luet.md §3.2, §3.3).

Whole numbers of collection.yaml are floats, as luet's are; those of definition.yaml and values files stay whole.
Maps merge deeply, everything else is replaced. Unlike luet, false, 0, "" and empty lists do override.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from treebuilder.annotations import cast
from treebuilder.errors import SpecError
from treebuilder.nodes import Key, Node, load
from treebuilder.tree.files import read_text

Values = dict[str, object]
_NESTED = frozenset((dict, list))


def of_definition(node: Node) -> Values:
    """The values of a definition.yaml; keys of its maps that are no texts in YAML are none to templates either."""
    return {} if node.kind == "nothing" else cast("Values", node.plain(keys=True))


def of_collection_item(node: Node) -> Values:
    """The values of one item of a collection.yaml: its numbers are floats, its keys texts."""
    return {} if node.kind == "nothing" else cast("Values", _floats(node.plain()))


def _floats(value: object) -> object:
    match value:
        case bool():
            return value
        case int():
            return float(value)
        case dict():
            return {key: _floats(item) for key, item in value.items()}
        case list():
            return [_floats(item) for item in value]
        case _:
            return value


def merged(lower: Mapping[str, object], upper: Mapping[str, object]) -> Values:
    """`upper` over `lower`; neither is changed."""
    result = dict(lower)
    for key, value in upper.items():
        below = result.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            result[key] = merged(below, value)
        else:
            result[key] = value
    return result


def read_files(files: Sequence[str | Path]) -> Values:
    """The `--values` files merged, the rightmost wins. Raises SpecError."""
    result: Values = {}
    for file in files:
        name = str(file)
        try:
            text = read_text(name)
        except FileNotFoundError:
            raise SpecError(f"the values file {name} does not exist", reason="missing-values") from None
        node = load(text, name)
        if node.kind not in ("map", "nothing"):
            node.fail("a values file must be a map", reason="wrong-type")
        result = merged(result, of_definition(node))
    return result


def canonical(values: Mapping[str, object]) -> str:
    """The values as JSON with sorted keys: equal values give equal text, and 1 differs from 1.0, as a key too."""
    return json.dumps(_told_apart(values), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _told_apart(value: object) -> object:
    """The value with keys as texts that differ where templates see different keys."""
    if isinstance(value, Mapping):
        return {
            f"\0{key.value!r}" if type(key) is Key else key: _told_apart(item) if type(item) in _NESTED else item
            for key, item in value.items()
        }
    assert isinstance(value, list)
    return [_told_apart(item) if type(item) in _NESTED else item for item in value]
