"""How fmt writes one value by a verb and its flags. Source: https://pkg.go.dev/fmt."""

from __future__ import annotations

import math

from treebuilder.annotations import NamedTuple
from treebuilder.template.faults import TemplateFault
from treebuilder.template.values import (
    GoObject,
    NamedInt,
    NilList,
    NilMap,
    NilTextList,
    Uint8,
    is_unsigned,
    print_float,
    sorted_items,
    type_of,
    weigh,
)

_ESCAPES = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\",
}  # fmt: skip
_BASES = {"v": "d", "d": "d", "b": "b", "o": "o", "O": "o", "x": "x", "X": "X"}
_PREFIXES = {"b": "0b", "x": "0x", "X": "0X"}


class Flags(NamedTuple):
    """What stands between `%` and the verb; `go_syntax` is `%#v`."""

    plus: bool = False
    minus: bool = False
    sharp: bool = False
    space: bool = False
    zero: bool = False
    width: int | None = None
    precision: int | None = None
    go_syntax: bool = False

    def changed(self, **changes: bool | int | None) -> Flags:
        return self._replace(**changes)  # type: ignore[arg-type]


def quote(text: str, *, ascii_only: bool = False) -> str:
    """strconv.Quote."""
    return f'"{"".join(_quoted(char, chr(34), ascii_only) for char in text)}"'


def _quoted(char: str, mark: str, ascii_only: bool) -> str:
    if char == mark:
        return "\\" + char
    if char in _ESCAPES:
        return _ESCAPES[char]
    code = ord(char)
    if char.isprintable() and (code < 0x80 or not ascii_only):
        return char
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def write(flags: Flags, verb: str, value: object) -> str:
    """One argument. Raises TemplateFault for a value that is too large."""
    if verb == "T":
        return _pad(flags, "<nil>") if value is None else _text(flags, "s", type_of(value))
    if value is None:
        return _pad(flags, "<nil>") if verb == "v" else f"%!{verb}(<nil>)"
    if isinstance(value, dict | list | tuple):
        weigh(value)
    return _wrong(flags, verb, value) if verb == "w" and type(value) is not bytes else _value(flags, verb, value)


def _value(flags: Flags, verb: str, value: object) -> str:
    match value:
        case None:
            return "interface {}(nil)" if flags.go_syntax else "<nil>"
        case bool():
            return _pad(flags, "true" if value else "false") if verb in "tv" else _wrong(flags, verb, value)
        case NamedInt() if verb in "vsxXq" and not flags.go_syntax:
            return _text(flags, verb, value.go_text())
        case int():
            return _integer(flags, verb, value)
        case float():
            return _real(flags, verb, value)
        case complex():
            return _complex(flags, verb, value)
        case str():
            return _text(flags, verb, value)
        case GoObject():
            if flags.go_syntax:
                return value.go_syntax()
            return _text(flags, verb, value.go_text()) if verb in "vsxXq" else _wrong(flags, verb, value)
        case bytes():
            if verb in "sxXq":
                return _text(flags, verb, value.decode("utf-8", "replace"))
            return _items(flags, verb, value, [Uint8(byte) for byte in value])
        case list() | tuple():
            return _items(flags, verb, value, list(value))
        case dict():
            return _map(flags, verb, value)
        case _:
            raise TemplateFault("can't print a function")


def _wrong(flags: Flags, verb: str, value: object) -> str:
    shown = _digits(flags, "v", value) if isinstance(value, NamedInt) else _value(flags, "v", value)
    return f"%!{verb}({type_of(value)}={shown})"


def _items(flags: Flags, verb: str, value: object, items: list[object]) -> str:
    parts = (_value(flags, verb, item) for item in items)
    if not flags.go_syntax:
        return "[" + " ".join(parts) + "]"
    if isinstance(value, NilList | NilTextList):
        return f"{type_of(value)}(nil)"
    name = "[]byte" if isinstance(value, bytes) else type_of(value)
    return f"{name}{{{', '.join(parts)}}}"


def _map(flags: Flags, verb: str, value: dict[object, object]) -> str:
    pairs = (f"{_value(flags, verb, key)}:{_value(flags, verb, item)}" for key, item in sorted_items(value))
    if not flags.go_syntax:
        return "map[" + " ".join(pairs) + "]"
    return f"{type_of(value)}(nil)" if isinstance(value, NilMap) else f"{type_of(value)}{{{', '.join(pairs)}}}"


# texts ----------------------------------------------------------------------------------------------------------
def _pad(flags: Flags, text: str) -> str:
    missing = (flags.width or 0) - len(text)
    if missing <= 0:
        return text
    if flags.minus:
        return text + " " * missing
    return ("0" if flags.zero else " ") * missing + text


def _text(flags: Flags, verb: str, value: str) -> str:
    cut = value if flags.precision is None else value[: flags.precision]
    match verb:
        case "v" if flags.go_syntax:
            return _pad(flags, quote(cut))
        case "s" | "v":
            return _pad(flags, cut)
        case "q":
            raw = flags.sharp and all(char == "\t" or (char >= " " and char not in "`\x7f\ufeff") for char in cut)
            return _pad(flags, f"`{cut}`" if raw else quote(cut, ascii_only=flags.plus))
        case "x" | "X":
            return _hex(flags, verb, value.encode("utf-8", "surrogatepass"))
        case _:
            return _wrong(flags, verb, value)


