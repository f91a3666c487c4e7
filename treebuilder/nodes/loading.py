"""From a text to nodes, by the fast reader where it can."""

from __future__ import annotations

from collections.abc import Sequence

from treebuilder.nodes.node import Node
from treebuilder.nodes.places import Places
from treebuilder.nodes.simple import load_simple


def load(text: str, file: str, *, first_line: int = 1, lines: Sequence[int] | None = None) -> Node:
    """Parses one YAML document. Raises SpecError (reason "yaml") with the line of the fault.

    `first_line` is the number of the text's first line in `file`, for texts that stand inside another. `lines` are
    for texts that were made from `file`: `lines[i]` is the line of `file` that line i+1 comes from, 0 for none.
    """
    places = Places(file, first_line - 1, lines)
    found = load_simple(text, places)
    if found is None:
        from treebuilder.nodes.full import load_full  # PyYAML takes 20 ms to import

        found = load_full(text, places)
    return found
