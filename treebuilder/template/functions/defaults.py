"""sprig's defaults, and what it tells of types."""

from __future__ import annotations

from treebuilder.template.functions.signature import GoFunction, table
from treebuilder.template.values import kind_of, type_of


def _default(fallback: object, *given: object) -> object:
    return given[0] if given and given[0] else fallback


def _coalesce(*values: object) -> object:
    return next((value for value in values if value), None)


def _ternary(yes: object, no: object, test: bool) -> object:
    return yes if test else no


DEFAULTS: dict[str, GoFunction] = table(
    ("default", "any any...", _default),
    ("empty", "any", lambda value: not value),
    ("coalesce", "any...", _coalesce),
    ("all", "any...", lambda *values: all(values)),
    ("any", "any...", lambda *values: any(values)),
    ("ternary", "any any bool", _ternary),
    ("typeOf", "any", type_of),
    ("typeIs", "string any", lambda name, value: name == type_of(value)),
    ("typeIsLike", "string any", lambda name, value: type_of(value) in (name, f"*{name}")),
    ("kindOf", "any", kind_of),
    ("kindIs", "string any", lambda name, value: name == kind_of(value)),
)
