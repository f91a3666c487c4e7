"""sprig's arithmetic: int64 that wraps around, or float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal, DivisionByZero, InvalidOperation

from treebuilder.template.faults import TemplateFault
from treebuilder.template.functions.signature import GoFunction, table
from treebuilder.template.values import Int64, text_of

_BITS = 1 << 64
_HALF = 1 << 63


def wrap64(value: int) -> Int64:
    """The value as an int64: what does not fit wraps around."""
    return Int64((value + _HALF) % _BITS - _HALF)


def to_int(value: object) -> int:
    """spf13/cast.ToInt64: texts are read in any base, what cannot be read is 0."""
    match value:
        case bool() | int():
            return int(value)
        case float():
            return 0 if math.isnan(value) or math.isinf(value) else int(value)
        case str():
            try:
                octal = len(value) > 1 and value.lstrip("+-").startswith("0") and value.lstrip("+-").isdigit()
                return int(value.strip("_"), 8 if octal else 0)
            except ValueError:
                return 0
        case _:
            return 0


def to_float(value: object) -> float:
    """spf13/cast.ToFloat64."""
    match value:
        case bool() | int() | float():
            return float(value)
        case str():
            try:
                return float(value)
            except ValueError:
                return 0.0
        case _:
            return 0.0


def _atoi(text: str) -> int:
    try:
        return (
            max(-_HALF, min(int(text), _HALF - 1)) if text.isascii() and "_" not in text and text.strip() == text else 0
        )
    except ValueError:
        return 0


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


def _decimal(value: object) -> Decimal:
    return Decimal(repr(to_float(value)))


def _decimals(operation: Callable[[Decimal, Decimal], Decimal]) -> Callable[..., float]:
    def run(first: object, *others: object) -> float:
        value = _decimal(first)
        for other in others:
            try:
                value = operation(value, _decimal(other))
            except (DivisionByZero, InvalidOperation):
                raise TemplateFault("division by zero") from None
        return float(value)

    return run


def _whole(value: float, change: Callable[[float], int]) -> float:
    return float(change(value)) if math.isfinite(value) else value


def _round(value: object, places: int, *half: float) -> float:
    """Rounds to `places` decimals; the optional fraction says where rounding up begins (0.5)."""
    number = to_float(value)
    if not math.isfinite(number):
        return number
    up_from = half[0] if half else 0.5
    power = math.pow(10, places)
    digit = power * number
    fraction = math.fmod(digit, 1)
    return (math.ceil(digit) if fraction >= up_from else math.floor(digit)) / power


def _to_decimal(value: object) -> Int64:
    try:
        return Int64(int(text_of(value), 8))
    except ValueError:
        return Int64(0)


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
    ("divf", "any any...", _decimals(lambda a, b: a / b)),
    ("mulf", "any any...", _decimals(lambda a, b: a * b)),
    ("max biggest", "any any...", lambda *values: wrap64(max(to_int(value) for value in values))),
    ("min", "any any...", lambda *values: wrap64(min(to_int(value) for value in values))),
    ("maxf", "any any...", lambda *values: max(to_float(value) for value in values)),
    ("minf", "any any...", lambda *values: min(to_float(value) for value in values)),
    ("ceil", "any", lambda value: _whole(to_float(value), math.ceil)),
    ("floor", "any", lambda value: _whole(to_float(value), math.floor)),
    ("round", "any int float...", _round),
)
