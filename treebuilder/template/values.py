"""Go's view of the values a template meets: kinds, truth, printing, fields, comparison.

Values are None, bool, int, float, str, bytes, list, dict and the few objects of `GoObject`. A Go int64 is the int
subclass `Int64`, because templates can ask for it (`kindOf`). Python's truth is Go's for all of them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from treebuilder.annotations import cast
from treebuilder.model.novalue import NO_VALUE
from treebuilder.nodes.node import Key
from treebuilder.template.faults import TemplateFault

MAX_TEXT = 4 * 1024 * 1024
MAX_PARTS = 500_000
_EXPONENT_AT = 6
_INT64 = 1 << 63
_ESCAPED = re.compile("[\udc80-\udcff]")


class Int64(int):
    """What sprig's arithmetic returns."""


class Uint64(int):
    """`uint64`, as versions have it; a whole number that no int64 holds is one as well."""


class Uint8(Uint64):
    """`uint8`: a byte of a text or of bytes."""


class NamedInt(int):
    """A Go number with a name and methods (a month, a duration). Its subclasses say what it is."""

    go_type: str
    go_kind = "int"

    def go_text(self) -> str:
        """What printing it gives: the number, where a type has no `String` method of its own (Go's fmt)."""
        return int.__repr__(self)

    def go_field(self, name: str) -> object:
        """A method. Raises KeyError."""
        raise KeyError(name)


class AnyMap(dict[object, object]):
    """`map[interface {}]interface {}`: a map inside a YAML file's values. A plain dict is `map[string]interface {}`."""

    go_type = "map[interface {}]interface {}"


class NilMap(dict[object, object]):
    """A nil `map[string]interface {}`: empty, and `null` in JSON."""


class TextMap(dict[object, object]):
    """`map[string]string`: what `split` gives; a field that is missing is an empty text."""

    go_type = "map[string]string"


class TextList(list[object]):
    """`[]string`."""

    go_type = "[]string"


class IntList(list[object]):
    """`[]int`."""

    go_type = "[]int"


class ListList(list[object]):
    """`[][]interface {}`: what `chunk` gives."""

    go_type = "[][]interface {}"


class NilList(list[object]):
    """A nil slice: empty, and `null` in JSON."""

    go_type = "[]interface {}"


class NilTextList(TextList):
    """A nil slice of texts."""


class GoObject:
    """A Go struct with fields or methods (a time, a version). Its subclasses say what they are."""

    go_type: str

    def go_field(self, name: str) -> object:
        """A field's value, or the function of a method. Raises KeyError."""
        raise KeyError(name)

    def go_text(self) -> str:
        """What printing it gives."""
        return self.go_type

    def go_syntax(self) -> str:
        """What `%#v` gives."""
        return self.go_type

    def go_marshal(self) -> object:
        """The plainer value that JSON, YAML and TOML have for it. Raises TemplateFault."""
        raise TemplateFault(f"json: unsupported type: {self.go_type}")


def decoded(data: bytes) -> str:
    """Bytes as a text: one U+FFFD for each that is no UTF-8, as Go shows them."""
    return _ESCAPED.sub("\ufffd", data.decode("utf-8", "surrogateescape"))


_NILS = NilList | NilTextList | NilMap


def kind_of(value: object) -> str:
    """reflect.Kind's word."""
    match value:
        case None:
            return "invalid"
        case bool():
            return "bool"
        case Int64():
            return "int64"
        case NamedInt():
            return value.go_kind
        case int():
            return ("uint8" if isinstance(value, Uint8) else "uint64") if is_unsigned(value) else "int"
        case float():
            return "float64"
        case complex():
            return "complex128"
        case str():
            return "string"
        case bytes() | list() | tuple():
            return "slice"
        case dict():
            return "map"
        case GoObject():
            return "ptr" if value.go_type.startswith("*") else "struct"
        case _:
            return "func"


def is_unsigned(value: int) -> bool:
    """Whether Go has a number without a sign for it."""
    return value >= _INT64 or isinstance(value, Uint64)


def type_of(value: object) -> str:
    """`%T`."""
    match value:
        case None:
            return "<nil>"
        case NamedInt():
            return value.go_type
        case bytes():
            return "[]uint8"
        case list() | tuple():
            return str(getattr(value, "go_type", "[]interface {}"))
        case dict():
            return str(getattr(value, "go_type", "map[string]interface {}"))
        case complex():
            return "complex128"
        case GoObject():
            return value.go_type
        case _:
            return kind_of(value)


def print_float(value: float, *, sign: bool = False) -> str:
    """`%v` of a float64, or `%+v` with `sign`."""
    text = _unsigned_float(value)
    return f"+{text}" if sign and text[0] not in "+-" else text


