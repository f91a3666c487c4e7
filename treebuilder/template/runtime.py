"""One rendering: variables, output with its lines, calls of named templates, and the limits.

Limits: 4 MiB of output, 400,000 steps, templates inside templates 1000 deep. A step is an action, a call, a turn of a
range, and each KiB or 32 items that a function takes or gives; so the limit bounds time as well, without a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import TracebackType

from jinja2.runtime import Context

from treebuilder.annotations import cast
from treebuilder.template.compiler import Code, compiled, environment
from treebuilder.template.faults import LocatedFault, TemplateFault, TooDeep
from treebuilder.template.functions.lists import effort
from treebuilder.template.functions.signature import GoFunction
from treebuilder.template.shapes import Program, Unit, Written
from treebuilder.template.source import Source
from treebuilder.template.values import MAX_TEXT, NilMap, Uint8, field, show, sorted_items, type_of

_MAX_STEPS = 400_000
_MAX_DEPTH = 1000


class Output:
    """Text with the line of the rendered file that wrote each of its lines (0: none did)."""

    def __init__(self, *, traces: bool = False) -> None:
        """`traces`: it also keeps the marks of shared files that its lines come from, by number from 0."""
        self.pieces: list[str] = []
        self.lines: list[int] = [0]
        self.traces = traces
        self.marks: dict[int, int] = {}
        self._size = 0

    def add(self, text: str, line: int, *, moves: bool) -> None:
        """Appends text that starts at a source line. `moves`: each newline goes on to the next source line."""
        if not text:
            return
        self._size += len(text)
        if self._size > MAX_TEXT:
            raise TemplateFault(f"the output is larger than {MAX_TEXT >> 20} MiB")
        self.pieces.append(text)
        if not self.lines[-1]:
            self.lines[-1] = line
        count = text.count("\n")
        if count:
            self.lines += range(line + 1, line + count + 1) if moves and line else [line] * count
            if moves and text[-1] == "\n":
                # what follows on this line says itself where it comes from
                self.lines[-1] = 0


class Run:
    """Renders programs by name, as (units, number of variables); `functions` finds one by name."""

    def __init__(
        self,
        source: Source,
        programs: Callable[[str], tuple[Program, int] | None],
        functions: Callable[[str], Callable[..., object]],
        *,
        traces: bool = False,
    ) -> None:
        self._source = source
        self._programs = programs
        self._functions = functions
        self._steps_left = _MAX_STEPS
        self._depth = 0
        self._caller_line = 0  # where the rendered file called a shared template
        self.output = Output(traces=traces)
        self._included: dict[str, int] = {}  # when tracing: marks of the lines that `include` gave
        self._names: dict[str, object] = {
            "k": (), "v": (), "text": self._text, "show": self._show, "let": let,
            "field": partial(chain, self._call), "pairs": pairs, "steps": self._steps, "block": self._block,
            "invoke": self._invoke, "fault": refuse, "nilmap": nilmap, "second": second,
        }  # fmt: skip
        self._context = Context(environment(), self._names, "item", {})

    def include(self, name: str, value: object) -> str:
        """`include`: a named template's output as text."""
        before, self.output = self.output, Output(traces=self.output.traces)
        try:
            self.execute(name, value)
            text = "".join(self.output.pieces)
            if self.output.traces:
                lines = text.split("\n")
                self._included.update((lines[at].strip(), mark) for at, mark in self.output.marks.items())
            return text
        finally:
            self.output = before

    def execute(self, name: str, dot: object) -> None:
        """Runs a named template into the output. Raises LocatedFault, or TemplateFault when it is not defined."""
        found = self._programs(name)
        if found is None:
            raise TemplateFault(f'the template "{name}" is not defined')
        program, slots = found
        self.execute_program(program, slots, dot, name)

    def execute_program(self, program: Program, slots: int, dot: object, name: str = "") -> None:
        """Runs units with variables of their own. Raises LocatedFault."""
        if self._depth >= _MAX_DEPTH:
            raise TemplateFault(f'templates call each other {_MAX_DEPTH} deep, the last one is "{name}"')
        self._depth += 1
        variables: list[object] = [None] * slots
        variables[0] = dot
        try:
            self._block(variables, program)
        finally:
            self._depth -= 1

    def _block(self, variables: list[object], program: Program) -> None:
        names, context = self._names, self._context
        for unit in program:
            if not unit.shape:
                self._text(unit.marks[0], str(unit.constants[0]))
                continue
            if unit.is_field:
                self._show_field(unit, variables)
                continue
            code = unit.code or self._compiled(unit)
            for name in code.functions:
                if name not in names:
                    names[name] = partial(self._call, self._functions(name[2:]))
            names["k"], names["v"] = unit.constants, variables
            try:
                for _ in code.run(context):
                    pass
            except TemplateFault as fault:
                raise LocatedFault(str(fault), _mark_of(fault.__traceback__, code, unit.marks)) from fault
            except LocatedFault as fault:
                fault.caller = fault.caller or self._source.own_line(_mark_of(fault.__traceback__, code, unit.marks))
                raise

    @staticmethod
    def _compiled(unit: Unit) -> Code:
        try:
            unit.code = compiled(unit.shape)
        except RecursionError as err:
            raise TooDeep(unit.marks[0]) from err
        except (SyntaxError, MemoryError) as err:  # Python's own bounds for what was made of it
            raise LocatedFault("nested too deeply", unit.marks[0]) from err
        return unit.code

    def _show_field(self, unit: Unit, variables: list[object]) -> None:
        """What the compiled code of `{{ .a.b }}` does: most actions are this one."""
        slot, names, mark = cast("tuple[int, tuple[str, ...], int]", unit.constants)
        try:
            self._show(mark, chain(self._call, variables[slot], names))
        except TemplateFault as fault:
            raise LocatedFault(str(fault), mark) from fault

    def _call(self, function: Callable[..., object], *arguments: object) -> object:
        """Counts the steps of a call by the size of what it takes and gives, and by what it compares."""
        before = effort.compared
        result = function(*arguments)
        steps = 1 + (effort.compared - before >> 1)
        for value in (result, *arguments):
            if isinstance(value, str):
                steps += len(value) >> 10
            elif isinstance(value, list | dict):
                steps += len(value) >> 5
        self._count(steps)
        return result

    def _line(self, mark: int) -> int:
        return self._source.own_line(mark) or self._caller_line

    def _text(self, mark: int, text: str) -> None:
        own = self._source.own_line(mark)
        if self.output.traces and not own:
            at = len(self.output.lines) - 1
            for number, line in enumerate(text.split("\n")):
                if line.strip():
                    self.output.marks.setdefault(at + number, mark + number)
        self.output.add(self._source.text(mark, text), own or self._caller_line, moves=own > 0)

    def _show(self, mark: int, value: object) -> None:
        self._count(1)
        text = show(value)
        if self.output.traces:
            at = len(self.output.lines) - 1
            for number, line in enumerate(text.split("\n")):
                found = self._included.get(line.strip(), 0 if self._source.own_line(mark) else mark)
                if found and line.strip():
                    self.output.marks.setdefault(at + number, found)
        self.output.add(text, self._line(mark), moves=False)

    def _invoke(self, mark: int, name: str, value: object) -> None:
        self._count(1)
        before = self._caller_line
        self._caller_line = self._line(mark)
        try:
            self.execute(name, value)
        finally:
            self._caller_line = before

    def _count(self, steps: int) -> None:
        self._steps_left -= steps
        if self._steps_left < 0:
            raise TemplateFault(f"more than {_MAX_STEPS} steps: does a range go over too much?")

    def _steps(self, items: Sequence[tuple[object, object]]) -> Iterator[tuple[object, object]]:
        for item in items:
            self._count(1)
            yield item


