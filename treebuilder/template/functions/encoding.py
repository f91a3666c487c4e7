"""JSON, YAML, base64, base32 and checksums: sprig's, and those luet adds (TOML is in `toml.py`)."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import zlib
from decimal import Decimal

from treebuilder.errors import SpecError
from treebuilder.template.faults import TemplateFault
from treebuilder.template.functions.bases import decode32, decode64
from treebuilder.template.functions.lists import effort
from treebuilder.template.functions.signature import GoFunction, table
from treebuilder.template.values import (
    AnyMap,
    GoObject,
    NilList,
    NilMap,
    NilTextList,
    key_of,
    kind_of,
    print_float,
    text_items,
    text_of,
    type_of,
    weigh,
)

_LINES = {0x2028: "\\u2028", 0x2029: "\\u2029"}
_SHORT = re.compile(r"\\.")
_LONG = {"\\b": "\\u0008", "\\f": "\\u000c"}
_LONE = re.compile("[\ud800-\udfff]")
_HTML = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def to_json(value: object, *, html: bool = True, indent: str = "") -> str:
    """encoding/json.Marshal: sorted keys, `<>&` escaped. Raises TemplateFault for what JSON cannot hold."""
    weigh(value)
    return _json(value, html, indent, "\n" if indent else "")


def _json(value: object, html: bool, indent: str, newline: str) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return int.__repr__(value)
        case float():
            return _json_float(value)
        case str():
            return _json_text(value, html)
        case bytes():
            return f'"{base64.b64encode(value).decode()}"'
        case NilList() | NilTextList() | NilMap():
            return "null"
        case AnyMap():
            raise TemplateFault(f"json: unsupported type: {type_of(value)}")
        case list() | tuple():
            inner = newline + indent if newline else ""
            parts = [_json(item, html, indent, inner) for item in value]
            return f"[{inner}{(',' + inner).join(parts)}{newline}]" if parts else "[]"
        case dict():
            inner = newline + indent if newline else ""
            colon = ": " if newline else ":"
            entries = [
                f"{_json_text(key, html)}{colon}{_json(item, html, indent, inner)}" for key, item in text_items(value)
            ]
            return f"{{{inner}{(',' + inner).join(entries)}{newline}}}" if entries else "{}"
        case GoObject():
            return _json(value.go_marshal(), html, indent, newline)
        case _:
            raise TemplateFault(f"json: unsupported type: {type_of(value)}")


def _json_text(text: str, html: bool) -> str:
    encoded = json.dumps(text, ensure_ascii=False).translate(_HTML if html else _LINES)
    return _SHORT.sub(lambda found: _LONG.get(found.group(), found.group()), encoded) if "\\" in encoded else encoded


def _json_float(value: float) -> str:
    if not math.isfinite(value):
        raise TemplateFault("json: unsupported value")
    if value == 0 or 1e-6 <= abs(value) < 1e21:
        if value == int(value) and "e" not in repr(value):
            return repr(value).removesuffix(".0")
        return format(Decimal(repr(value)), "f")
    return print_float(value).replace("e-0", "e-")


def _quiet(value: object) -> str:
    try:
        return to_json(value)
    except TemplateFault:
        return ""


def _pretty(value: object) -> str:
    try:
        return to_json(value, indent="  ")
    except TemplateFault:
        return ""


def _from_json(text: str) -> object:
    """Any JSON value; numbers are float64. Raises TemplateFault."""
    effort.compared += len(text) >> 4
    try:
        value: object = json.loads(
            text.strip(" \t\r\n"), parse_int=_json_number, parse_float=_json_number, parse_constant=_json_number
        )
    except RecursionError as err:
        raise TemplateFault("exceeded max depth") from err
    except ValueError as err:
        from treebuilder.template.functions.gofaults import json_fault

        effort.compared += len(text) >> 2
        raise TemplateFault(json_fault(text) or str(err)) from err
    return _whole_texts(value) if "\\u" in text else value


def _json_number(text: str) -> float:
    value = float(text) if text[-1].isdigit() else math.inf
    if not math.isfinite(value):
        raise ValueError(f"json: cannot unmarshal number {text} into Go value of type float64")
    return value


def _whole_texts(value: object) -> object:
    """Halves of characters, which JSON can escape, become U+FFFD."""
    match value:
        case str():
            return _LONE.sub("\ufffd", value)
        case list():
            return [_whole_texts(item) for item in value]
        case dict():
            return {_whole_texts(key): _whole_texts(item) for key, item in value.items()}
        case _:
            return value


def _json_map(text: str) -> dict[str, object]:
    try:
        value = _from_json(text)
    except TemplateFault as fault:
        return {"Error": str(fault)}
    if value is None:
        return {}
    if not isinstance(value, dict):
        return {"Error": f"json: cannot unmarshal {_json_kind(value)} into Go value of type map[string]interface {{}}"}
    return value


def _json_kind(value: object) -> str:
    kinds = {"map": "object", "slice": "array", "float64": "number"}
    return kinds.get(kind_of(value), kind_of(value))


def _json_list(text: str) -> list[object]:
    try:
        value = _from_json(text)
    except TemplateFault as fault:
        return [str(fault)]
    if value is None:
        return []
    if isinstance(value, list):
        return value
    return [f"json: cannot unmarshal {_json_kind(value)} into Go value of type []interface {{}}"]


def _from_yaml(text: str, kind: str, wanted: str) -> object:
    """A value of the kind, None for nothing. Raises TemplateFault, which names the type of Go's that is wanted."""
    from treebuilder.nodes import load
    from treebuilder.template.functions.gofaults import yaml_fault, yaml_kind_fault

    effort.compared += len(text)
    try:
        found = load(text, "")
        if not found.place.line:
            return None  # a text without a document
        if found.kind not in (kind, "nothing"):
            raise TemplateFault(yaml_kind_fault(found, wanted))
        return _text_keys(found.plain(keys=True))
    except SpecError as err:
        raise TemplateFault(yaml_fault(err, text)) from err


