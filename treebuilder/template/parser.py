"""Tokens to syntax tree, by Go text/template's grammar.

Source: https://pkg.go.dev/text/template. A name may be defined once per text; a definition of white space only does
not count. Functions must be known, variables must be declared before use.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping

from treebuilder.records import record
from treebuilder.template import literals
from treebuilder.template.faults import LocatedFault, TemplateFault, TooDeep
from treebuilder.template.lexer import Action, Kind, Piece, Token
from treebuilder.template.scope import Scope
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
    Undeclared,
    Variable,
    With,
)

_WORDS = {"true": True, "false": False}
_DOT = Dot()
_ENDS = (Kind.RIGHT, Kind.CLOSE, Kind.PIPE)
_MAX_KEPT = 20_000
_UNDECLARED = -1  # the slot of a variable that is assigned and was never declared


@record
class Parsed:
    """The main text, the templates it defines, and the variables of its main text with the next free slot."""

    main: Body
    defined: Mapping[str, Body]
    scope: tuple[tuple[str, int], ...] = (("$", 0),)
    slots: int = 1


def parse(pieces: Iterable[Piece | Action], source: Source, functions: Container[str], before: Parsed) -> Parsed:
    """Parses pieces of a source that stand behind those of `before`; `main` is without the latter's. Raises
    LocatedFault."""
    parser = _Parser(pieces, source, functions, before)
    try:
        return parser.run()
    except RecursionError as err:
        raise TooDeep(parser.mark()) from err


EMPTY = Parsed(Body("", (), 1, 1), {})
# Parentheses, bodies and branches within each other: each costs stack, and time before it is known to be too much.
_DEEPEST = 1_000
_END = Token(Kind.RIGHT, "the end of the text", 0, False)
_shows: dict[str, Pipeline] = {}


class _Parser:
    def __init__(
        self, pieces: Iterable[Piece | Action], source: Source, functions: Container[str], before: Parsed
    ) -> None:
        self._pieces = iter(pieces)
        self._source = source
        self._tokens: tuple[Token, ...] = ()
        self._at = 0
        self._action = Action(0, (), "")
        self._functions = functions
        self._scope = Scope(before.scope)
        self._slots = before.slots
        self._bound = 0  # variables of the surroundings that were used
        self._loops = 0
        self._depth = 0
        self._defined: dict[str, Body] = dict(before.defined)

    def mark(self) -> int:
        """Where the action begins that was read last."""
        return self._source.mark(self._action.offset)

    # tokens -----------------------------------------------------------------------------------------------------
    def _peek(self) -> Token:
        return self._tokens[self._at] if self._at < len(self._tokens) else _END

    def _next(self) -> Token:
        token = self._peek()
        self._at += 1
        return token

    def _mark(self, token: Token) -> int:
        return self._source.mark(self._action.offset + token.offset)

    def _expect(self, kind: Kind, context: str) -> Token:
        token = self._next()
        if token.kind is not kind:
            raise self._unexpected(token, context)
        return token

    def _unexpected(self, token: Token, context: str) -> LocatedFault:
        return self._fault(f"unexpected {token.text} in {context}", token)

    def _fault(self, message: str, token: Token) -> LocatedFault:
        return LocatedFault(message, self._mark(token))

    def _deeper(self, mark: int) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise TooDeep(mark)

    # lists ------------------------------------------------------------------------------------------------------
    def run(self) -> Parsed:
        items: list[Item] = []
        for piece in self._pieces:
            if isinstance(piece, Action) and piece.tokens[0].text == "define" and piece.tokens[0].kind is Kind.KEYWORD:
                self._enter(piece)
                self._define()
                continue
            item = self._item(piece)
            if isinstance(item, Token):
                raise self._unexpected(item, "the text: it ends nothing")
            items.append(item)
        return Parsed(Body("", tuple(items), self._slots, 1), self._defined, tuple(self._scope), self._slots)

    def _enter(self, action: Action) -> None:
        self._action, self._tokens, self._at = action, action.tokens, 0

    def _item(self, piece: Piece | Action) -> Item | Token:
        """One piece of text or one action; the keyword token for `else` and `end`, which belong to the caller."""
        if isinstance(piece, Piece):
            return Text(piece.text, self._source.mark(piece.offset))
        first = piece.tokens[0]
        if first.kind is Kind.KEYWORD and first.text != "nil":
            self._enter(piece)
            self._at = 1
            return self._control(first)
        mark = self._source.mark(piece.offset + first.offset)
        known = _shows.get(piece.key) if piece.key else None
        if known is not None:
            return Show(known, mark, piece.key)
        self._enter(piece)
        self._bound = 0
        pipeline = self._pipeline("an action", Kind.RIGHT)
        if self._bound or not piece.key:
            return Show(pipeline, mark)
        if len(_shows) > _MAX_KEPT:
            _shows.clear()
        _shows[piece.key] = pipeline
        return Show(pipeline, mark, piece.key)

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
                    raise self._fault(f"{word.text} outside of a range", word)
                return Leave(word.text, self._mark(word))
            case "end":
                self._expect(Kind.RIGHT, "end")
                return word
            case "else":
                return word
            case _:
                raise self._fault(f"{{{{{word.text}}}}} stands inside another action's body", word)

    def _body(self, owner: Token, mark: int) -> tuple[tuple[Item, ...], Token]:
        """Items up to `else` or `end` of `owner`; variables declared inside end with it."""
        depth = len(self._scope)
        items: list[Item] = []
        self._deeper(mark)
        for piece in self._pieces:
            item = self._item(piece)
            if isinstance(item, Token):
                self._scope.leave(depth)
                self._depth -= 1
                return tuple(items), item
            items.append(item)
        raise LocatedFault(f"{{{{{owner.text}}}}} has no {{{{end}}}}", mark)

    # control structures -----------------------------------------------------------------------------------------
    def _branches(self, owner: Token, mark: int, again: str, parse_again: Callable[[Token], Item]) -> _Branches:
        self._loops += owner.text == "range"
        body, end = self._body(owner, mark)
        self._loops -= owner.text == "range"
        if end.text == "end":
            return body, ()
        following = self._peek()
        if again and following.kind is Kind.KEYWORD and following.text == again:
            # `else if` takes the `end` with it
            self._next()
            self._deeper(mark)
            behind = parse_again(following)
            self._depth -= 1
            return body, (behind,)
        self._expect(Kind.RIGHT, "else")
        orelse, end = self._body(owner, mark)
        if end.text != "end":
            raise self._fault("a second {{else}}", end)
        return body, orelse

    def _if(self, word: Token) -> Item:
        depth, mark = len(self._scope), self._mark(word)
        test = self._pipeline("if", Kind.RIGHT)
        body, orelse = self._branches(word, mark, "if", self._if)
        self._scope.leave(depth)
        return If(test, body, orelse, mark)

    def _with(self, word: Token) -> Item:
        depth, mark = len(self._scope), self._mark(word)
        test = self._pipeline("with", Kind.RIGHT)
        body, orelse = self._branches(word, mark, "with", self._with)
        self._scope.leave(depth)
        return With(test, body, orelse, mark)

    def _range(self, word: Token) -> Item:
        depth, mark = len(self._scope), self._mark(word)
        over = self._pipeline("range", Kind.RIGHT)
        body, orelse = self._branches(word, mark, "", self._range)
        self._scope.leave(depth)
        return Range(over, body, orelse, mark)

    def _name(self, context: str) -> str:
        token = self._next()
        if token.kind not in (Kind.STRING, Kind.RAW):
            raise self._unexpected(token, context)
        return str(self._literal(token))

    def _invoke(self, word: Token) -> Item:
        name, mark = self._name("template"), self._mark(word)
        argument: Pipeline | None = None
        if self._peek().kind is Kind.RIGHT:
            self._next()
        else:
            argument = self._pipeline("template", Kind.RIGHT)
        return Invoke(name, argument, mark)

    def _block(self, word: Token) -> Item:
        name, mark = self._name("block"), self._mark(word)
        argument = self._pipeline("block", Kind.RIGHT)
        self._definition(word, name)
        return Invoke(name, argument, mark)

    def _define(self) -> None:
        word = self._next()
        name = self._name("define")
        self._expect(Kind.RIGHT, "define")
        self._definition(word, name)

    def _definition(self, word: Token, name: str) -> None:
        outer, loops, slots, mark = self._scope, self._loops, self._slots, self._mark(word)
        self._scope, self._loops, self._slots = Scope(EMPTY.scope), 0, 1
        items, end = self._body(word, mark)
        if end.text != "end":
            raise self._unexpected(end, word.text)
        body = Body(name, items, self._slots, mark)
        self._scope, self._loops, self._slots = outer, loops, slots
        before = self._defined.get(name)
        known, found = self._source.rank(before.mark if before is not None else mark), self._source.rank(mark)
        if before is None or found < known or (found == known and before.is_empty):
            self._defined[name] = body
        elif found == known and not body.is_empty:
            raise LocatedFault(f'the template "{name}" is defined twice', mark)

    # pipelines --------------------------------------------------------------------------------------------------
    def _pipeline(self, context: str, end: Kind) -> Pipeline:
        first = self._peek()
        names, assigns = self._declaration(context)
        for name in names:  # to Go they are there from here on, though nothing is in them before the pipeline has run
            if name not in self._scope:
                self._scope.add(name, _UNDECLARED)
        commands: list[Command] = []
        while True:
            stage = self._peek()
            commands.append(self._command(context, first))
            if len(commands) > 1 and isinstance(commands[-1].words[0], Constant | Dot):
                raise self._fault(f"stage {len(commands)} of the pipeline is no function", stage)
            token = self._next()
            if token.kind is Kind.PIPE:
                if len(commands) > _DEEPEST:
                    raise TooDeep(self._mark(stage))
                if self._peek().kind is not end:
                    continue
                token = self._next()  # Go lets a pipeline end with `|`
            if token.kind is not end:
                raise self._unexpected(token, context)
            break
        slots = [self._slot(name) if assigns else self._declare(name) for name in names]
        commands += [
            Command((Undeclared(name),)) for name, slot in zip(names, slots, strict=True) if slot == _UNDECLARED
        ]
        return Pipeline(tuple(commands), tuple(slot for slot in slots if slot != _UNDECLARED))

    def _declaration(self, context: str) -> tuple[list[str], bool]:
        """`$x :=`, `$x =`, and for range `$i, $x :=`: the names, and whether they are declared already."""
        start = self._at
        names: list[str] = []
        while self._peek().kind is Kind.VARIABLE and len(names) < 2:
            names.append(self._next().text)
            token = self._peek()
            if token.kind in (Kind.DECLARE, Kind.ASSIGN):
                if len(names) == 2 and context != "range":
                    raise self._fault(f"two variables are declared in {context}", token)
                self._next()
                return names, token.kind is Kind.ASSIGN
            if token.kind is not Kind.COMMA or context != "range":
                break
            self._next()
        self._at = start
        return [], False

    def _declare(self, name: str) -> int:
        self._bound += 1
        slot = self._slots
        self._slots += 1
        self._scope.add(name, slot)
        return slot

    def _use(self, token: Token) -> Variable | Undeclared:
        if token.text not in self._scope:
            raise self._fault(f"the variable {token.text} is not declared", token)
        slot = self._slot(token.text)
        return Undeclared(token.text) if slot == _UNDECLARED else Variable(slot)

    def _slot(self, name: str) -> int:
        slot = self._scope.slot(name)
        self._bound += slot != 0
        return slot

    def _command(self, context: str, first: Token) -> Command:
        words: list[Operand] = []
        while self._peek().kind not in _ENDS:
            words.append(self._operand(context))
            after = self._peek()
            if not after.spaced and after.kind not in _ENDS:
                raise self._unexpected(after, f"{context}, after an operand")
        if not words:
            raise self._fault(f"{context} has no value", first)
        return Command(tuple(words))

    def _operand(self, context: str) -> Operand:
        token = self._peek()
        term = self._term(context)
        names: list[str] = []
        while self._peek().kind is Kind.FIELD and not self._peek().spaced:
            names.append(self._next().text[1:])
        if not names:
            return term
        if isinstance(term, Constant | Dot):
            raise self._fault(f"a field of a constant: .{names[0]}", token)
        if isinstance(term, Chain):
            return Chain(term.base, (*term.names, *names))
        return Chain(term, tuple(names))

    def _term(self, context: str) -> Operand:
        token = self._next()
        match token.kind:
            case Kind.STRING | Kind.RAW | Kind.CHAR | Kind.NUMBER:
                return Constant(self._literal(token))
            case Kind.DOT:
                return _DOT
            case Kind.VARIABLE:
                return self._use(token)
            case Kind.FIELD:
                return Chain(_DOT, (token.text[1:],))
            case Kind.OPEN:
                self._deeper(self._mark(token))
                inner = self._pipeline("parentheses", Kind.CLOSE)
                self._depth -= 1
                return inner
            case Kind.KEYWORD if token.text == "nil":
                return Constant(None)
            case Kind.WORD if token.text in _WORDS:
                return Constant(_WORDS[token.text])
            case Kind.WORD:
                if token.text not in self._functions:
                    raise self._fault(f'the function "{token.text}" is not defined', token)
                return Function(token.text)
            case _:
                raise self._unexpected(token, context)

    def _literal(self, token: Token) -> str | int | float | complex:
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
            raise self._fault(str(fault), token) from fault


_Branches = tuple[tuple[Item, ...], tuple[Item, ...]]
