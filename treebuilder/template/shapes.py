"""Syntax tree to *shapes*: what an item does, apart from its constants, as a tuple that can be looked up.

Specfiles say the same things about other names thousands of times, and compiling is what costs. So a shape is compiled
once for a process (`compiler`), and an item is a shape with its constants: texts, field names, numbers of slots, marks,
and the bodies inside it, which are units by themselves. Only a body that leaves its loop stays within the shape.

Expressions are ("k", i), a constant; ("name", word); ("slot", i), the variable whose number is constant i; ("call",
name, *arguments); ("and" | "or" | "not", …). Statements are ("do", expression), ("if", test, then, else) and
("for", slot, body), ("break",) and ("continue",), each followed by the number of its mark.
"""

from __future__ import annotations

from treebuilder.annotations import TYPE_CHECKING, TypeAlias
from treebuilder.records import record
from treebuilder.template.faults import TooDeep
from treebuilder.template.functions import PURE
from treebuilder.template.functions.signature import GoFunction
from treebuilder.template.syntax import (
    Body,
    Chain,
    Command,
    Constant,
    Dot,
    Function,
    If,
    Invoke,
    Item,
    Leave,
    Operand,
    Pipeline,
    Range,
    Show,
    Text,
    Undeclared,
    Variable,
    With,
)

if TYPE_CHECKING:
    from treebuilder.template.compiler import Code

Shape: TypeAlias = "tuple[object, ...]"


class Unit:
    """An item ready to run. A text has no shape: its text is the only constant. `code` is kept by who compiles it.

    `is_field`: it shows a field of a variable, which needs no code: its constants are the slot and the names.
    """

    __slots__ = ("code", "constants", "is_field", "marks", "shape")

    def __init__(self, shape: Shape, constants: tuple[object, ...], marks: tuple[int, ...]) -> None:
        self.shape = shape
        self.constants = constants
        self.marks = marks
        self.is_field = shape == _FIELD
        self.code: Code | None = None


Program: TypeAlias = "tuple[Unit, ...]"
_FIELD: Shape = ("do", ("call", "show", ("k", 2), ("call", "field", ("slot", 0), ("k", 1))), 0)


@record
class Written:
    """A constant as an argument of a method."""

    value: object


_ONE_TURN = ((None, None),)
_MAX_KEPT = 20_000
_kept: dict[tuple[str, int], tuple[Shape, tuple[object, ...]]] = {}


class Units:
    """Makes the units of one body. `slots` grows with the hidden variables of `with` and `range`."""

    def __init__(self, first_slot: int) -> None:
        self.slots = first_slot

    def program(self, items: tuple[Item, ...], dot: int) -> Program:
        return tuple([self.unit(item, dot) for item in items])

    def unit(self, item: Item, dot: int) -> Unit:
        if isinstance(item, Text):
            return Unit((), (item.text,), (item.mark,))
        if isinstance(item, Show) and item.key:
            known = _kept.get((item.key, dot))
            if known is None:
                if len(_kept) > _MAX_KEPT:
                    _kept.clear()
                shaper, slots = _Shaper(self, dot), self.slots
                known = shaper.item(item), tuple(shaper.constants)
                if self.slots == slots:  # a hidden variable is another one in every template
                    _kept[item.key, dot] = known
            # the mark is the last thing a shown value needs, and the only one that differs
            constants = known[1] if item.pipeline.declares else (*known[1][:-1], item.mark)
            return Unit(known[0], constants, (item.mark,))
        shaper = _Shaper(self, dot)
        shape = shaper.item(item)
        return Unit(shape, tuple(shaper.constants), tuple(shaper.marks))

    def slot(self) -> int:
        self.slots += 1
        return self.slots - 1


def program(body: Body) -> tuple[Program, int]:
    """The units of one template and how many slots it needs."""
    units = Units(body.slots)
    made: list[Unit] = []
    for item in body.items:
        try:
            made.append(units.unit(item, 0))
        except RecursionError as err:
            raise TooDeep(item.mark) from err
    return tuple(made), units.slots


