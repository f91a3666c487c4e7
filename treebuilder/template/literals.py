"""Go's literals: strings with escapes, raw strings, characters and numbers."""

from __future__ import annotations

import math
import re

from treebuilder.template.faults import TemplateFault

_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL)
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", "'": "'", '"': '"'}
_INT64 = 1 << 63
_OCTAL = re.compile(r"0[0-7]+\Z")
_BOTH = re.compile(r"(.+(?<![eEpP]))([+-].+)i")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_UNDERSCORES = re.compile(r"__|_\Z|_[.eEpPi]|[.eEpP+-]_")


def unquote(text: str) -> str:
    """The value of a quoted string or character literal, with its quotes. Raises TemplateFault."""
    return _unescape(text[1:-1], "'" if text[0] == '"' else '"')


def _unescape(body: str, other: str) -> str:
    """`other` is the kind of quote that is not escaped here."""
    if "\\" not in body:
        return body
    pieces: list[bytes] = []
    position = 0
    for found in _ESCAPE.finditer(body):
        pieces.append(body[position : found.start()].encode("utf-8", "surrogatepass"))
        position = found.end()
        byte, short, long, octal, simple = found.groups()
        if byte or octal:
            value = int(byte, 16) if byte else int(octal, 8)
            if value > 255:
                raise TemplateFault(f"the escape {found.group()} is no byte")
            pieces.append(bytes([value]))
        elif short or long:
            pieces.append(_rune(int(short or long, 16)).encode("utf-8"))
        elif simple in _SIMPLE and simple != other:
            pieces.append(_SIMPLE[simple].encode())
        else:
            raise TemplateFault(f"unknown escape {found.group()} in a string")
    pieces.append(body[position:].encode("utf-8", "surrogatepass"))
    return b"".join(pieces).decode("utf-8", "replace")


def _rune(code: int) -> str:
    if code > 0x10FFFF or 0xD800 <= code < 0xE000:
        raise TemplateFault(f"U+{code:X} is no character")
    return chr(code)


def character(text: str) -> int:
    """The code point of `'x'`."""
    value = unquote(text)
    if len(value) != 1:
        raise TemplateFault(f"{text} is not one character")
    return ord(value)


def number(text: str) -> int | float | complex:
    """An int64, a float64 or (with a final `i`) a complex128, as Go decides: a point, an exponent or a power makes a
    float."""
    if _UNDERSCORES.search(text):
        raise TemplateFault(f"{text} is no number")
    plain = text.replace("_", "")
    if plain.endswith("i"):
        both = _BOTH.fullmatch(plain)
        return complex(_decimal(text, both[1]) if both else 0, _decimal(text, both[2] if both else plain[:-1]))
    try:
        value = int(plain, 8) if _OCTAL.match(plain.lstrip("+-")) else int(plain, 0)
    except ValueError:
        return _float(text, plain)
    if not -_INT64 <= value < _INT64:
        raise TemplateFault(f"{text} is too large for a whole number")
    return value


def _decimal(text: str, plain: str) -> float:
    """A part of a complex number: it stays decimal, even behind a zero, and needs no point."""
    if not _DECIMAL.fullmatch(plain):
        return _float(text, plain)
    if not math.isfinite(float(plain)):
        raise TemplateFault(f"{text} is no number")
    return float(plain)


def _float(text: str, plain: str) -> float:
    is_hex = plain.lstrip("+-")[:2].lower() == "0x"
    try:
        if is_hex and "p" not in plain.lower():
            raise ValueError
        value = float.fromhex(plain) if is_hex else float(plain)
    except (ValueError, OverflowError):
        raise TemplateFault(f"{text} is no number") from None
    if value in (float("inf"), float("-inf")) or not any(c in plain for c in ".eEpP"):
        raise TemplateFault(f"{text} is no number")
    return value
