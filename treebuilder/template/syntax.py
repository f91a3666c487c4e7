"""The syntax tree of a template: frozen values. Items carry the mark of their place in the source; what stands inside
an action does not, so equal actions are equal wherever they stand."""

from __future__ import annotations

from treebuilder.records import record


@record
class Constant:
    """A literal: text, number, boolean or nil."""

    value: str | int | float | complex | bool | None


@record
class Dot:
    """`.`"""


@record
class Variable:
    """`slot` numbers the declaration, so that an inner `$x :=` does not touch the outer one; 0 is `$`."""

    slot: int


@record
class Undeclared:
    """A variable that `=` names and nothing has declared: Go refuses it when it gets there, not when it parses."""

    name: str


@record
class Chain:
    """Fields of a value, `.a.b` or `(…).a` or `$x.a`."""

    base: Operand
    names: tuple[str, ...]


@record
class Function:
    """A function's name as an operand; alone it is a call without arguments."""

    name: str


@record
class Command:
    """Words separated by spaces: the first is called with the others, or stands alone."""

    words: tuple[Operand, ...]


@record
class Pipeline:
    """Commands joined by `|`. `declares` are slots given the result; `assigns` is True for `=`."""

    commands: tuple[Command, ...]
    declares: tuple[int, ...]


Operand = Constant | Dot | Variable | Undeclared | Chain | Function | Pipeline


@record
class Text:
    text: str
    mark: int


@record
class Show:
    """An action: its value is printed unless it declares a variable. `key` is its text if that says all about it (no
    variables of its surroundings), else empty."""

    pipeline: Pipeline
    mark: int
    key: str = ""


@record
class If:
    test: Pipeline
    body: tuple[Item, ...]
    orelse: tuple[Item, ...]
    mark: int


@record
class With:
    test: Pipeline
    body: tuple[Item, ...]
    orelse: tuple[Item, ...]
    mark: int


@record
class Range:
    """The pipeline's `declares` are (element) or (index, element)."""

    over: Pipeline
    body: tuple[Item, ...]
    orelse: tuple[Item, ...]
    mark: int


@record
class Leave:
    """`break` or `continue` of the innermost range."""

    word: str
    mark: int


@record
class Invoke:
    """`{{template "name" pipeline}}`."""

    name: str
    argument: Pipeline | None
    mark: int


Item = Text | Show | If | With | Range | Leave | Invoke


@record
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