def _hex(flags: Flags, verb: str, data: bytes) -> str:
    data = data if flags.precision is None else data[: flags.precision]
    prefix = f"0{verb}" if flags.sharp and data else ""
    parts = [format(byte, f"02{verb}") for byte in data]
    text = prefix + (f" {prefix}" if flags.space else "").join(parts)
    return _pad(flags, text)


# numbers --------------------------------------------------------------------------------------------------------
def _integer(flags: Flags, verb: str, value: int) -> str:
    bare = flags._replace(zero=False)
    if verb == "v" and flags.go_syntax and is_unsigned(value):
        return _digits(flags._replace(sharp=True), "x", value)
    if verb in _BASES:
        return _digits(flags, verb, value)
    char = chr(value) if 0 <= value < 0x110000 and not 0xD800 <= value < 0xE000 else "\ufffd"
    match verb:
        case "c":
            return _pad(flags, char)
        case "q":
            return _pad(flags, "'" + _quoted(char, "'", flags.plus) + "'")
        case "U":
            number = value % (1 << 64)
            digits = format(number, "X").rjust(max(4, flags.precision or 0), "0")
            shown = f" '{char}'" if flags.sharp and number < 0x110000 and char.isprintable() else ""
            return _pad(bare, f"U+{digits}{shown}")
        case _:
            return _wrong(flags, verb, value)


def _digits(flags: Flags, verb: str, value: int) -> str:
    bare = flags._replace(zero=False)
    sign = "-" if value < 0 else "+" if flags.plus else " " if flags.space else ""
    least = flags.precision or 0
    if flags.precision == 0 and value == 0:
        return " " * (flags.width or 0)
    if flags.precision is None and flags.zero and flags.width is not None:
        least = flags.width - len(sign)
    digits = format(abs(value), _BASES[verb]).rjust(least, "0")
    prefix = _PREFIXES.get(verb, "") if flags.sharp else ""
    if verb in "oO":
        zero = "0" if flags.sharp and not digits.startswith("0") else ""
        prefix = ("0o" if verb == "O" else "") + zero
    return _pad(bare, sign + prefix + digits)


def _complex(flags: Flags, verb: str, value: complex) -> str:
    if verb not in "vbgGxXfFeE":
        return _wrong(flags, verb, value)
    return f"({_real(flags, verb, value.real)}{_real(flags._replace(plus=True), verb, value.imag)}i)"


def _real(flags: Flags, verb: str, value: float) -> str:
    if verb not in "vbgGxXfFeE":
        return _wrong(flags, verb, value)
    text = _decimal(flags, verb, value)
    sign = text[0] if text[0] in "+-" else "+"
    digits = text.lstrip("+-")
    if flags.space and sign == "+" and not flags.plus:
        sign = " "
    if not math.isfinite(value):
        shown = sign if sign != "+" or flags.plus else ""
        return _pad(flags._replace(zero=False), shown + digits)
    if flags.sharp and verb != "b":
        digits = _with_point(flags, verb, digits)
    if flags.plus or sign != "+":
        if flags.zero and flags.width is not None and flags.width > len(digits) + 1:
            return sign + digits.rjust(flags.width - 1, "0")
        return _pad(flags, sign + digits)
    return _pad(flags, digits)


def _decimal(flags: Flags, verb: str, value: float) -> str:
    """strconv.FormatFloat."""
    precision = flags.precision
    if not math.isfinite(value):
        return print_float(value)
    match verb:
        case "b":
            mantissa, power = _mantissa(value)
            return f"{'-' if math.copysign(1, value) < 0 else ''}{mantissa}p{power:+d}"
        case "x" | "X":
            text = _hexadecimal(value, precision)
            return text.upper() if verb == "X" else text
        case "e" | "E" | "f" | "F":
            return format(value, f".{6 if precision is None else precision}{verb}")
        case _:
            text = print_float(value) if precision is None else format(value, f".{precision or 1}g")
            return text.upper() if verb == "G" else text


def _mantissa(value: float) -> tuple[int, int]:
    """The 53 bits of a number as a whole number, and the power of two that goes with it."""
    if value == 0:
        return 0, -1074
    fraction, power = math.frexp(abs(value))
    shift = max(power - 53, -1074)
    return int(math.ldexp(fraction, power - shift)), shift


def _hexadecimal(value: float, precision: int | None) -> str:
    sign = "-" if math.copysign(1, value) < 0 else ""
    fraction, power = math.frexp(abs(value))
    bits, power = (int(math.ldexp(fraction, 53)), power - 1) if value else (0, 0)
    if precision is not None and precision < 13:
        unit = 1 << (52 - 4 * precision)
        half, rest = unit >> 1, bits & (unit - 1)
        bits -= rest
        if rest > half or (rest == half and bits & unit):
            bits += unit
        if bits >> 53:
            bits, power = bits >> 1, power + 1
    digits = format(bits & ((1 << 52) - 1), "013x")
    digits = digits.rstrip("0") if precision is None else digits[:precision].ljust(precision, "0")
    return f"{sign}0x{bits >> 52}{'.' if digits else ''}{digits}p{'-' if power < 0 else '+'}{abs(power):02d}"


def _with_point(flags: Flags, verb: str, text: str) -> str:
    """`#`: always a decimal point, and with `%g` the zeros at the end."""
    mark = "p" if verb in "xX" else "e"
    at = text.lower().find(mark)
    number, tail = (text, "") if at < 0 else (text[:at], text[at:])
    left = 0
    if verb in "vgGx":
        left = 6 if flags.precision is None else flags.precision
        seen = number.replace(".", "").lstrip("0")
        left -= len(seen) + (number == "0")
    return number + ("" if "." in number else ".") + "0" * max(left, 0) + tail
