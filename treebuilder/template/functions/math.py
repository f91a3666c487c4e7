"""sprig's arithmetic: int64 that wraps around, or float64."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fractions import Fraction

from treebuilder.template.faults import TemplateFault
from treebuilder.template.functions.calendar import wrap
from treebuilder.template.functions.signature import GoFunction, table
from treebuilder.template.values import Int64, NamedInt, text_of

_HALF = 1 << 63
_INT = re.compile(
    r"[+-]?(?:0[xX]_?[0-9a-fA-F_]*[0-9a-fA-F]|0[bB]_?[01_]*[01]|0[oO]?_?[0-7_]*[0-7]|0|[1-9](?:[0-9_]*[0-9])?)"
)
_FLOAT = re.compile(
    r"[+-]?(?:(?:[0-9](?:_?[0-9])*\.?(?:[0-9](?:_?[0-9])*)?|\.[0-9](?:_?[0-9])*)(?:[eE][+-]?[0-9]+)?|inf(?:inity)?|nan)",
    re.IGNORECASE,
)
_HEX_FLOAT = re.compile(r"[+-]?0[xX](?:[0-9a-fA-F_]+\.?[0-9a-fA-F_]*|\.[0-9a-fA-F_]+)[pP][+-]?[0-9]+")
_OCTAL = re.compile(r"[+-]?[0-7]+")
_DECIMAL = re.compile(r"[+-]?[0-9]+")
_ZEROS = re.compile(r"\.0+\Z")
_PLACES = 10**16


def wrap64(value: int) -> Int64:
    """The value as an int64: what does not fit wraps around."""
    return Int64(wrap(value))


def to_int(value: object) -> int:
    """spf13/cast.ToInt64: texts are read in any base, what cannot be read is 0."""
    match value:
        case NamedInt() if value.go_kind != "int":
            return 0  # cast knows months and weekdays, but no durations
        case bool() | int():
            return wrap(value)
        case float():
            return int(value) if -_HALF <= value < _HALF else -_HALF
        case str():
            return parse_int(_ZEROS.sub("", value)) or 0
        case _:
            return 0


def to_float(value: object) -> float:
    """spf13/cast.ToFloat64."""
    match value:
        case NamedInt() if value.go_kind != "int":
            return 0.0
        case bool() | int() | float():
            return float(value)
        case str():
            return _parse_float(value)
        case _:
            return 0.0


def parse_int(text: str) -> int | None:
    """strconv.ParseInt of any base, by its prefix; None for what is no int64."""
    if len(text) > 100 or not _INT.fullmatch(text) or "__" in text:
        return None
    digits = text.lstrip("+-").replace("_", "")
    is_octal = len(digits) > 1 and digits[0] == "0" and digits[1] in "01234567"
    value = int(digits, 8 if is_octal else 0) if not is_octal or digits.strip("01234567") == "" else _HALF * 2
    value = -value if text[0] == "-" else value
    return value if -_HALF <= value < _HALF else None


def _parse_float(text: str) -> float:
    """strconv.ParseFloat; 0 for what it refuses, and for what is too large."""
    if _HEX_FLOAT.fullmatch(text) and "__" not in text:
        try:
            return float.fromhex(text.replace("_", ""))
        except OverflowError:
            return 0.0
    if not _FLOAT.fullmatch(text):
        return 0.0
    value = float(text.replace("_", ""))
    return value if math.isfinite(value) or text.lstrip("+-")[:1] in "iInN" else 0.0


def _atoi(text: str) -> int:
    """strconv.Atoi, whose value is used even if it says that the number is too large."""
    if not _DECIMAL.fullmatch(text):
        return 0
    number = int(text.lstrip("+-").lstrip("0")[:20] or 0)  # Python reads no number of thousands of digits
    return max(-_HALF, -number) if text[0] == "-" else min(number, _HALF - 1)


def _div(left: object, right: object) -> Int64:
    a, b = to_int(left), to_int(right)
    if b == 0:
        raise TemplateFault("division by zero")
    quotient = abs(a) // abs(b)
    return wrap64(quotient if (a < 0) == (b < 0) else -quotient)


def _mod(left: object, right: object) -> Int64:
    a, b = to_int(left), to_int(right)
    if b == 0:
        raise TemplateFault("division by zero")
    rest = abs(a) % abs(b)
    return wrap64(-rest if a < 0 else rest)


def _mul(first: object, *others: object) -> Int64:
    value = to_int(first)
    for other in others:
        value = wrap64(value * to_int(other))
    return wrap64(value)


def _fraction(value: object) -> Fraction:
    """The shortest digits of a float64, exactly."""
    number = to_float(value)
    if not math.isfinite(number):
        raise TemplateFault("no decimal number is infinite")
    return Fraction(repr(number))


def _divided(left: Fraction, right: Fraction) -> Fraction:
    """Sixteen decimals, half of the last one away from zero."""
    quotient = abs(left / right) * _PLACES
    rounded = Fraction(int(quotient + Fraction(1, 2)), _PLACES)
    return rounded if (left < 0) == (right < 0) else -rounded


def _decimals(operation: Callable[[Fraction, Fraction], Fraction]) -> Callable[..., float]:
    def run(first: object, *others: object) -> float:
        value = _fraction(first)
        for other in others:
            try:
                value = operation(value, _fraction(other))
            except ZeroDivisionError:
                raise TemplateFault("division by zero") from None
        try:
            return float(value)
        except OverflowError:
            return math.copysign(math.inf, value)

    return run


def _whole(value: float, change: Callable[[float], int]) -> float:
    return math.copysign(change(value), value) if math.isfinite(value) else value


def _power_of_ten(exponent: int) -> float:
    """math.Pow(10, …) by Go's own steps: its last bit is not always that of the nearest float."""
    if abs(exponent) > 400:
        return math.inf if exponent > 0 else 0.0
    mantissa, power, factor, shift = 1.0, 0, *math.frexp(10.0)
    left = abs(exponent)
    while left:
        if left & 1:
            mantissa, power = mantissa * factor, power + shift
        factor, shift = factor * factor, shift * 2
        if factor < 0.5:
            factor, shift = factor * 2, shift - 1
        left >>= 1
    if exponent < 0:
        mantissa, power = 1 / mantissa, -power
    try:
        return math.ldexp(mantissa, power)
    except OverflowError:
        return math.inf


