"""Random templates that are mostly valid, for comparison with Go."""
# ruff: noqa: E501 - tables of calls

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from treebuilder.template.functions import PURE
from treebuilder.template.functions.refused import REFUSED

_TEXTS = ["a", " b ", "\n", "\n\n  ", "- x\n", "", "}", "{ ", " \t"]
_ATOMS = {
    "any": [".", "$", "true", "false", ".Values.none", ".Values.t", "nil", "(list)"],
    "text": [
        '"s"', '""', ".Values.s", "`r\n`", '"a b,c"', '"+é"', '"1.2.3"', '">=1, <2"', '"12"', '"0x1F"', '"1.5"', '"-7"', '"a"',
        '"[a-c]+"', '"(a)|b*"', '"$1x"', '"Hello World_foo-bar"', '"/a/../b.tar.gz"', '"http://u:p@h:80/p?q=1#f"', '"{\\"a\\":[1]}"',
        '"2006-01-02"', '"2020-02-29"', '"  pad\\t"', '"ÀÉß"', '"a\\nb\\n\\nc"', '"%d-%5v"', '"true"', '"k"', '"YWI="', '"<&>"',
    ],
    "number": ["1", "2", "0", "-3", "'c'", ".Values.a", "1.5", '"7"', "9223372036854775807", ".Values.f", "1e18", "-2.5", '"x"'],
    "int": ["1", "2", "0", "-3", "7", "'c'", ".Values.a", "3.0", "(len .Values.l)", '(int "12")'],
    "float": ["1.5", "2", "-0.25", ".Values.f", "1e6"],
    "list": [".Values.l", '(list 1 "x" nil)', '(splitList "," "a,b")', "(list)", "(until 3)"],
    "map": ['(dict "k" "v" "x" 1)', "(dict)", ".Values", ".Values.m", '(dict "k" (list 1 nil) "z" nil)', '(split "," "a,b")', '(dict "k" (dict "n" 1.5))'],
}  # fmt: skip
_CALLS = {
    "any": [
        "default any any", "coalesce any any", "first list", "last list", "index list 0", "get map \"k\"", "and any any",
        "or any any", "ternary any any test", "1.5", "1e6",
    ],
    "text": [
        "print any any", "printf \"%v-%d\" any number", "quote any", "upper text", "join text list", "toString any",
        "kindOf any", "trunc number text", "replace text text text", "html any", "toJson list", "trimAll text text",
        "indent 2 text", "cat any text", "title text", "snakecase text", "squote any", "printf \"%5s|%-4v|%q\" text number text",
        "println any", "js text", "urlquery text", "b64enc text", "sha1sum text", "nospace text", "typeOf text",
    ],
    "number": ["add number number", "mul number number", "len list", "len map", "int any", "sub number 1", "max number number"],
    "list": [
        "append list any", "reverse list", "rest list", "uniq list", "concat list list", "without list any", "compact list",
        "sortAlpha (keys map)", "sortAlpha list", "splitList text text", "initial list",
    ],
    "map": ["merge map map", "pick map \"k\"", "omit map \"x\"", "set map \"z\" number", "deepCopy map", "split text text"],
    "test": [
        "eq number number", "eq text text", "ne text text", "lt number number", "not any", "empty any", "has any list",
        "hasKey map text", "contains text text", "ge number number", "eq any nil",
    ],
}  # fmt: skip
_KIND_OF = {
    "any": "any", "string": "text", "int": "int", "int64": "number", "float": "float", "bool": "test", "list": "list",
    "map": "map",
}  # fmt: skip
# their results have no order in Go (keys, values), are not what Go would say (errors in words), or end the run (fail)
_NOT_CALLED = frozenset(
    ["keys", "values", "set", "fail", "fromJson", "fromJsonArray", "fromYaml", "fromYamlArray", "toToml", "call"]
)
CALLED = [
    function for name, function in sorted(PURE.items()) if name not in _NOT_CALLED and name not in REFUSED
]  # fmt: skip
_KINDS = ["any", "text", "number", "list", "map", "test"]