def _text_keys(value: object) -> object:
    """Values as they come through JSON: keys are texts."""
    match value:
        case dict():
            return {text_of(key_of(key)): _text_keys(item) for key, item in value.items()}
        case list():
            return [_text_keys(item) for item in value]
        case _:
            return value


def _yaml_map(text: str) -> dict[str, object]:
    try:
        value = _from_yaml(text, "map", "map[string]interface {}")
    except TemplateFault as fault:
        return {"Error": str(fault)}
    return value if isinstance(value, dict) else {}


def _yaml_list(text: str) -> list[object]:
    try:
        value = _from_yaml(text, "list", "[]interface {}")
    except TemplateFault as fault:
        return [str(fault)]
    return value if isinstance(value, list) else []


def _to_yaml(value: object) -> str:
    from treebuilder.template.functions.yamltext import to_yaml

    weigh(value)
    text = to_yaml(value)
    effort.compared += len(text)
    return text


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


ENCODING: dict[str, GoFunction] = table(
    ("toJson", "any", _quiet),
    ("mustToJson", "any", to_json),
    ("toPrettyJson", "any", _pretty),
    ("mustToPrettyJson", "any", lambda value: to_json(value, indent="  ")),
    ("toRawJson", "any", lambda value: to_json(value, html=False)),
    ("mustToRawJson", "any", lambda value: to_json(value, html=False)),
    ("fromJson", "string", _json_map),
    ("mustFromJson", "string", _from_json),
    ("fromJsonArray", "string", _json_list),
    ("toYaml", "any", _to_yaml),
    ("fromYaml", "string", _yaml_map),
    ("fromYamlArray", "string", _yaml_list),
    ("b64enc", "string", lambda text: base64.b64encode(_bytes(text)).decode()),
    ("b64dec", "string", decode64),
    ("b32enc", "string", lambda text: base64.b32encode(_bytes(text)).decode()),
    ("b32dec", "string", decode32),
    ("sha1sum", "string", lambda text: hashlib.sha1(_bytes(text)).hexdigest()),
    ("sha256sum", "string", lambda text: hashlib.sha256(_bytes(text)).hexdigest()),
    ("adler32sum", "string", lambda text: str(zlib.adler32(_bytes(text)))),
)
