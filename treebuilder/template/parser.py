"""Tokens to syntax tree, by Go text/template's grammar.

Source: https://pkg.go.dev/text/template. A name may be defined once per text; a definition of white space only does
not count. Functions must be known, variables must be declared before use.
"""

from __future__ import annotations

from collections.abc import Callable, Container

from treebuilder.records import record
from treebuilder.template import literals
from treebuilder.template.faults import LocatedFault, TemplateFault
from treebuilder.template.lexer import Kind, Token, lex
from treebuilder.template.source import Source
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

_WORDS = {"true": True, "false": False}


@record
class Parsed:
    """The main text and the templates it defines."""

    main: Body
    defined: tuple[Body, ...]


def parse(source: Source, functions: Container[str]) -> Parsed:
    """Parses a whole source. Raises LocatedFault."""
    return _Parser(source, functions).run()


class _Parser:
    def __init__(self, source: Source, functions: Container[str]) -> None:
        self._tokens = list(lex(source))
        self._at = 0
        self._functions = functions
        self._scope: list[tuple[str, int]] = [("$", 0)]
        self._slots = 1
        self._loops = 0
        self._defined: dict[str, Body] = {}

    # tokens -----------------------------------------------------------------------------------------------------
    def _peek(self) -> Token:
        return self._tokens[self._at]

    def _next(self) -> Token:
        token = self._tokens[self._at]
        if token.kind is not Kind.END:
            self._at += 1
        return token

    def _solid(self) -> Token:
        """The next token that is not white space, not taken."""
        while self._peek().kind is Kind.SPACE:
            self._at += 1
        return self._peek()

    def _expect(self, kind: Kind, context: str) -> Token:
        token = self._solid()
        if token.kind is not kind:
            raise self._unexpected(token, context)
        return self._next()

    def _unexpected(self, token: Token, context: str) -> LocatedFault:
        what = token.kind.value if token.kind in (Kind.END, Kind.RIGHT, Kind.LEFT) else token.text
        return LocatedFault(f"unexpected {what} in {context}", token.mark)

    def _fault(self, message: str, mark: int) -> LocatedFault:
        return LocatedFault(message, mark)

    # lists ------------------------------------------------------------------------------------------------------
    def run(self) -> Parsed:
        items: list[Item] = []
        while self._peek().kind is not Kind.END:
            if self._keyword_ahead("define"):
                self._define()
                continue
            item = self._item()
            if isinstance(item, Token):
                raise self._unexpected(item, "the text: it ends nothing")
            items.append(item)
        return Parsed(Body("", tuple(items), self._slots, 1), tuple(self._defined.values()))

    def _keyword_ahead(self, word: str) -> bool:
        at = self._at
        if self._tokens[at].kind is not Kind.LEFT:
            return False
        at += 1
        while self._tokens[at].kind is Kind.SPACE:
            at += 1
        return self._tokens[at].kind is Kind.KEYWORD and self._tokens[at].text == word

    def _item(self) -> Item | Token:
        """One piece of text or one action; the keyword token for `else` and `end`, which belong to the caller."""
        token = self._next()
        if token.kind is Kind.TEXT:
            return Text(token.text, token.mark)
        assert token.kind is Kind.LEFT
        first = self._solid()
        if first.kind is not Kind.KEYWORD or first.text == "nil":
            pipeline = self._pipeline("an action", Kind.RIGHT)
            return Show(pipeline, first.mark)
        self._next()
        return self._control(first)

    def _control(self, word: Token) -> Item | Token:
        match word.text:
            case "if":
                return self._if(word)
            case "with":
                return self._with(word)
            case "range":
                return self._range(word)
            case "template":
                return self._invoke(word)
            case "block":
                return self._block(word)
            case "break" | "continue":
                self._expect(Kind.RIGHT, word.text)
                if not self._loops:
                    raise self._fault(f"{word.text} outside of a range", word.mark)
                return Leave(word.text, word.mark)
            case "end":
                self._expect(Kind.RIGHT, "end")
                return word
            case "else":
                return word
            case _:
                raise self._fault(f"{{{{{word.text}}}}} stands inside another action's body", word.mark)

    def _body(self, owner: Token) -> tuple[tuple[Item, ...], Token]:
        """Items up to `else` or `end` of `owner`; variables declared inside end with it."""
        depth = len(self._scope)
        items: list[Item] = []
        while self._peek().kind is not Kind.END:
            item = self._item()
            if isinstance(item, Token):
                del self._scope[depth:]
                return tuple(items), item
            items.append(item)
        raise self._fault(f"{{{{{owner.text}}}}} has no {{{{end}}}}", owner.mark)

    # control structures -----------------------------------------------------------------------------------------
    def _branches(self, owner: Token, again: str, parse_again: Callable[[Token], Item]) -> _Branches:
        self._loops += owner.text == "range"
        body, end = self._body(owner)
        self._loops -= owner.text == "range"
        if end.text == "end":
            return body, ()
        following = self._solid()
        if again and following.kind is Kind.KEYWORD and following.text == again:
            # `else if` takes the `end` with it
            self._next()
            return body, (parse_again(following),)
        self._expect(Kind.RIGHT, "else")
        orelse, end = self._body(owner)
        if end.text != "end":
            raise self._fault("a second {{else}}", end.mark)
        return body, orelse

    def _if(self, word: Token) -> Item:
        depth = len(self._scope)
        test = self._pipeline("if", Kind.RIGHT)
        body, orelse = self._branches(word, "if", self._if)
        del self._scope[depth:]
        return If(test, body, orelse, word.mark)

    def _with(self, word: Token) -> Item:
        depth = len(self._scope)
        test = self._pipeline("with", Kind.RIGHT)
        body, orelse = self._branches(word, "with", self._with)
        del self._scope[depth:]
        return With(test, body, orelse, word.mark)

    def _range(self, word: Token) -> Item:
        depth = len(self._scope)
        over = self._pipeline("range", Kind.RIGHT)
        body, orelse = self._branches(word, "", self._range)
        del self._scope[depth:]
        return Range(over, body, orelse, word.mark)

    def _name(self, context: str) -> str:
        token = self._solid()
        if token.kind not in (Kind.STRING, Kind.RAW):
            raise self._unexpected(token, context)
        self._next()
        return str(self._literal(token))

    def _invoke(self, word: Token) -> Item:
        name = self._name("template")
        argument: Pipeline | None = None
        if self._solid().kind is Kind.RIGHT:
            self._next()
        else:
            argument = self._pipeline("template", Kind.RIGHT)
        return Invoke(name, argument, word.mark)

    def _block(self, word: Token) -> Item:
        name = self._name("block")
        argument = self._pipeline("block", Kind.RIGHT)
        self._definition(word, name)
        return Invoke(name, argument, word.mark)

    def _define(self) -> None:
        self._next()
        word = self._solid()
        self._next()
        name = self._name("define")
        self._expect(Kind.RIGHT, "define")
        self._definition(word, name)

    def _definition(self, word: Token, name: str) -> None:
        outer, loops, slots = self._scope, self._loops, self._slots
        self._scope, self._loops, self._slots = [("$", 0)], 0, 1
        items, end = self._body(word)
        if end.text != "end":
            raise self._unexpected(end, word.text)
        body = Body(name, items, self._slots, word.mark)
        self._scope, self._loops, self._slots = outer, loops, slots
        before = self._defined.get(name)
        if before is None or before.is_empty:
            self._defined[name] = body
        elif not body.is_empty:
            raise self._fault(f'the template "{name}" is defined twice', word.mark)

    # pipelines --------------------------------------------------------------------------------------------------
    def _pipeline(self, context: str, end: Kind) -> Pipeline:
        first = self._solid()
        names, assigns = self._declaration(context)
        commands: list[Command] = []
        while True:
            commands.append(self._command(context, first.mark))
            token = self._solid()
            if token.kind is Kind.PIPE:
                self._next()
                if self._solid().kind is not end:
                    continue
                token = self._peek()  # Go lets a pipeline end with `|`
            if token.kind is not end:
                raise self._unexpected(token, context)
            self._next()
            break
        for stage, command in enumerate(commands[1:], start=2):
            if isinstance(command.words[0], Constant | Dot):
                raise self._fault(f"stage {stage} of the pipeline is no function", command.mark)
        slots = tuple(self._use(name, first.mark) if assigns else self._declare(name) for name in names)
        return Pipeline(tuple(commands), slots, first.mark)

    def _declaration(self, context: str) -> tuple[list[str], bool]:
        """`$x :=`, `$x =`, and for range `$i, $x :=`: the names, and whether they are declared already."""
        start = self._at
        names: list[str] = []
        while self._solid().kind is Kind.VARIABLE and len(names) < 2:
            names.append(self._next().text)
            token = self._solid()
            if token.kind in (Kind.DECLARE, Kind.ASSIGN):
                if len(names) == 2 and context != "range":
                    raise self._fault(f"two variables are declared in {context}", token.mark)
                self._next()
                return names, token.kind is Kind.ASSIGN
            if token.kind is not Kind.COMMA or context != "range":
                break
            self._next()
        self._at = start
        return [], False

    def _declare(self, name: str) -> int:
        slot = self._slots
        self._slots += 1
        self._scope.append((name, slot))
        return slot

    def _use(self, name: str, mark: int) -> int:
        for known, slot in reversed(self._scope):
            if known == name:
                return slot
        raise self._fault(f"the variable {name} is not declared", mark)

    def _command(self, context: str, mark: int) -> Command:
        words: list[Operand] = []
        while True:
            token = self._solid()
            if token.kind in (Kind.RIGHT, Kind.CLOSE, Kind.PIPE):
                break
            words.append(self._operand(context))
            after = self._peek()
            if after.kind not in (Kind.SPACE, Kind.RIGHT, Kind.CLOSE, Kind.PIPE):
                raise self._unexpected(after, f"{context}, after an operand")
        if not words:
            raise self._fault(f"{context} has no value", mark)
        return Command(tuple(words), words[0].mark)

    def _operand(self, context: str) -> Operand:
        term = self._term(context)
        names: list[str] = []
        while self._peek().kind is Kind.FIELD:
            names.append(self._next().text[1:])
        if not names:
            return term
        if isinstance(term, Constant):
            raise self._fault(f"a field of a constant: .{names[0]}", term.mark)
        if isinstance(term, Chain):
            return Chain(term.base, (*term.names, *names), term.mark)
        return Chain(term, tuple(names), term.mark)

    def _term(self, context: str) -> Operand:
        token = self._next()
        match token.kind:
            case Kind.STRING | Kind.RAW | Kind.CHAR | Kind.NUMBER:
                return Constant(self._literal(token), token.mark)
            case Kind.DOT:
                return Dot(token.mark)
            case Kind.VARIABLE:
                return Variable(self._use(token.text, token.mark), token.mark)
            case Kind.FIELD:
                return Chain(Dot(token.mark), (token.text[1:],), token.mark)
            case Kind.OPEN:
                return self._pipeline("parentheses", Kind.CLOSE)
            case Kind.KEYWORD if token.text == "nil":
                return Constant(None, token.mark)
            case Kind.WORD if token.text in _WORDS:
                return Constant(_WORDS[token.text], token.mark)
            case Kind.WORD:
                if token.text not in self._functions:
                    raise self._fault(f'the function "{token.text}" is not defined', token.mark)
                return Function(token.text, token.mark)
            case _:
                raise self._unexpected(token, context)

    def _literal(self, token: Token) -> str | int | float:
        try:
            match token.kind:
                case Kind.RAW:
                    return token.text[1:-1]
                case Kind.STRING:
                    return literals.unquote(token.text)
                case Kind.CHAR:
                    return literals.character(token.text)
                case _:
                    return literals.number(token.text)
        except TemplateFault as fault:
            raise LocatedFault(str(fault), token.mark) from fault


_Branches = tuple[tuple[Item, ...], tuple[Item, ...]]
