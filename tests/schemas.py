"""A small checker for the part of JSON Schema that docs/schemas uses; a keyword it does not know is an error."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "docs/schemas"
_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "array": (list,),
    "object": (dict,), "null": (type(None),),
}  # fmt: skip
_KNOWN = {
    "$schema", "title", "description", "type", "const", "enum", "minimum", "pattern", "required", "properties",
    "additionalProperties", "items",
}  # fmt: skip


def load(name: str) -> dict[str, Any]:
    value = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    assert isinstance(value, dict)
    return value


def faults(value: Any, schema: dict[str, Any], at: str = "$") -> list[str]:
    """Everything in `value` that the schema does not allow."""
    assert set(schema) <= _KNOWN, set(schema) - _KNOWN
    found: list[str] = []
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        return [f"{at}: {value!r} is no {' or '.join(kinds)}"]
    if "const" in schema and value != schema["const"]:
        found.append(f"{at}: {value!r} is not {schema['const']!r}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at}: {value!r} is none of {schema['enum']}")
    if isinstance(value, str) and "pattern" in schema and re.search(schema["pattern"], value) is None:
        found.append(f"{at}: {value!r} does not match {schema['pattern']}")
    if isinstance(value, int | float) and value < schema.get("minimum", value):
        found.append(f"{at}: {value} is less than {schema['minimum']}")
    if isinstance(value, list) and "items" in schema:
        for position, item in enumerate(value):
            found += faults(item, schema["items"], f"{at}[{position}]")
    if isinstance(value, dict):
        found += _object(value, schema, at)
    return found


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, _KINDS[kind]) and not (isinstance(value, bool) and kind in ("integer", "number"))


def _object(value: dict[str, Any], schema: dict[str, Any], at: str) -> list[str]:
    found = [f"{at}: {name} is missing" for name in schema.get("required", ()) if name not in value]
    known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name, item in value.items():
        if name in known:
            found += faults(item, known[name], f"{at}.{name}")
        elif others is False:
            found.append(f"{at}: {name} is not in the schema")
        elif isinstance(others, dict):
            found += faults(item, others, f"{at}.{name}")
    return found
