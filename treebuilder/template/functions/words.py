"""sprig's conversions between `camelCase`, `snake_case` and `kebab-case`, as huandu/xstrings does them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from treebuilder.template.functions.signature import GoFunction, table


def _is_connector(char: str) -> bool:
    return char in "-_" or char.isspace()


def _kind(char: str) -> str:
    """connector, punct, upper, letter, number or other."""
    category = unicodedata.category(char)
    if _is_connector(char):
        return "connector"
    if category.startswith("P"):
        return "punct"
    if category == "Lu":
        return "upper"
    if category.startswith("L") and (category == "Ll" or char.lower() != char.upper()):
        return "letter"
    return "number" if category.startswith("N") else "other"


def _runs(text: str) -> Iterator[tuple[str, str]]:
    """(kind, word): a capital starts a word with the small letters behind it; `HTTPStatus` is HTTP and Status."""
    at = 0
    while at < len(text):
        start, kind = at, _kind(text[at])
        at += 1
        if kind == "upper":
            while at < len(text) and _kind(text[at]) == "upper":
                at += 1
            if at < len(text) and _kind(text[at]) == "letter":
                if at - start > 1:
                    at -= 1
                else:
                    while at < len(text) and _kind(text[at]) == "letter":
                        at += 1
        else:
            ends = ("connector", "letter", "upper", "number", "punct") if kind == "other" else ()
            while at < len(text) and (_kind(text[at]) not in ends if ends else _kind(text[at]) == kind):
                at += 1
        yield kind, text[start:at]


def _joined(text: str, connector: str) -> str:
    """Words in small letters with `connector` between them.

    A number belongs to the word before it (`Bld4Floor`), unless small letters follow (`http2xx`: http, 2xx); then
    they and all numbers and small letters after them are one word.
    """
    runs = list(_runs(text))
    out: list[str] = []
    at = 0

    def take(kind: str, word: str) -> None:
        if kind == "connector":
            out.append(connector * len(word))
        else:
            out.append(word.lower() if kind == "upper" else word)

    def separates(index: int) -> bool:
        return index < len(runs) and runs[index][0] not in ("connector", "punct")

    while at < len(runs):
        kind, word = runs[at]
        take(kind, word)
        at += 1
        if kind in ("connector", "punct") or at == len(runs):
            continue
        following = runs[at][0]
        if kind != "number" and following == "number":
            if at + 1 < len(runs) and runs[at + 1][0] == "letter":
                out.append(connector)
            take(*runs[at])
            at += 1
            if at < len(runs) and runs[at][0] != "letter":
                if separates(at):
                    out.append(connector)
                continue
            following = "letter" if at < len(runs) else ""
            kind = "number"
        if kind == "number":
            while at < len(runs) and runs[at][0] in ("letter", "number"):
                take(*runs[at])
                at += 1
        if separates(at):
            out.append(connector)
    return "".join(out)


def _camel(text: str) -> str:
    """`some_words` to `SomeWords`; connectors in front stay, of several in a row one is dropped."""
    stripped = text.lstrip("-_ \t\n\v\f\r\x85\xa0")
    head = text[: len(text) - len(stripped)]
    if not stripped:
        return text + text[-1:]  # the last of nothing but connectors is doubled
    out = [head]
    previous = stripped[0].upper()
    for char in stripped[1:]:
        if _is_connector(char) and _is_connector(previous):
            out.append(previous)
        elif _is_connector(previous):
            char = char.upper()
        else:
            out.append(previous)
            char = char.lower()
        previous = char
    return "".join(out) + previous


WORDS: dict[str, GoFunction] = table(
    ("camelcase", "string", _camel),
    ("snakecase", "string", lambda text: _joined(text, "_")),
    ("kebabcase", "string", lambda text: _joined(text, "-")),
)
