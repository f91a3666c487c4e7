"""What Go says of broken JSON and YAML: luet's functions put it into the text that is rendered."""

from __future__ import annotations

import re

from treebuilder.errors import SpecError
from treebuilder.nodes import Node
from treebuilder.template.printf import quote

_END = "unexpected end of JSON input"
_SPACES = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'(?:[^"\\\x00-\x1f]+|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*')
_DIGITS = re.compile(r"[0-9]+")
_HEX = re.compile(r"[0-9a-fA-F]*")
_WORDS = {"t": "true", "f": "false", "n": "null"}
_ALIAS = re.compile(r"[\w-]*")
_BREAKS = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # of lines to YAML, whose marks count no byte order mark
_SHOWN = 10  # of a plain value, in bytes
_SAID = {
    "an alias that contains itself": "anchor value contains itself",
    "the file's aliases expand to too many values": "document contains excessive aliasing",
    "<< merges a map or a list of maps": "map merge requires map or sequence of maps as the value",
}


class _Fault(Exception):
    """Says what is wrong."""


def json_fault(text: str) -> str:
    """The fault of a text's JSON in the words of encoding/json; "" for a text without one."""
    try:
        _read(text)
    except _Fault as fault:
        return str(fault)
    return ""


def _read(text: str) -> None:
    """Walks over a JSON value as encoding/json's scanner does, which sees a space behind the end. Raises _Fault."""
    text += " "
    at, due = 0, "value"
    inside: list[str] = []  # the letter of each list and map that is open
    while True:
        at = _SPACES.match(text, at).end()  # type: ignore[union-attr]
        char = text[at : at + 1]
        if not char:
            if due == "next" and not inside:
                return
            raise _Fault(_END)
        if (char, due) in (("]", "value or end"), ("}", "key or end")):
            at, due = at + 1, "next"
            inside.pop()
        elif due.startswith("value"):
            if char in "[{":
                at, due = at + 1, "value or end" if char == "[" else "key or end"
                inside.append(char)
            else:
                at, due = _scalar(text, at), "next"
        elif due.startswith("key"):
            if char != '"':
                raise _wrong(char, "looking for beginning of object key string")
            at, due = _string(text, at), "colon"
        elif due == "colon":
            if char != ":":
                raise _wrong(char, "after object key")
            at, due = at + 1, "value"
        elif not inside:
            raise _wrong(char, "after top-level value")
        elif char == ",":
            at, due = at + 1, "value" if inside[-1] == "[" else "key"
        elif char == ("]" if inside[-1] == "[" else "}"):
            at += 1
            inside.pop()
        else:
            raise _wrong(char, "after array element" if inside[-1] == "[" else "after object key:value pair")


def _wrong(char: str, where: str) -> _Fault:
    """Go reads bytes: of a character outside of ASCII it shows the first, and a byte that is no UTF-8 as it is."""
    escaped = "\udc80" <= char <= "\udcff"
    char = chr(ord(char) - 0xDC00 if escaped else char.encode("utf-8", "surrogatepass")[0])
    shown = {"'": "\\'", '"': '"'}.get(char) or quote(char)[1:-1]
    return _Fault(f"invalid character '{shown}' {where}")


def _scalar(text: str, at: int) -> int:
    char = text[at]
    if char == '"':
        return _string(text, at)
    if char in _WORDS:
        for number, letter in enumerate(_WORDS[char]):
            if text[at + number] != letter:
                raise _wrong(text[at + number], f"in literal {_WORDS[char]} (expecting '{letter}')")
        return at + len(_WORDS[char])
    if char == "-":
        at += 1
        if not "0" <= text[at] <= "9":
            raise _wrong(text[at], "in numeric literal")
    elif not "0" <= char <= "9":
        raise _wrong(char, "looking for beginning of value")
    at = at + 1 if text[at] == "0" else _digits(text, at, "")
    if text[at] == ".":
        at = _digits(text, at + 1, "after decimal point in numeric literal")
    if text[at] in "eE":
        at += 2 if text[at + 1] in "+-" else 1
        at = _digits(text, at, "in exponent of numeric literal")
    return at


def _digits(text: str, at: int, where: str) -> int:
    found = _DIGITS.match(text, at)
    if found is None:
        raise _wrong(text[at], where)
    return found.end()


def _string(text: str, at: int) -> int:
    at = _STRING.match(text, at + 1).end()  # type: ignore[union-attr]
    if at == len(text):
        raise _Fault(_END)
    if text[at] == '"':
        return at + 1
    if text[at] != "\\":
        raise _wrong(text[at], "in string literal")
    if text[at + 1] != "u":
        raise _wrong(text[at + 1], "in string escape code")
    raise _wrong(text[_HEX.match(text, at + 2).end()], "in \\u hexadecimal character escape")  # type: ignore[union-attr]


def yaml_fault(err: SpecError, text: str) -> str:
    """The fault of a YAML text in the words of yaml.v2, which hardly ever has a line for the first one."""
    cause = err.__cause__
    mark, problem = getattr(cause, "problem_mark", None), getattr(cause, "problem", None)
    if problem == "found undefined alias" and mark is not None:
        lines = _BREAKS.split(text.removeprefix("\ufeff"))
        name = _ALIAS.match(lines[mark.line], mark.column + 1)
        return f"yaml: unknown anchor '{name.group() if name else ''}' referenced"
    if problem:
        line = mark.line + (type(cause).__name__ == "ScannerError") if mark is not None and mark.line else 0
        if not line and getattr(cause, "context_mark", None) is not None:
            line = cause.context_mark.line  # type: ignore[union-attr]
        return f"yaml: {f'line {line}: ' if line else ''}{problem}"
    if err.message == "broken YAML: a control character":
        return "yaml: control characters are not allowed"
    said = err.message.removeprefix("broken YAML: ")
    return f"yaml: {_SAID.get(said, said)}"


def yaml_kind_fault(found: Node, wanted: str) -> str:
    """What yaml.v2 says of a value that is not of the Go type that is wanted."""
    tag = {"list": "!!seq", "map": "!!map", "boolean": "!!bool", "text": "!!str"}.get(found.kind)
    tag = tag or ("!!int" if isinstance(found.value, int) else "!!float")
    shown = ""
    if found.kind not in ("list", "map"):
        data = found.written.encode("utf-8", "surrogatepass")
        shown = data.decode() if len(data) <= _SHOWN else data[: _SHOWN - 3].decode("utf-8", "replace") + "..."
        shown = f" `{shown}`"
    return f"yaml: unmarshal errors:\n  line {found.place.line}: cannot unmarshal {tag}{shown} into {wanted}"
