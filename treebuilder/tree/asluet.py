"""What luet's hashes see of a build.yaml and a `Recipe` does not hold (luet.md §4.2).

That is little, and rare: what is said of a package that is only referred to, items of lists without a text, and that
luet knows no `join:`.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from treebuilder.annotations import Any
from treebuilder.model.package import Recipe
from treebuilder.nodes import Node

_TEXTS = ("steps", "prelude", "env", "retrieve", "includes", "excludes")
_MAX = 1 << 63
_READERS: dict[str, Callable[[Node, str], Any]] = {
    **dict.fromkeys(
        ("name", "version", "category", "state", "path", "description", "license", "buildtimestamp", "treedir",
         "dockerfile"), lambda node, key: "" if (found := node.get(key)) is None else found.as_loose_text(key),
    ),
    **dict.fromkeys(("use_flags", "uri"), lambda node, key: [item.as_loose_text(key) for item in node.children(key)]),
    **dict.fromkeys(("requires", "conflicts", "provides"), lambda node, key: list(map(_said, node.children(key)))),
    **dict.fromkeys(("labels", "annotations"), lambda node, key: _texts(node.get(key), key)),
    "id": lambda node, key: _number(node, key),
    "hidden": Node.boolean,
}  # fmt: skip
_ID = frozenset(("name", "version", "category"))


def seen_by_luet(node: Node, recipe: Recipe) -> str:
    """Those fields of luet's signature that are others than the recipe's, as JSON; "" where all are the same.

    Raises SpecError for what a reference says and luet could not read.
    """
    found: dict[str, Any] = {}
    for key in _TEXTS:
        items = node.children(key)
        if len(items) != len(getattr(recipe, key)):
            found[key] = [item.as_loose_text(key) for item in items]
    requires = list(map(_said, node.children("requires")))
    if len(requires) != len(recipe.requires) or not all(map(_is_plain, requires)):
        found["requires"] = requires
    if (final := node.boolean("requires_final_images")) != recipe.requires_final_images:
        found["requires_final_images"] = final
    copied = [_said(item.get("package")) for item in node.children("copy")]
    if not all(said is None or _is_plain(said) for said in copied):
        found["copy"] = copied
    return json.dumps(found, sort_keys=True) if found else ""


def _said(node: Node | None) -> dict[str, Any] | None:
    """All that is said of a package; None for nothing, which luet tells from a package without a name."""
    if node is None or node.kind == "nothing":
        return None
    if node.kind == "map" and node.value.keys() <= _ID:
        return {key: item.as_loose_text(key) for key, item in node.value.items()}
    return {key: value for key, read in _READERS.items() if (value := read(node, key))}


def _is_plain(said: dict[str, Any] | None) -> bool:
    return said is not None and said.keys() <= _ID


def _texts(node: Node | None, key: str) -> dict[str, str]:
    return {} if node is None else {name: item.as_loose_text(name) for name, item in node.entries(key)}


def _number(node: Node, key: str) -> int:
    found = node.integer(key)
    if not -_MAX <= found < _MAX:
        node.fail(f"{key} is out of bounds", reason="wrong-type")
    return found
