"""One rendering: variables, output with its lines, calls of named templates, and the limits.

Limits: 16 MiB of output, two million steps, templates inside templates 1000 deep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from treebuilder.records import record
from treebuilder.template.faults import LocatedFault, TemplateFault
from treebuilder.template.source import Source
from treebuilder.template.values import MAX_TEXT, GoObject, field, show, sorted_items, type_of

if TYPE_CHECKING:
    import jinja2

_MAX_STEPS = 2_000_000
_MAX_DEPTH = 1000


@record
class Compiled:
    """A template ready to run: jinja2's, the functions it calls, and its number of variables."""

    template: jinja2.Template
    functions: frozenset[str]
    slots: int


class Output:
    """Text with the line of the rendered file that wrote each of its lines (0: none did)."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.lines: list[int] = [0]
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
        for count in range(1, text.count("\n") + 1):
            self.lines.append(line + count if moves and line else line)
        if moves and text.endswith("\n"):
            # what follows on this line says itself where it comes from
            self.lines[-1] = 0


class Run:
    """Renders `bodies`, the compiled templates by name ("" is the main text)."""

    def __init__(
        self,
        source: Source,
        bodies: Callable[[str], Compiled | None],
        functions: Mapping[str, Callable[..., object]],
    ) -> None:
        self._source = source
        self._bodies = bodies
        self._functions = functions
        self._steps_left = _MAX_STEPS
        self._depth = 0
        self._caller_line = 0  # where the rendered file called a shared template
        self.output = Output()

    def include(self, name: str, value: object) -> str:
        """`include`: a named template's output as text."""
        before, self.output = self.output, Output()
        try:
            self.execute(name, value)
            return "".join(self.output.pieces)
        finally:
            self.output = before

    def execute(self, name: str, dot: object) -> None:
        """Runs a named template into the output. Raises LocatedFault, or TemplateFault when it is not defined."""
        compiled = self._bodies(name)
        if compiled is None:
            raise TemplateFault(f'the template "{name}" is not defined')
        if self._depth >= _MAX_DEPTH:
            raise TemplateFault(f'templates call each other {_MAX_DEPTH} deep, the last one is "{name}"')
        self._depth += 1
        template = compiled.template
        context = template.environment.context_class(
            template.environment, self._names(compiled, dot), template.name, template.blocks
        )
        try:
            for _ in template.root_render_func(context):
                pass
        except TemplateFault as fault:
            raise LocatedFault(str(fault), _mark_of(fault.__traceback__, template)) from fault
        finally:
            self._depth -= 1

    def _names(self, compiled: Compiled, dot: object) -> dict[str, object]:
        slots: list[object] = [None] * compiled.slots
        slots[0] = dot

        def let(slot: int, value: object) -> object:
            slots[slot] = value
            return value

        names: dict[str, object] = {
            "text": self._text, "show": self._show, "var": slots.__getitem__, "let": let, "field": chain,
            "pairs": pairs, "steps": self._steps, "invoke": self._invoke, "fault": refuse,
        }  # fmt: skip
        for name in compiled.functions:
            names[f"f_{name}"] = self._functions[name]
        return names

    def _line(self, mark: int) -> int:
        return self._source.own_line(mark) or self._caller_line

    def _text(self, mark: int, text: str) -> None:
        own = self._source.own_line(mark)
        self.output.add(text, own or self._caller_line, moves=own > 0)

    def _show(self, mark: int, value: object) -> None:
        self._count(1)
        self.output.add(show(value), self._line(mark), moves=False)

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


def chain(value: object, names: tuple[str, ...], *arguments: object) -> object:
    """`.a.b` of a value; the last may be a method that takes the arguments. Raises TemplateFault."""
    for index, name in enumerate(names):
        owner = value
        value = field(value, name)
        if isinstance(owner, GoObject) and callable(value):
            value = value(*arguments) if index == len(names) - 1 else value()
            if index == len(names) - 1:
                return value
    if arguments:
        raise TemplateFault(f".{'.'.join(names)} has arguments but is no function")
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
        case list() | tuple() | bytes():
            return tuple(enumerate(value))
        case _:
            raise TemplateFault(f"range can't iterate over a value of type {type_of(value)}")


def _mark_of(trace: TracebackType | None, template: jinja2.Template) -> int:
    """The mark of the statement that was running in `template`."""
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == template.filename:
            return template.get_corresponding_lineno(trace.tb_lineno)
        trace = trace.tb_next
    return 1
