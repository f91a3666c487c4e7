"""The syntax tree of a template: frozen values, each with the mark of its place in the source."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal: text, number, boolean or nil."""

    value: str | int | float | bool | None
    mark: int


@dataclass(frozen=True, slots=True)
class Dot:
    mark: int


@dataclass(frozen=True, slots=True)
class Variable:
    """`slot` numbers the declaration, so that an inner `$x :=` does not touch the outer one; 0 is `$`."""

    slot: int
    mark: int


@dataclass(frozen=True, slots=True)
class Chain:
    """Fields of a value, `.a.b` or `(…).a` or `$x.a`."""

    base: Operand
    names: tuple[str, ...]
    mark: int


@dataclass(frozen=True, slots=True)
class Function:
    """A function's name as an operand; alone it is a call without arguments."""

    name: str
    mark: int


@dataclass(frozen=True, slots=True)
class Command:
    """Words separated by spaces: the first is called with the others, or stands alone."""

    words: tuple[Operand, ...]
    mark: int


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Commands joined by `|`. `declares` are slots given the result; `assigns` is True for `=`."""

    commands: tuple[Command, ...]
    declares: tuple[int, ...]
    mark: int


Operand = Constant | Dot | Variable | Chain | Function | Pipeline


@dataclass(frozen=True, slots=True)
class Text:
    text: str
    mark: int


@dataclass(frozen=True, slots=True)
class Show:
    """An action: its value is printed unless it declares a variable."""

    pipeline: Pipeline
    mark: int


@dataclass(frozen=True, slots=True)
class If:
    test: Pipeline
    body: tuple[Item, ...]
    orelse: tuple[Item, ...]
    mark: int


@dataclass(frozen=True, slots=True)
class With:
    test: Pipeline
    body: tuple[Item, ...]
    orelse: tuple[Item, ...]
    mark: int


@dataclass(frozen=True, slots=True)
class Range:
    """The pipeline's `declares` are (element) or (index, element)."""

    over: Pipeline
    body: tuple[Item, ...]
    orelse: tuple[Item, ...]
    mark: int


@dataclass(frozen=True, slots=True)
class Leave:
    """`break` or `continue` of the innermost range."""

    word: str
    mark: int


@dataclass(frozen=True, slots=True)
class Invoke:
    """`{{template "name" pipeline}}`."""

    name: str
    argument: Pipeline | None
    mark: int


Item = Text | Show | If | With | Range | Leave | Invoke


@dataclass(frozen=True, slots=True)
class Body:
    """A named template, or the main text under the name "". Its variables have slots below `slots`."""

    name: str
    items: tuple[Item, ...]
    slots: int
    mark: int

    @property
    def is_empty(self) -> bool:
        """Only white space: Go does not let such a definition replace another."""
        return all(isinstance(item, Text) and not item.text.strip(" \t\r\n") for item in self.items)
