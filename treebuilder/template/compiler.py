"""Shapes to jinja2's AST, which jinja2 turns into Python; `shapes` says what a shape is.

Names the compiled code finds in its context:
  k                                    the item's constants
  v                                    the variables by slot
  text(mark, text) show(mark, value)   write to the output
  let(v, slot, value)                  sets a variable and returns the value
  field(value, names, *arguments)      a chain of fields
  pairs(value) steps(pairs)            the (index, element) pairs of a range, and a count of the steps
  block(v, program)                    runs the items inside an item
  invoke(mark, name, value)            {{template}}
  nilmap(value)                        a nil that is to be a map
  second(first, value)                 evaluates both and is the second
  f_NAME(*arguments)                   functions
  fault(message)                       what Go refuses when it gets there, not when it parses
`and`, `or`, `not` and `if` become jinja2's own: Python's truth is Go's for template values. A statement's `lineno` is
the number of its mark, counted from 1, so an error finds its place through jinja2's line table.
"""

from __future__ import annotations

from functools import cache

from jinja2 import nodes
from jinja2.sandbox import SandboxedEnvironment

from treebuilder.annotations import TYPE_CHECKING, cast
from treebuilder.records import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import jinja2
    from jinja2.runtime import Context

    from treebuilder.template.shapes import Shape

_MAX_KEPT = 5_000


@record
class Code:
    """A compiled shape: `run` is jinja2's root function, `functions` what it calls, `template` knows its lines."""

    run: Callable[[Context], Iterator[str]]
    functions: tuple[str, ...]
    template: jinja2.Template


_kept: dict[Shape, Code] = {}
_made = 0


@cache
def environment() -> SandboxedEnvironment:
    """The one sandbox: it holds no state of a rendering."""
    return SandboxedEnvironment(autoescape=False, cache_size=0, optimized=False)


def compiled(shape: Shape) -> Code:
    """The code of a shape, which is made once."""
    global _made
    known = _kept.get(shape)
    if known is not None:
        return known
    if len(_kept) > _MAX_KEPT:
        _kept.clear()
    builder = _Builder()
    tree = nodes.Template([builder.statement(shape)], lineno=1)
    sandbox = environment()
    tree.set_environment(sandbox)
    _made += 1
    code = sandbox.compile(tree, "item", f"<template item {_made}>")
    template = sandbox.template_class.from_code(sandbox, code, {})
    made = _kept[shape] = Code(template.root_render_func, tuple(sorted(builder.functions)), template)
    return made


class _Builder:
    def __init__(self) -> None:
        self.functions: set[str] = set()

    def _statements(self, shapes: Iterable[object]) -> list[nodes.Node]:
        return [self.statement(cast("Shape", shape)) for shape in shapes]

    def statement(self, shape: Shape) -> nodes.Node:
        line = cast("int", shape[-1]) + 1
        match shape[0]:
            case "do":
                return nodes.ExprStmt(self._expression(shape[1]), lineno=line)
            case "if":
                return self._if(shape, line)
            case "for":
                target = nodes.Tuple([nodes.Name("i", "store"), nodes.Name("e", "store")], "store", lineno=line)
                body = self._statements(cast("Shape", shape[2]))
                return nodes.For(target, self._expression(shape[1]), body, [], None, False, lineno=line)
            case "break":
                return nodes.Break(lineno=line)
            case _:
                return nodes.Continue(lineno=line)

    def _if(self, shape: Shape, line: int) -> nodes.If:
        """A chain of `else if` stays flat: Python allows only so many levels of indentation."""
        _, test, body, orelse, _ = shape
        chain: list[nodes.If] = []
        last = cast("tuple[Shape, ...]", orelse)
        first = nodes.If(self._expression(test), self._statements(cast("Shape", body)), chain, [], lineno=line)
        while len(last) == 1 and last[0][0] == "if":
            _, test, body, orelse, number = last[0]
            inner = self._statements(cast("Shape", body))
            chain.append(nodes.If(self._expression(test), inner, [], [], lineno=cast("int", number) + 1))
            last = cast("tuple[Shape, ...]", orelse)
        first.else_ = self._statements(last)
        return first

    def _expression(self, shape: object) -> nodes.Expr:
        kind, *rest = cast("Shape", shape)
        match kind:
            case "k":
                return self._item("k", nodes.Const(rest[0]))
            case "slot":
                return self._item("v", self._item("k", nodes.Const(rest[0])))
            case "name":
                return nodes.Name(cast("str", rest[0]), "load")
            case "not":
                return nodes.Not(self._expression(rest[0]))
            case "and" | "or":
                value = self._expression(rest[-1])
                for argument in reversed(rest[:-1]):
                    value = (nodes.And if kind == "and" else nodes.Or)(self._expression(argument), value)
                return value
            case _:
                name = cast("str", rest[0])
                if name.startswith("f_"):
                    self.functions.add(name)
                arguments = [self._expression(argument) for argument in rest[1:]]
                return nodes.Call(nodes.Name(name, "load"), arguments, [], None, None)

    def _item(self, name: str, index: nodes.Expr) -> nodes.Getitem:
        return nodes.Getitem(nodes.Name(name, "load"), index, "load")