def _round(value: object, places: int, *half: float) -> float:
    """Rounds to `places` decimals; the optional fraction says where rounding up begins (0.5)."""
    number = to_float(value)
    up_from = half[0] if half else 0.5
    power = _power_of_ten(places)
    digit = power * number
    if not power or not math.isfinite(digit):
        return digit / power if power and math.isfinite(power) else math.nan
    fraction = math.fmod(digit, 1)
    return math.copysign(math.ceil(digit) if fraction >= up_from else math.floor(digit), digit) / power


def _to_decimal(value: object) -> Int64:
    text = text_of(value)
    number = int(text, 8) if _OCTAL.fullmatch(text) else 0
    return Int64(number if -_HALF <= number < _HALF else 0)


_add = _decimals(lambda a, b: a + b)

MATH: dict[str, GoFunction] = table(
    ("atoi", "string", _atoi),
    ("int", "any", to_int),
    ("int64", "any", lambda value: wrap64(to_int(value))),
    ("float64", "any", to_float),
    ("toDecimal", "any", _to_decimal),
    ("add1", "any", lambda value: wrap64(to_int(value) + 1)),
    ("add", "any...", lambda *values: wrap64(sum(to_int(value) for value in values))),
    ("sub", "any any", lambda left, right: wrap64(to_int(left) - to_int(right))),
    ("div", "any any", _div),
    ("mod", "any any", _mod),
    ("mul", "any any...", _mul),
    ("add1f", "any", lambda value: _add(value, 1)),
    ("addf", "any...", lambda *values: _add(0, *values)),
    ("subf", "any any...", _decimals(lambda a, b: a - b)),
    ("divf", "any any...", _decimals(_divided)),
    ("mulf", "any any...", _decimals(lambda a, b: a * b)),
    ("max biggest", "any any...", lambda *values: wrap64(max(to_int(value) for value in values))),
    ("min", "any any...", lambda *values: wrap64(min(to_int(value) for value in values))),
    ("maxf", "any any...", lambda *values: max(to_float(value) for value in values)),
    ("minf", "any any...", lambda *values: min(to_float(value) for value in values)),
    ("ceil", "any", lambda value: _whole(to_float(value), math.ceil)),
    ("floor", "any", lambda value: _whole(to_float(value), math.floor)),
    ("round", "any int float...", _round),
)
