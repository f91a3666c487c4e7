"""fmt.Sprintf and fmt.Sprint over template values, with Go's marks for wrong arguments (`%!d(string=x)`).

Source: https://pkg.go.dev/fmt. Verbs: v T t d b o O x X c q U e E f F g G s p, the flags `+-# 0`, width, precision,
`*` and `[n]`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from treebuilder.records import record
from treebuilder.template.faults import TemplateFault
from treebuilder.template.values import GoObject, print_float, sorted_items, text_of, type_of, weigh

_DIRECTIVE = re.compile(
    r"%([+\-# 0]*)((?:\[\d+\])?(?:\*|\d+)?)(?:\.((?:\[\d+\])?(?:\*|\d*)))?(\[\d+\])?(.)?", re.DOTALL
)
_MAX_WIDTH = 1_000_000
_GO_ESCAPES = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v",
    "\\": "\\\\", '"': '\\"',
}  # fmt: skip


@record
class _Spec:
    flags: str
    width: int | None
    precision: int | None
    verb: str

    def has(self, flag: str) -> bool:
        return flag in self.flags


def sprint(values: Sequence[object]) -> str:
    """Operands after one another, with a space between two that are both no text."""
    pieces: list[str] = []
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            pieces.append(" ")
        pieces.append(text_of(value))
    return "".join(pieces)


def sprintln(values: Sequence[object]) -> str:
    return " ".join(text_of(value) for value in values) + "\n"


def sprintf(template: str, values: Sequence[object]) -> str:
    """Raises TemplateFault for a width that is absurd; wrong arguments are marked in the text, as Go does."""
    return _Formatter(template, values).run()


def quote(text: str) -> str:
    """strconv.Quote."""
    pieces = [_GO_ESCAPES.get(char) or (char if char.isprintable() else _escape(char)) for char in text]
    return f'"{"".join(pieces)}"'


def _escape(char: str) -> str:
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class _Formatter:
    def __init__(self, template: str, values: Sequence[object]) -> None:
        self._template = template
        self._values = values
        self._next = 0
        self._reordered = False

    def run(self) -> str:
        pieces: list[str] = []
        position = 0
        for found in _DIRECTIVE.finditer(self._template):
            if found.start() < position:
                continue
            pieces.append(self._template[position : found.start()])
            pieces.append(self._directive(found))
            position = found.end()
        pieces.append(self._template[position:])
        if not self._reordered and self._next < len(self._values):
            extra = ", ".join(
                "<nil>" if value is None else f"{type_of(value)}={text_of(value)}"
                for value in self._values[self._next :]
            )
            pieces.append(f"%!(EXTRA {extra})")
        return "".join(pieces)

    def _size(self, text: str | None) -> int | None:
        if not text:
            return None
        if text.startswith("["):
            index, _, text = text[1:].partition("]")
            self._next = int(index) - 1
            self._reordered = True
        if text == "*":
            value = self._take()
            if not isinstance(value, int) or isinstance(value, bool):
                return None
            size = int(value)
        else:
            size = int(text) if text else 0
        if abs(size) > _MAX_WIDTH:
            raise TemplateFault(f"printf: a width of {size}")
        return size

    def _take(self) -> object:
        if self._next >= len(self._values):
            raise IndexError
        value = self._values[self._next]
        self._next += 1
        return value

    def _directive(self, found: re.Match[str]) -> str:
        flags, width_text, precision_text, index, verb = found.groups()
        if verb is None:
            return "%!(NOVERB)"
        try:
            width = self._size(width_text)
            precision = None if precision_text is None else self._size(precision_text) or 0
            if index:
                self._next = int(index[1:-1]) - 1
                self._reordered = True
                if self._next >= len(self._values):
                    return f"%!{verb}(BADINDEX)"
            if verb == "%":
                return "%"
            value = self._take()
        except IndexError:
            return f"%!{verb}(MISSING)"
        if width is not None and width < 0:
            flags, width = flags + "-", -width
        if "-" in flags:
            flags = flags.replace("0", "")
        return _format(_Spec(flags, width, precision, verb), value)


def _pad(spec: _Spec, text: str, *, zero: bool = False) -> str:
    missing = (spec.width or 0) - len(text)
    if missing <= 0:
        return text
    if spec.has("-"):
        return text + " " * missing
    if zero and spec.has("0"):
        sign = text[:1] if text[:1] in ("+", "-", " ") else ""
        return sign + "0" * missing + text[len(sign) :]
    return ("0" if spec.has("0") else " ") * missing + text


def _bad(spec: _Spec, value: object) -> str:
    if value is None:
        return f"%!{spec.verb}(<nil>)"
    return f"%!{spec.verb}({type_of(value)}={text_of(value)})"


def _format(spec: _Spec, value: object) -> str:
    if spec.verb == "T":
        return _pad(spec, type_of(value))
    if spec.verb == "v" and spec.has("#"):
        return _pad(spec, _go_syntax(value))
    match value:
        case None:
            return _pad(spec, "<nil>") if spec.verb == "v" else _bad(spec, value)
        case bool():
            return _pad(spec, text_of(value)) if spec.verb in "vt" else _bad(spec, value)
        case int():
            return _integer(spec, int(value))
        case float():
            return _real(spec, value)
        case str():
            return _string(spec, value)
        case GoObject():
            return _string(spec, text_of(value))
        case _:
            return _collection(spec, value)


def _integer(spec: _Spec, value: int) -> str:
    bases = {"d": "d", "v": "d", "b": "b", "o": "o", "O": "o", "x": "x", "X": "X"}
    match spec.verb:
        case "c":
            return _pad(spec, chr(value) if 0 <= value < 0x110000 else "\ufffd")
        case "q":
            char = chr(value) if 0 <= value < 0x110000 else "\ufffd"
            inner = quote(char)[1:-1].replace('\\"', '"')
            return _pad(spec, "'\\''" if char == "'" else f"'{inner}'")
        case "U":
            return _pad(spec, f"U+{value:04X}")
        case verb if verb in bases:
            digits = format(abs(value), bases[verb])
            if spec.precision is not None:
                digits = "" if spec.precision == 0 and value == 0 else digits.rjust(spec.precision, "0")
            prefix = "0o" if verb == "O" else ""
            if spec.has("#"):
                prefix = {"x": "0x", "X": "0X", "o": "0", "b": "0b", "O": "0o"}.get(verb, "")
            sign = "-" if value < 0 else "+" if spec.has("+") else " " if spec.has(" ") else ""
            return _pad(spec, sign + prefix + digits, zero=spec.precision is None)
        case _:
            return _bad(spec, value)


def _real(spec: _Spec, value: float) -> str:
    match spec.verb:
        case "v" | "g" | "G":
            if spec.precision is None:
                text = print_float(value)
            else:
                text = _exponent(format(value, f".{spec.precision or 1}g"))
            text = text.upper() if spec.verb == "G" else text
        case "e" | "E" | "f" | "F":
            text = format(value, f".{6 if spec.precision is None else spec.precision}{spec.verb}")
            text = text.replace("inf", "Inf").replace("nan", "NaN") if spec.verb != "E" else text
        case _:
            return _bad(spec, value)
    if not text.startswith(("-", "+")):
        text = ("+" if spec.has("+") else " " if spec.has(" ") else "") + text
    elif text.startswith("+Inf") and not spec.has("+") and spec.verb not in "vgG":
        text = "+Inf"
    return _pad(spec, text, zero=True)


def _exponent(text: str) -> str:
    """Python writes 1e+06 as Go does, but without digits it may write 1e+6 for `%g`; Go always has two digits."""
    mantissa, mark, power = text.partition("e")
    return f"{mantissa}e{power[0]}{power[1:].rjust(2, '0')}" if mark else text


def _string(spec: _Spec, value: str) -> str:
    match spec.verb:
        case "s" | "v":
            return _pad(spec, value if spec.precision is None else value[: spec.precision])
        case "q":
            cut = value if spec.precision is None else value[: spec.precision]
            raw = spec.has("#") and "`" not in cut and "\n" not in cut
            return _pad(spec, f"`{cut}`" if raw else quote(cut))
        case "x" | "X":
            text = value.encode("utf-8", "surrogatepass").hex(" ") if spec.has(" ") else value.encode().hex()
            return _pad(spec, text.upper() if spec.verb == "X" else text)
        case _:
            return _bad(spec, value)


def _collection(spec: _Spec, value: object) -> str:
    """Verbs go down into lists and maps."""
    weigh(value)
    match value:
        case bytes():
            if spec.verb in "sqxX":
                return _string(spec, value.decode("utf-8", "replace"))
            return "[" + " ".join(_format(spec, byte) for byte in value) + "]"
        case list() | tuple():
            return "[" + " ".join(_format(spec, item) for item in value) + "]"
        case dict():
            pairs = (f"{_format(spec, key)}:{_format(spec, item)}" for key, item in sorted_items(value))
            return "map[" + " ".join(pairs) + "]"
        case _:
            raise TemplateFault("can't print a function")


def _go_syntax(value: object) -> str:
    """`%#v`."""
    weigh(value)
    match value:
        case None:
            return "<nil>"
        case str():
            return quote(value)
        case bytes():
            return "[]byte{" + ", ".join(f"0x{byte:x}" for byte in value) + "}"
        case list() | tuple():
            return f"{type_of(value)}{{" + ", ".join(_nested_syntax(item) for item in value) + "}"
        case dict():
            pairs = (f"{_nested_syntax(key)}:{_nested_syntax(item)}" for key, item in sorted_items(value))
            return f"{type_of(value)}{{" + ", ".join(pairs) + "}"
        case _:
            return text_of(value)


def _nested_syntax(value: object) -> str:
    return "interface {}(nil)" if value is None else _go_syntax(value)
