"""How deep a YAML document nests: PyYAML composes by recursion in C, which a deep one would crash."""

from __future__ import annotations

import re

from treebuilder.annotations import Any

MAX_DEPTH = 200
_INDENT = re.compile(r"^[ \t?:-]+", re.MULTILINE)


def too_deep(text: str, loader: Any) -> int | None:  # noqa: ANN401 - a class of PyYAML's has no type
    """The line, from 0, at which a document nests deeper than `MAX_DEPTH`; None where it does not. `loader` is a class.

    Raises yaml.YAMLError for what is none, where it is looked at closely.
    """
    return _line(text, loader) if _bound(text) > MAX_DEPTH else None


def _bound(text: str) -> int:
    """At least how deep it is: a level of a block needs a column of its own, or a dash in it."""
    indent = max((len(found) for found in _INDENT.findall(text)), default=0)
    opened = text.count("[") - text.count("[]") + text.count("{") - text.count("{}")
    return 2 * indent + opened + 1


def _line(text: str, loader: Any) -> int | None:  # noqa: ANN401
    import yaml

    parser = loader(text)
    try:
        depth = 0
        while parser.check_event():
            event = parser.get_event()
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    return event.start_mark.line if event.start_mark else 0
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
    finally:
        parser.dispose()
    return None