def _unsigned_float(value: float) -> str:
    """`%v` of a float64: the shortest digits, with an exponent below 1e-4 and from 1e6 on (`1e+06`)."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    digits, _, power = f"{value!r}".lstrip("-").partition("e")
    whole, _, fraction = digits.partition(".")
    fraction = "" if fraction == "0" else fraction
    exponent = int(power or 0)
    all_digits = (whole + fraction).lstrip("0")
    leading = len(whole + fraction) - len(all_digits)
    point = len(whole) - leading + exponent  # the number is 0.all_digits * 10**point
    all_digits = all_digits.rstrip("0")
    sign = "-" if value < 0 else ""
    if point - 1 < -4 or point - 1 >= _EXPONENT_AT:
        mantissa = all_digits[0] + ("." + all_digits[1:] if len(all_digits) > 1 else "")
        return f"{sign}{mantissa}e{'-' if point <= 0 else '+'}{abs(point - 1):02d}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{all_digits}"
    if len(all_digits) <= point:
        return f"{sign}{all_digits}{'0' * (point - len(all_digits))}"
    return f"{sign}{all_digits[:point]}.{all_digits[point:]}"


def show(value: object) -> str:
    """What an action prints. Raises TemplateFault for a value that is too large."""
    if value is None:
        return NO_VALUE
    return text_of(value)


def text_of(value: object) -> str:
    """fmt.Sprint of one value: nil is `<nil>` here."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict | list | tuple):
        weigh(value)
    return _text(value)


def _text(value: object) -> str:
    match value:
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case NamedInt():
            return value.go_text()
        case int():
            return int.__repr__(value)
        case float():
            return print_float(value)
        case complex():
            return f"({print_float(value.real)}{print_float(value.imag, sign=True)}i)"
        case str():
            return value
        case bytes():
            return "[" + " ".join(str(byte) for byte in value) + "]"
        case list() | tuple():
            return "[" + " ".join(_text(item) for item in value) + "]"
        case dict():
            return "map[" + " ".join(f"{_text(k)}:{_text(v)}" for k, v in sorted_items(value)) + "]"
        case GoObject():
            return value.go_text()
        case _:
            raise TemplateFault("can't print a function")


def key_of(key: object) -> object:
    """What a key is to Go: a number or a truth that YAML has for a key is no text."""
    return key.value if isinstance(key, Key) else key


def sorted_items(value: dict[object, object]) -> list[tuple[object, object]]:
    """Entries in key order; keys of several types by the names of these, as they lie in Go's programs."""
    return sorted(((key_of(key), item) for key, item in value.items()), key=lambda entry: _rank(entry[0]))


def text_items(value: dict[object, object]) -> list[tuple[str, object]]:
    """Entries in the order of their keys as texts."""
    return sorted(((text_of(key_of(key)), item) for key, item in value.items()), key=lambda entry: entry[0])


def _rank(key: object) -> tuple[str, int | float, str]:
    return (kind_of(key), key, "") if isinstance(key, int | float) else ("" if key is None else "string", 0, str(key))


def weigh(value: object) -> None:
    """Counts the parts of a value. Raises TemplateFault for one that never ends or would fill the memory."""
    left = MAX_PARTS
    open_: list[Iterator[object]] = [iter((value,))]
    while open_:
        for part in open_[-1]:
            left -= 1 + (len(part) >> 3 if isinstance(part, str) else 0)
            if left < 0 or len(open_) > 500:
                raise TemplateFault("a value is too large or contains itself")
            if isinstance(part, dict):
                open_.append(iter(cast("dict[object, object]", part).values()))
                break
            if isinstance(part, list | tuple):
                open_.append(iter(part))
                break
        else:
            open_.pop()


def field(value: object, name: str) -> object:
    """`.name` of a value; None where a map lacks it or the value is nil. Raises TemplateFault."""
    match value:
        case dict():
            return value.get(name, "" if isinstance(value, TextMap) else None)
        case None:
            return None
        case GoObject() | NamedInt():
            try:
                return value.go_field(name)
            except KeyError:
                raise TemplateFault(f"can't evaluate field {name} in type {value.go_type}") from None
        case _:
            raise TemplateFault(f"can't evaluate field {name} in a value of type {type_of(value)}")


def basic_kind(value: object) -> str:
    """The class of comparable values: text/template's basicKind. Raises TemplateFault for others."""
    match value:
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "float"
        case complex():
            return "complex"
        case str():
            return "string"
        case _:
            raise TemplateFault(f"invalid type for comparison: {type_of(value)}")


def equal(left: object, right: object) -> bool:
    """`eq` of two values: nil equals only nil, also that of a list or map, different kinds cannot be compared."""
    if left is None or right is None:
        return isinstance(left, _NILS | None) and isinstance(right, _NILS | None)
    nils = isinstance(left, _NILS), isinstance(right, _NILS)
    if any(nils) and all(isinstance(value, dict | list) for value in (left, right)):
        return nils == (True, True)
    for value in (left, right):
        if isinstance(value, dict | list | tuple | bytes):
            raise TemplateFault(f"uncomparable type {type_of(value)}: {text_of(value)[:200]}")
    if isinstance(left, GoObject) and isinstance(right, GoObject):
        return left is right if left.go_type.startswith("*") else left == right
    if basic_kind(left) != basic_kind(right):
        raise TemplateFault(
            f"incompatible types for comparison: {type_of(left)} ({text_of(left)}) and "
            f"{type_of(right)} ({text_of(right)})"
        )
    return left == right


def less(left: object, right: object) -> bool:
    """`lt` of two numbers or texts. Raises TemplateFault."""
    if basic_kind(left) in ("bool", "complex"):
        raise TemplateFault(f"values of type {type_of(left)} have no order")
    if basic_kind(left) != basic_kind(right):
        raise TemplateFault(
            f"incompatible types for comparison: {type_of(left)} ({text_of(left)}) and "
            f"{type_of(right)} ({text_of(right)})"
        )
    return left < right  # type: ignore[operator, no-any-return]