def chain(call: Callable[..., object], value: object, names: tuple[str, ...], *arguments: object) -> object:
    """`.a.b` of a value; the last may be a method that takes the arguments, by `call`. Raises TemplateFault.

    Of nothing everything is nothing, whatever the arguments.
    """
    arguments = () if value is None else arguments
    for index, name in enumerate(names):
        if type(value) is dict:
            value = value.get(name)
            continue
        value = field(value, name)
        if isinstance(value, GoFunction):
            if index == len(names) - 1:
                return call(value, *_given(value, arguments))
            value = call(value)
    if arguments:
        raise TemplateFault(f".{'.'.join(names)} has arguments but is no function")
    return value


def _given(method: GoFunction, arguments: tuple[object, ...]) -> Iterator[object]:
    for index, argument in enumerate(arguments):
        yield method.constant(index, argument.value) if isinstance(argument, Written) else argument


def nilmap(value: object) -> object:
    """An argument for a map: nil is an empty one."""
    return NilMap() if value is None else value


def second(_: object, value: object) -> object:
    """The second value; the first has been looked at before it."""
    return value


def refuse(message: str) -> object:
    """Raises TemplateFault."""
    raise TemplateFault(message)


def pairs(value: object) -> Sequence[tuple[object, object]]:
    """What a range goes over: items with their index, entries in key order, or the numbers below one."""
    match value:
        case None:
            return ()
        case bool() | str() | float():
            raise TemplateFault(f"range can't iterate over a value of type {type_of(value)}")
        case int():
            if value > _MAX_STEPS:
                raise TemplateFault(f"range over {value} numbers")
            return tuple((number, number) for number in range(value))
        case dict():
            return sorted_items(value)
        case bytes():
            return tuple(enumerate(map(Uint8, value)))
        case list() | tuple():
            return tuple(enumerate(value))
        case _:
            raise TemplateFault(f"range can't iterate over a value of type {type_of(value)}")


def let(variables: list[object], slot: int, value: object) -> object:
    """Sets a variable and returns the value."""
    variables[slot] = value
    return value


def _mark_of(trace: TracebackType | None, code: Code, marks: tuple[int, ...]) -> int:
    """The mark of the statement that was running in `code`."""
    while trace is not None and len(marks) > 1:
        if trace.tb_frame.f_code.co_filename == code.template.filename:
            return marks[code.template.get_corresponding_lineno(trace.tb_lineno) - 1]
        trace = trace.tb_next
    return marks[0]