class Generator:
    """Templates from a source of chance. Variables are used only where they are declared."""

    def __init__(self, source: random.Random) -> None:
        self._random = source

    def template(self) -> str:
        """One whole template."""
        return self._items(3, ())

    def _one_of(self, words: list[str]) -> str:
        return self._random.choice(words)

    def _items(self, depth: int, names: tuple[str, ...]) -> str:
        pieces: list[str] = []
        for _ in range(self._random.randint(1, 4)):
            text, names = self._item(depth, names)
            pieces.append(text)
        return "".join(pieces)

    def _action(self, body: str) -> str:
        left = self._one_of(["{{", "{{ ", "{{- ", "{{"])
        right = self._one_of(["}}", " }}", " -}}", "}}"])
        return left + body + right

    def _item(self, depth: int, names: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        kind = self._random.randint(0, 9 if depth else 4)
        inner = names
        match kind:
            case 0 | 1:
                return self._one_of(_TEXTS), names
            case 2 | 3:
                return self._action(self._pipeline(names)), names
            case 4:
                if names and self._random.random() < 0.4:
                    return self._action(f"{self._one_of(list(names))} = {self._pipeline(names)}"), names
                name = self._one_of(["$x", "$y"])
                return self._action(f"{name} := {self._pipeline(names)}"), (*names, name)
            case 5 | 6:
                text = self._action("if " + self._pipeline(names)) + self._items(depth - 1, names)
                if self._random.random() < 0.5:
                    text += self._action("else if " + self._pipeline(names)) + self._items(depth - 1, names)
                if self._random.random() < 0.5:
                    text += self._action("else") + self._items(depth - 1, names)
            case 7:
                text = self._action("with " + self._pipeline(names)) + self._items(depth - 1, names)
                if self._random.random() < 0.5:
                    text += self._action("else") + self._items(depth - 1, names)
            case _:
                head = self._one_of(["", "$e := ", "$i, $e := "])
                inner = (*names, *(["$e"] if head else []), *(["$i"] if "$i" in head else []))
                over = self._one_of([".Values.l", ".Values.m", "(list 1 2 3)", ".Values.none", "until 3"])
                body = self._items(depth - 1, inner)
                if self._random.random() < 0.3:
                    body += self._action("if " + self._pipeline(inner)) + self._action(
                        self._one_of(["break", "continue"])
                    )
                    body += self._action("end") + self._items(0, inner)
                text = self._action(f"range {head}{over}") + body
                if self._random.random() < 0.3:
                    text += self._action("else") + self._items(depth - 1, names)
        return text + self._action("end"), names

    def _pipeline(self, names: tuple[str, ...]) -> str:
        kind = self._one_of(_KINDS)
        text = self._call(names) if self._random.random() < 0.4 else self._value(kind, names, 2)
        if self._random.random() < 0.25:
            text += self._one_of(
                [" | print", " | not", " | default 1", " | quote", " | kindOf", ' | printf "<%v>"', " | list"]
            )
        if self._random.random() < 0.02:
            text += self._one_of([" 1", " | 1", " .Values.s.x", " | upper 5"])
        return text

    def _call(self, names: tuple[str, ...]) -> str:
        """Any function, with arguments of the types it takes; seldom of others, seldom too few or too many."""
        function = CALLED[self._random.randrange(len(CALLED))]
        types = [*function.parameters]
        if function.rest:
            types += [function.rest] * self._random.randint(0, 3)
        if self._random.random() < 0.03:
            types = types[:-1] if self._random.random() < 0.5 else [*types, "any"]
        words = [function.name]
        for wanted in types:
            kind = _KIND_OF[wanted] if self._random.random() < 0.95 else self._one_of(_KINDS)
            argument = self._value(kind, names, 1)
            words.append(f"({argument})" if " " in argument and argument[0] not in "(\"`'" else argument)
        return " ".join(words)

    def _value(self, kind: str, names: tuple[str, ...], depth: int) -> str:
        """A command of a kind; its arguments stand in parentheses."""
        if kind == "any" and names and self._random.random() < 0.5:
            return self._one_of(list(names))
        if not depth or kind not in _CALLS or self._random.random() < 0.3:
            return self._one_of(_ATOMS.get(kind, ["true", "false"]))
        words: list[str] = []
        for word in self._one_of(_CALLS[kind]).split(" "):
            if word not in _CALLS:
                words.append(word)
                continue
            argument = self._value(self._one_of(_KINDS) if word == "any" else word, names, depth - 1)
            words.append(f"({argument})" if " " in argument and argument[0] not in "(\"`'" else argument)
        return " ".join(words)


_VERBS = ["v", "d", "s", "q", "x", "X", "o", "O", "b", "c", "U", "e", "E", "f", "F", "g", "G", "t", "T", "z", "%"]
_FLAGS = [
    "", "5", "-5", "05", "+", "#", " ", ".2", "8.3", "-8.3", "+.1", "08.2", "#6", "+05", ".0", "-05", ".10", "6.", "+8", "# ", "-#8",
]  # fmt: skip
_OPERANDS = [
    "0 42 -7 9223372036854775807 'x'", "0.0 1.5 -2.25 1e6 1e21 123456.789 1e-7", r'"" "abc" "é\n" "a\"b"', "true nil",
    '(list 1 "a" nil 1.5)', "(list) (until 3)", '(splitList "," "a,b") (dict "a" 1 "b" "x")', ".Values.m",
]  # fmt: skip
_ODD = [
    "%", "%%", "%5%", "%-5%", "%!", "%[1]d %[1]v", "%[2]s %[1]s", "%[3]d", "%[0]d", "%[x]d", "%[1]", "%[1", "%*d", "%-*d", "%.*f",
    "%[2]*[1]d", "%[1]*d", "%[1].2f", "%6.[2]f", "%.[1]d", "%d %d", "%d %d %d", "%5", "%.", "%#", "é%dé", "%*%", "%-010d",
    "%99999999d", "%.99999999f", "%v %T", "%[2]v %v", "%w", "%5.1f|%v", "%+v", "%#v %#v", "%.3s|%.0s", "%+q", "%#q", "%U %#U", "%08.3f",
]  # fmt: skip
_ARGUMENTS = ["1 2", '"a" "b"', "3 1.5", "5", "", "-3 7", "1.5 2", '"é" 233', "nil nil", "true 1"]


def printf_calls() -> Iterator[str]:
    """Every verb with every set of flags and every kind of value, and directives that are wrong."""
    for verb, flags in itertools.product(_VERBS, _FLAGS):
        calls: list[str] = []
        for operands in _OPERANDS:
            for operand in [operands] if operands.startswith("(") else operands.split(" "):
                argument = " ".join(f"({part}" if index else part for index, part in enumerate(operand.split(" (")))
                calls.append(f'{{{{ printf "%{flags}{verb}" {argument} }}}}')
        yield "|".join(calls)
    for odd in _ODD:
        yield "|".join(f'{{{{ printf "{odd}" {arguments} }}}}' for arguments in _ARGUMENTS)
