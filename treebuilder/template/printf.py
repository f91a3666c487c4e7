"""fmt.Sprintf and fmt.Sprint over template values, with Go's marks for wrong arguments (`%!d(string=x)`).

Source: https://pkg.go.dev/fmt. All verbs but `p`, the flags `+-# 0`, width, precision, `*` and `[n]`. How one value is
written is in `verbs`.
"""

from __future__ import annotations

from collections.abc import Sequence

from treebuilder.template.faults import TemplateFault
from treebuilder.template.values import MAX_TEXT, text_of, type_of
from treebuilder.template.verbs import Flags, quote, write

__all__ = ["quote", "sprint", "sprintf", "sprintln"]

_MAX_SIZE = 1_000_000
_DIGITS = frozenset("0123456789")


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
    """Wrong arguments are marked in the text, as Go does; a width above a million is no width there."""
    return _Formatter(template, values).run()


class _Formatter:
    """Goes over the template by `_at`, and over the values by `_next`."""

    def __init__(self, template: str, values: Sequence[object]) -> None:
        self._template = template
        self._values = values
        self._at = 0
        self._next = 0
        self._reordered = False
        self._is_good = True  # the argument number of this directive exists

    def run(self) -> str:
        pieces: list[str] = []
        template = self._template
        size = 0
        while True:
            percent = template.find("%", self._at)
            if percent < 0:
                pieces.append(template[self._at :])
                break
            pieces.append(template[self._at : percent])
            self._at = percent + 1
            self._directive(pieces)
            size += len(pieces[-1])
            if size > MAX_TEXT:
                raise TemplateFault(f"the result is larger than {MAX_TEXT >> 20} MiB")
        if not self._reordered and self._next < len(self._values):
            extra = ", ".join(
                "<nil>" if value is None else f"{type_of(value)}={text_of(value)}"
                for value in self._values[self._next :]
            )
            pieces.append(f"%!(EXTRA {extra})")
        return "".join(pieces)

    def _directive(self, pieces: list[str]) -> None:
        flags = self._flags()
        self._is_good = True
        indexed = self._index()
        if self._skip("*"):
            width = self._size()
            if width is None:
                pieces.append("%!(BADWIDTH)")
            elif width < 0:
                flags = flags.changed(width=-width, minus=True, zero=False)
            else:
                flags = flags.changed(width=width)
            indexed = False
        else:
            width = self._number()
            flags = flags.changed(width=width)
            self._is_good = self._is_good and not (indexed and width is not None)
        if self._at + 1 < len(self._template) and self._skip("."):
            self._is_good = self._is_good and not indexed
            indexed = self._index()
            if self._skip("*"):
                precision = self._size()
                if precision is None or precision < 0:
                    precision = None
                    pieces.append("%!(BADPREC)")
                flags = flags.changed(precision=precision)
                indexed = False
            else:
                flags = flags.changed(precision=self._number() or 0)
        if not indexed:
            self._index()
        if self._at >= len(self._template):
            pieces.append("%!(NOVERB)")
            return
        verb = self._template[self._at]
        self._at += 1
        pieces.append(self._argument(flags, verb))

    def _argument(self, flags: Flags, verb: str) -> str:
        if verb == "%":
            return "%"
        if not self._is_good:
            return f"%!{verb}(BADINDEX)"
        if self._next >= len(self._values):
            return f"%!{verb}(MISSING)"
        value = self._values[self._next]
        self._next += 1
        if verb == "v":
            flags = flags.changed(go_syntax=flags.sharp, sharp=False, plus=False)
        return write(flags, verb, value)

    def _flags(self) -> Flags:
        plus = minus = sharp = space = zero = False
        while self._at < len(self._template):
            match self._template[self._at]:
                case "+":
                    plus = True
                case "-":
                    minus, zero = True, False
                case "#":
                    sharp = True
                case " ":
                    space = True
                case "0":
                    zero = not minus
                case _:
                    break
            self._at += 1
        return Flags(plus, minus, sharp, space, zero)

    def _skip(self, char: str) -> bool:
        found = self._template.startswith(char, self._at)
        self._at += found
        return found

    def _number(self) -> int | None:
        """Digits; a number that is absurd ends the template, as it does in Go."""
        start, number = self._at, 0
        while self._at < len(self._template) and self._template[self._at] in _DIGITS:
            if number > _MAX_SIZE:
                self._at = len(self._template)
                return None
            number = number * 10 + int(self._template[self._at])
            self._at += 1
        return number if self._at > start else None

    def _index(self) -> bool:
        """`[n]`, which chooses the argument that follows."""
        if not self._template.startswith("[", self._at):
            return False
        self._reordered = True
        close = self._template.find("]", self._at) if len(self._template) - self._at >= 3 else -1
        if close < 0:
            self._at += 1
            self._is_good = False
            return False
        digits = self._template[self._at + 1 : close]
        self._at = close + 1
        is_number = bool(digits) and set(digits) <= _DIGITS and len(digits) <= 7 and int(digits) <= _MAX_SIZE
        if is_number and 1 <= int(digits) <= len(self._values):
            self._next = int(digits) - 1
            return True
        self._is_good = False
        return is_number

    def _size(self) -> int | None:
        """`*`: a width or precision that is an argument."""
        if self._next >= len(self._values):
            return None
        value = self._values[self._next]
        self._next += 1
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _MAX_SIZE:
            return None
        return int(value)
