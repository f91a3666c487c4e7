"""Templates as people get them wrong: words of known good ones exchanged, lost, doubled and piped."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

_TOKEN = re.compile(r'\{\{-?|-?\}\}|"(?:\\.|[^"\\])*"|`[^`]*`|\$?\w+|\.[\w.]*|\s+|.', re.DOTALL)
_FUNCTION = re.compile(r"[a-z]\w+")
_TERMS = (
    ".Values.name", ".Values.count", ".Values.ratio", ".Values.packages", ".Values.labels", ".Values.none",
    ".Values.deps", ".Values.env", ".Values.fips", '"x"', '""', "1", "0", "-1", "1.5", "nil", "true", "(list 1 2)",
    '(dict "a" 1)', ".", "$", "`a b`", "'a'", ".Values", "(1)", "1e3", "0x1F", '"é"', '"a/b/c"', '"1.2.3"', "(list)",
    "(dict)", '"{\\"a\\": [1, 2.5, null]}"', '"a: [1, x]"', '"["', '"a: b: c"', '"- 1"', '"{"', '"tru"', '"[1,]"',
)  # fmt: skip
_JSON = (
    "{", "}", "[", "]", '"a"', '"a":', ":", ",", "1", "-", "0", ".5", "1.5", "e", "E+", "2E-3", "true", "tru", "nul",
    "null", "false", " ", "\n", '"', "\\", '"\\u12"', '"\\x"', "\x01", "é", "'", '"é"', '{"a": 1}', "[1, 2]", "01",
    "1.", "+1", "NaN", "-Infinity", "`", '\\"',
)  # fmt: skip
_YAML = (
    "a: 1\n", "- x\n", "a: b: c\n", "  - y\n", "\t", "{", "}", "[", "]", ",", '"', "'", "&x ", "*y ", "- ", "-", ": ",
    ":", "\n", "\n\n", "#c\n", "|\n", ">\n", "%YAML 1.1\n", "---\n", "...\n", "@", "`", "é", "~", "1", "1.5", "true",
    "hello world again", "x", '"\\q"', "\x01", "k: [a, b\n", "k: {a: b\n", 'k: "a\n', "a\n", "  b: 1\n", "|x\n",
    "\r", "\x85", "a: 1\r",
)  # fmt: skip


class Mutator:
    """Draws from the given templates."""

    def __init__(self, draw: random.Random, texts: Sequence[str]) -> None:
        self._draw = draw
        self._texts = texts
        self._words: list[str] = sorted({word for text in texts for word in _FUNCTION.findall(text)})

    def template(self) -> str:
        """One of the templates with a fault or two, or none."""
        tokens: list[str] = _TOKEN.findall(self._draw.choice(self._texts))
        spots, inside = [], False
        for at, token in enumerate(tokens):
            if token.startswith("{{"):
                inside = True
            elif token.endswith("}}"):
                inside = False
            elif inside and token.strip():
                spots.append(at)
        for _ in range(self._draw.choice((1, 1, 1, 2)) if spots else 0):
            at = self._draw.choice(spots)
            tokens[at] = self._changed(tokens[at], tokens[self._draw.choice(spots)])
        return "".join(tokens)

    def _changed(self, token: str, other: str) -> str:
        term = self._draw.choice(_TERMS)
        if token[:1] in ('"', "`", ".", "$") or token.isdigit():
            return self._draw.choice((term, term, term, f"{token} {term}", ""))
        if token in self._words and self._draw.random() < 0.8:
            return self._draw.choice(self._words)
        return self._draw.choice(("", f"{token} {term}", f"{term} | {token}", f"{token} {token}", other))

    def broken(self) -> tuple[str, str]:
        """A function that reads data, and a text for it, which mostly is none."""
        name = self._draw.choice(("fromJson", "fromJsonArray", "mustFromJson", "fromYaml", "fromYamlArray"))
        parts = _JSON if "Json" in name else _YAML
        return name, "".join(self._draw.choice(parts) for _ in range(self._draw.randint(1, 7)))
