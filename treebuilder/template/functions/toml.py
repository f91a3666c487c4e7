"""`toToml`: maps as TOML, keys sorted, plain values before tables, as BurntSushi/toml writes them."""

from __future__ import annotations

import re
from decimal import Decimal

from treebuilder.annotations import cast
from treebuilder.template.faults import TemplateFault
from treebuilder.template.functions.durations import Duration
from treebuilder.template.functions.signature import GoFunction, table
from treebuilder.template.functions.times import RFC3339_NANO, Time
from treebuilder.template.values import AnyMap, GoObject, kind_of, print_float, text_items, weigh

_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")
_ESCAPES = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
_Map = dict[object, object]
_Entries = list[tuple[str, object]]


def to_toml(value: object) -> str:
    """A map as a TOML document. Raises TemplateFault for what TOML cannot hold."""
    if value is None:
        raise TemplateFault("nil is no TOML document")
    weigh(value)
    if isinstance(value, complex):
        raise TemplateFault("unsupported type for key '': complex128")
    if not isinstance(value, dict):
        raise TemplateFault("toml: top-level values must be Go maps or structs")
    lines: list[str] = []
    _table(cast("_Map", value), (), lines)
    return "\n".join(lines) + ("\n" if lines else "")


def _is_tables(value: object) -> bool:
    """Raises TemplateFault for nil within lists: before anything of them is written, as in Go."""
    if not isinstance(value, list | tuple):
        return False
    for item in value:
        if item is None:
            raise TemplateFault("toml: cannot encode array with nil element")
        _is_tables(item)
    return bool(value) and all(isinstance(item, dict) for item in value)


def _parted(map_: _Map) -> tuple[_Entries, _Entries]:
    """Plain values, nil among them, and tables, which stand behind them."""
    plain: _Entries = []
    tables: _Entries = []
    for key, given in text_items(map_):
        value = _struct(given)
        (tables if isinstance(value, dict) or _is_tables(value) else plain).append((_key(key), value))
    return plain, tables


def _table(map_: _Map, path: tuple[str, ...], lines: list[str]) -> None:
    if isinstance(map_, AnyMap):
        raise TemplateFault("toml: cannot encode a map with non-string key type")
    plain, tables = _parted(map_)
    indent = "  " * len(path)
    lines += [f"{indent}{key} = {_value(value)}" for key, value in plain if value is not None]
    for key, value in tables:
        inner = (*path, key)
        for table_, brackets in _tables(value):
            if lines and not path:
                lines.append("")
            head = ".".join(inner)
            lines.append(f"{indent}{brackets[0]}{head}{brackets[1]}")
            _table(table_, inner, lines)


def _struct(value: object) -> object:
    """A map for a struct that has no text of its own."""
    plain = value.go_marshal() if isinstance(value, GoObject) and not isinstance(value, Time) else None
    return plain if isinstance(plain, dict) else value


def _tables(value: object) -> list[tuple[_Map, tuple[str, str]]]:
    if isinstance(value, dict):
        return [(cast("_Map", value), ("[", "]"))]
    if _is_tables(value):
        return [(cast("_Map", item), ("[[", "]]")) for item in cast("list[object]", value)]
    return []


def _key(text: str) -> str:
    return text if _BARE.match(text) else _quoted(text)


def _quoted(text: str) -> str:
    return '"' + "".join(_ESCAPES.get(char) or (char if char >= " " else f"\\u{ord(char):04x}") for char in text) + '"'


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case Duration():
            return _quoted(value.go_text())
        case int():
            return str(int(value))
        case float():
            text = print_float(value)
            if text in ("NaN", "+Inf", "-Inf"):
                return text.lower()
            plain = format(Decimal(repr(value)), "f")
            return plain if "." in plain else f"{plain}.0"
        case str():
            return _quoted(value)
        case AnyMap():
            raise TemplateFault("toml: cannot encode a map with non-string key type")
        case list() | tuple() | bytes():
            return "[" + ", ".join(_value(item) for item in value) + "]"
        case dict():
            direct, tables = _parted(cast("_Map", value))
            return "{" + _pairs(direct, ", " if tables else "") + _pairs(tables, "") + "}"
        case Time():
            return value.format(RFC3339_NANO)
        case GoObject():
            return _value(value.go_marshal())
        case _:
            raise TemplateFault(f"unsupported type: {kind_of(value)}")


def _pairs(entries: _Entries, end: str) -> str:
    """Go leaves nil out, and not the comma before it."""
    ends = [", "] * (len(entries) - 1) + [end]
    pairs = zip(entries, ends, strict=False)
    return "".join(f"{key} = {_value(value)}{after}" for (key, value), after in pairs if value is not None)


def _quiet(value: object) -> str:
    """Helm's and luet's: a fault is the text, but for nil, on which the library falls over."""
    if value is None:
        return to_toml(value)
    try:
        return to_toml(value)
    except TemplateFault as fault:
        return str(fault)


TOML: dict[str, GoFunction] = table(("toToml", "any", _quiet))
