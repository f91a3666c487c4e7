"""JSON, YAML, base64, base32 and checksums: sprig's, and those luet adds (TOML is in `toml.py`)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import zlib
from decimal import Decimal
from typing import cast

from treebuilder.errors import SpecError
from treebuilder.template.faults import TemplateFault
from treebuilder.template.functions.signature import GoFunction, table
from treebuilder.template.values import print_float, sorted_items, text_of, type_of, weigh

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
        case list() | tuple():
            inner = newline + indent if newline else ""
            parts = [_json(item, html, indent, inner) for item in value]
            return f"[{inner}{(',' + inner).join(parts)}{newline}]" if parts else "[]"
        case dict():
            inner = newline + indent if newline else ""
            colon = ": " if newline else ":"
            entries = [
                f"{_json_text(text_of(key), html)}{colon}{_json(item, html, indent, inner)}"
                for key, item in sorted_items(value)
            ]
            return f"{{{inner}{(',' + inner).join(entries)}{newline}}}" if entries else "{}"
        case _:
            raise TemplateFault(f"json: unsupported type: {type_of(value)}")


def _json_text(text: str, html: bool) -> str:
    encoded = json.dumps(text, ensure_ascii=False)
    return encoded.translate(_HTML) if html else encoded


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


def _raw(value: object) -> str:
    try:
        return to_json(value, html=False)
    except TemplateFault:
        return ""


def _from_json(text: str) -> object:
    """Any JSON value; numbers are float64. Raises TemplateFault."""
    try:
        return json.loads(text, parse_int=float)
    except (ValueError, RecursionError) as err:
        raise TemplateFault(f"broken JSON: {err}") from err


def _json_map(text: str) -> dict[str, object]:
    try:
        value = _from_json(text)
    except TemplateFault as fault:
        return {"Error": str(fault)}
    if value is None:
        return {}
    if not isinstance(value, dict):
        return {"Error": f"a JSON map is needed, not {type_of(value)}"}
    return value


def _json_list(text: str) -> list[object]:
    try:
        value = _from_json(text)
    except TemplateFault as fault:
        return [str(fault)]
    if value is None:
        return []
    return value if isinstance(value, list) else [f"a JSON list is needed, not {type_of(value)}"]


def _from_yaml(text: str) -> object:
    from treebuilder.nodes import load

    try:
        return cast("object", load(text, "").plain())
    except SpecError as err:
        raise TemplateFault(f"{err.message}{f' (line {err.where.line})' if err.where else ''}") from err


def _yaml_map(text: str) -> dict[str, object]:
    try:
        value = _from_yaml(text)
    except TemplateFault as fault:
        return {"Error": str(fault)}
    if value is None:
        return {}
    return value if isinstance(value, dict) else {"Error": f"a YAML map is needed, not {type_of(value)}"}


def _yaml_list(text: str) -> list[object]:
    if not text.strip():
        return []
    try:
        value = _from_yaml(text)
    except TemplateFault as fault:
        return [str(fault)]
    if value is None:
        return []
    return value if isinstance(value, list) else [f"a YAML list is needed, not {type_of(value)}"]


def _to_yaml(value: object) -> str:
    from treebuilder.template.functions.yamltext import to_yaml

    try:
        weigh(value)
        return to_yaml(value)
    except TemplateFault:
        return ""


def _decode64(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode("utf-8", "replace")
    except (ValueError, binascii.Error) as err:
        return str(err)


def _decode32(text: str) -> str:
    try:
        return base64.b32decode(text).decode("utf-8", "replace")
    except (ValueError, binascii.Error) as err:
        return str(err)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


ENCODING: dict[str, GoFunction] = table(
    ("toJson", "any", _quiet),
    ("mustToJson", "any", to_json),
    ("toPrettyJson", "any", _pretty),
    ("mustToPrettyJson", "any", lambda value: to_json(value, indent="  ")),
    ("toRawJson", "any", _raw),
    ("mustToRawJson", "any", lambda value: to_json(value, html=False)),
    ("fromJson", "string", _json_map),
    ("mustFromJson", "string", _from_json),
    ("fromJsonArray", "string", _json_list),
    ("toYaml", "any", _to_yaml),
    ("fromYaml", "string", _yaml_map),
    ("fromYamlArray", "string", _yaml_list),
    ("b64enc", "string", lambda text: base64.b64encode(_bytes(text)).decode()),
    ("b64dec", "string", _decode64),
    ("b32enc", "string", lambda text: base64.b32encode(_bytes(text)).decode()),
    ("b32dec", "string", _decode32),
    ("sha1sum", "string", lambda text: hashlib.sha1(_bytes(text)).hexdigest()),
    ("sha256sum", "string", lambda text: hashlib.sha256(_bytes(text)).hexdigest()),
    ("adler32sum", "string", lambda text: str(zlib.adler32(_bytes(text)))),
)