def _leaves(items: tuple[Item, ...]) -> bool:
    """True when `break` or `continue` in these items is about a loop outside of them."""
    for item in items:
        if isinstance(item, Leave):
            return True
        if isinstance(item, If | With) and (_leaves(item.body) or _leaves(item.orelse)):
            return True
        if isinstance(item, Range) and _leaves(item.orelse):
            return True
    return False


class _Shaper:
    def __init__(self, units: Units, dot: int) -> None:
        self._units = units
        self._dot = dot
        self._goes_on: int | None = None  # inside the `else` of a range: the variable of its `continue`
        self.constants: list[object] = []
        self.marks: list[int] = []

    # statements -------------------------------------------------------------------------------------------------
    def item(self, item: Item) -> Shape:
        number = len(self.marks)
        self.marks.append(item.mark)
        match item:
            case Text():
                return ("do", ("call", "text", self._k(item.mark), self._k(item.text)), number)
            case Show():
                value = self.pipeline(item.pipeline)
                if item.pipeline.declares:
                    return ("do", value, number)
                return ("do", ("call", "show", self._k(item.mark), value), number)
            case If():
                test = self.pipeline(item.test)
                return ("if", test, self._block(item.body), self._block(item.orelse), number)
            case With():
                return self._with(item, number)
            case Range():
                return self._range(item, number)
            case Leave():
                return self._leave(item.word, number)
            case Invoke():
                argument = self._k(None) if item.argument is None else self.pipeline(item.argument)
                return ("do", ("call", "invoke", self._k(item.mark), self._k(item.name), argument), number)

    def _block(self, items: tuple[Item, ...]) -> Shape:
        """Items as units of their own, but for those that leave the loop they are in."""
        if not items:
            return ()
        if _leaves(items):
            return tuple([self.item(item) for item in items])
        inner = self._units.program(items, self._dot)
        return (("do", ("call", "block", ("name", "v"), self._k(inner)), len(self.marks) - 1),)

    def _with(self, item: With, number: int) -> Shape:
        slot = self._units.slot()
        test = self._let(slot, self.pipeline(item.test))
        before, self._dot = self._dot, slot
        body = self._block(item.body)
        self._dot = before
        return ("if", test, body, self._block(item.orelse), number)

    def _range(self, item: Range, number: int) -> Shape:
        """`if pairs: for … else …`: jinja2's own `for … else` runs the else after a `break`."""
        over, element = self._units.slot(), self._units.slot()
        # the variables are the whole value first: so the `else` has it, and what follows if they are assigned
        test = self._let(over, ("call", "pairs", self.pipeline(item.over)))
        start: list[object] = [("do", self._let(element, ("name", "e")), number)]
        declares = item.over.declares
        names = ("e",) if len(declares) == 1 else ("i", "e")
        for declared, name in zip(declares, names, strict=False):
            start.append(("do", self._let(declared, ("name", name)), number))
        before, self._dot = self._dot, element
        outside, self._goes_on = self._goes_on, None
        body = (*start, *self._block(item.body))
        self._dot, self._goes_on = before, outside
        loop = ("for", ("call", "steps", self._slot(over)), body, number)
        return ("if", test, (loop,), self._else(item.orelse, number), number)

    def _else(self, items: tuple[Item, ...], number: int) -> Shape:
        """The `else` of a range, which `break` leaves: a loop of one turn. `continue` is of the loop around it, so it
        is said to a variable and done behind."""
        if not _leaves(items):
            return self._block(items)
        outside, self._goes_on = self._goes_on, self._units.slot()
        before: Shape = ("do", self._let(self._goes_on, self._k(False)), number)
        turn: Shape = ("for", self._k(_ONE_TURN), self._block(items), number)
        test = self._slot(self._goes_on)
        self._goes_on = outside
        return (before, turn, ("if", test, (self._leave("continue", number),), (), number))

    def _leave(self, word: str, number: int) -> Shape:
        if word == "break" or self._goes_on is None:
            return (word, number)
        return ("if", self._let(self._goes_on, self._k(True)), (("break", number),), (), number)

    # expressions ------------------------------------------------------------------------------------------------
    def pipeline(self, pipeline: Pipeline) -> Shape:
        value: Shape = ()
        for command in pipeline.commands:
            value = self._command(command, value)
        for slot in pipeline.declares:
            value = self._let(slot, value)
        return value

    def _command(self, command: Command, final: Shape) -> Shape:
        first, *others = command.words
        last: tuple[Shape, ...] = (final,) if final else ()
        if isinstance(first, Function):
            return self._function(first, tuple(others), last)
        if isinstance(first, Chain):
            return self._chain(first, (*(self._written(word) for word in others), *last))
        if isinstance(first, Undeclared):
            return self._operand(first)
        if isinstance(first, Constant) and first.value is None:
            return self._refuse("nil is not a command")
        if others or last:
            return self._refuse("arguments are given to something that is no function")
        return self._operand(first)

    def _operand(self, operand: Operand) -> Shape:
        match operand:
            case Constant():
                return self._k(operand.value)
            case Dot():
                return self._slot(self._dot)
            case Variable():
                return self._slot(operand.slot)
            case Undeclared():
                return self._refuse(f"the variable {operand.name} is not declared")
            case Chain():
                return self._chain(operand, ())
            case Function():
                return self._function(operand, (), ())
            case Pipeline():
                return self.pipeline(operand)

    def _chain(self, chain: Chain, arguments: Shape) -> Shape:
        return ("call", "field", self._operand(chain.base), self._k(chain.names), *arguments)

    def _function(self, function: Function, words: tuple[Operand, ...], last: tuple[Shape, ...]) -> Shape:
        name = function.name
        known = PURE.get(name)
        arguments: tuple[Shape, ...] = (
            *(self._argument(known, index, word) for index, word in enumerate(words)),
            *(self._nil_for(known, len(words), value) for value in last),
        )
        if name == "not" and len(arguments) == 1:
            return ("not", *arguments)
        if name in ("and", "or") and last and words:
            # what comes through the pipeline is evaluated even if an argument before it decides
            slot = self._units.slot()
            before = self._let(slot, last[0])
            return ("call", "second", before, (name, *arguments[:-1], self._slot(slot)))
        if name in ("and", "or") and arguments:
            return (name, *arguments) if len(arguments) > 1 else arguments[0]
        if name in ("and", "or", "not"):
            return self._refuse(f"{name} is given {len(arguments)} arguments")
        return ("call", f"f_{name}", *arguments)

    def _argument(self, function: GoFunction | None, index: int, word: Operand) -> Shape:
        if isinstance(word, Constant) and word.value is not None:
            return self._k(word.value if function is None else function.constant(index, word.value))
        value = self._operand(word)
        # a field's nil is an interface, which is no map; the nil of a pipeline has no type and can be one
        return self._nil_for(function, index, value) if isinstance(word, Constant | Pipeline | Variable) else value

    def _written(self, word: Operand) -> Shape:
        """An argument of a method: a number takes the type that the method says when it is known."""
        if isinstance(word, Constant) and word.value is not None:
            return self._k(Written(word.value))
        return self._operand(word)

    def _nil_for(self, function: GoFunction | None, index: int, value: Shape) -> Shape:
        wants_map = function is not None and function.wanted(index) == "map"
        return ("call", "nilmap", value) if wants_map else value

    # pieces -----------------------------------------------------------------------------------------------------
    def _refuse(self, message: str) -> Shape:
        return ("call", "fault", self._k(message))

    def _let(self, slot: int, value: object) -> Shape:
        return ("call", "let", ("name", "v"), self._k(slot), value)

    def _slot(self, slot: int) -> Shape:
        self.constants.append(slot)
        return ("slot", len(self.constants) - 1)

    def _k(self, value: object) -> Shape:
        self.constants.append(value)
        return ("k", len(self.constants) - 1)
