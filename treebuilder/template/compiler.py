"""Syntax tree to jinja2's AST. jinja2 turns it into Python and keeps the lines; ours is what the constructs mean.

Names the compiled code finds in its context:
  text(mark, text) show(mark, value)   write to the output
  var(slot) let(slot, value)           variables; let also returns the value
  field(value, *names, *arguments)     a chain of fields
  pairs(value)                         the (index, element) pairs of a range
  invoke(mark, name, value)            {{template}}
  f_NAME(*arguments)                   functions
  fault(message)                       what Go refuses when it gets there, not when it parses
`and`, `or`, `not` and `if` become jinja2's own: Python's truth is Go's for template values. A node's `lineno` is the
mark of the source (`source.Source`), so an error finds its file and line through jinja2's line table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinja2 import nodes

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
    Variable,
    With,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


def compile_body(body: Body) -> tuple[nodes.Template, frozenset[str], int]:
    """The AST of one template, the functions it calls and how many slots it needs."""
    compiler = _Compiler(body.slots)
    template = nodes.Template(compiler.items(body.items), lineno=body.mark)
    return template, frozenset(compiler.functions), compiler.slots


class _Compiler:
    def __init__(self, first_slot: int) -> None:
        self.slots = first_slot
        self.functions: set[str] = set()
        self._dot: nodes.Expr = self._var(0, 1)

    # statements -------------------------------------------------------------------------------------------------
    def items(self, items: Iterable[Item]) -> list[nodes.Node]:
        return [self._item(item) for item in items]

    def _item(self, item: Item) -> nodes.Node:
        match item:
            case Text():
                return self._do(
                    "text", [self._const(item.mark, item.mark), self._const(item.text, item.mark)], item.mark
                )
            case Show():
                return self._show(item)
            case If():
                return self._if(item)
            case With():
                return self._with(item)
            case Range():
                return self._range(item)
            case Leave():
                return (nodes.Break if item.word == "break" else nodes.Continue)(lineno=item.mark)
            case Invoke():
                argument = self._const(None, item.mark) if item.argument is None else self.pipeline(item.argument)
                words = [self._const(item.mark, item.mark), self._const(item.name, item.mark), argument]
                return self._do("invoke", words, item.mark)

    def _show(self, item: Show) -> nodes.Node:
        value = self.pipeline(item.pipeline)
        if item.pipeline.declares:
            return nodes.ExprStmt(value, lineno=item.mark)
        return self._do("show", [self._const(item.mark, item.mark), value], item.mark)

    def _if(self, item: If) -> nodes.If:
        test = self.pipeline(item.test)
        body = self.items(item.body)
        chain: list[nodes.If] = []
        orelse = item.orelse
        # a chain of `else if` stays flat: Python allows only so many levels of indentation
        while len(orelse) == 1 and isinstance(orelse[0], If):
            inner = orelse[0]
            chain.append(nodes.If(self.pipeline(inner.test), self.items(inner.body), [], [], lineno=inner.mark))
            orelse = inner.orelse
        return nodes.If(test, body, chain, self.items(orelse), lineno=item.mark)

    def _with(self, item: With) -> nodes.If:
        slot = self._slot()
        test = self._call("let", [self._const(slot, item.mark), self.pipeline(item.test)], item.mark)
        before, self._dot = self._dot, self._var(slot, item.mark)
        body = self.items(item.body)
        self._dot = before
        return nodes.If(test, body, [], self.items(item.orelse), lineno=item.mark)

    def _range(self, item: Range) -> nodes.If:
        """`if pairs: for … else …`: jinja2's own `for … else` runs the else after a `break`."""
        slot, mark = self._slot(), item.mark
        bare = Pipeline(item.over.commands, (), item.over.mark)
        test = self._call(
            "let", [self._const(slot, mark), self._call("pairs", [self.pipeline(bare)], mark)], mark
        )  # fmt: skip
        index, element = f"i{slot}", f"e{slot}"
        target = nodes.Tuple(
            [self._name(index, mark, "store"), self._name(element, mark, "store")], "store", lineno=mark
        )
        start: list[nodes.Node] = []
        declares = item.over.declares
        values = (element,) if len(declares) == 1 else (index, element)
        for declared, name in zip(declares, values, strict=False):
            start.append(self._do("let", [self._const(declared, mark), self._name(name, mark)], mark))
        before, self._dot = self._dot, self._name(element, mark)
        body = start + self.items(item.body)
        self._dot = before
        steps = self._call("steps", [self._var(slot, mark)], mark)
        loop = nodes.For(target, steps, body, [], None, False, lineno=mark)
        return nodes.If(test, [loop], [], self.items(item.orelse), lineno=mark)

    # expressions ------------------------------------------------------------------------------------------------
    def pipeline(self, pipeline: Pipeline) -> nodes.Expr:
        value: nodes.Expr | None = None
        for command in pipeline.commands:
            value = self._command(command, value)
        assert value is not None
        for slot in pipeline.declares:
            value = self._call("let", [self._const(slot, pipeline.mark), value], pipeline.mark)
        return value

    def _command(self, command: Command, final: nodes.Expr | None) -> nodes.Expr:
        first, *others = command.words
        has_arguments = bool(others) or final is not None
        if isinstance(first, Function):
            return self._function(first, [self._operand(word) for word in others], final)
        if isinstance(first, Chain):
            words = [self._operand(word) for word in others] + ([] if final is None else [final])
            return self._chain(first, words)
        if isinstance(first, Constant) and first.value is None:
            return self._refuse("nil is not a command", first.mark)
        if has_arguments:
            return self._refuse("arguments are given to something that is no function", command.mark)
        return self._operand(first)

    def _operand(self, operand: Operand) -> nodes.Expr:
        match operand:
            case Constant():
                return self._const(operand.value, operand.mark)
            case Dot():
                return self._dot
            case Variable():
                return self._var(operand.slot, operand.mark)
            case Chain():
                return self._chain(operand, [])
            case Function():
                return self._function(operand, [], None)
            case Pipeline():
                return self.pipeline(operand)

    def _chain(self, chain: Chain, arguments: list[nodes.Expr]) -> nodes.Expr:
        names = self._const(chain.names, chain.mark)
        return self._call("field", [self._operand(chain.base), names, *arguments], chain.mark)

    def _function(self, function: Function, words: list[nodes.Expr], final: nodes.Expr | None) -> nodes.Expr:
        arguments = words if final is None else [*words, final]
        name, mark = function.name, function.mark
        if name in ("and", "or", "not"):
            if not arguments or (name == "not" and len(arguments) != 1):
                return self._refuse(f"{name} is given {len(arguments)} arguments", mark)
            if name == "not":
                return nodes.Not(arguments[0], lineno=mark)
            value = arguments[-1]
            for argument in reversed(arguments[:-1]):
                value = (nodes.And if name == "and" else nodes.Or)(argument, value, lineno=mark)
            return value
        self.functions.add(name)
        return self._call(f"f_{name}", arguments, mark)

    # pieces -----------------------------------------------------------------------------------------------------
    def _refuse(self, message: str, mark: int) -> nodes.Expr:
        return self._call("fault", [self._const(message, mark)], mark)

    def _slot(self) -> int:
        self.slots += 1
        return self.slots - 1

    def _var(self, slot: int, mark: int) -> nodes.Expr:
        return self._call("var", [self._const(slot, mark)], mark)

    def _name(self, name: str, mark: int, context: str = "load") -> nodes.Name:
        return nodes.Name(name, context, lineno=mark)

    def _const(self, value: object, mark: int) -> nodes.Const:
        return nodes.Const(value, lineno=mark)

    def _call(self, name: str, arguments: list[nodes.Expr], mark: int) -> nodes.Call:
        return nodes.Call(self._name(name, mark), arguments, [], None, None, lineno=mark)

    def _do(self, name: str, arguments: list[nodes.Expr], mark: int) -> nodes.ExprStmt:
        return nodes.ExprStmt(self._call(name, arguments, mark), lineno=mark)
