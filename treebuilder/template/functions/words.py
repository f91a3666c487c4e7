"""sprig's conversions between `camelCase`, `snake_case` and `kebab-case`, as huandu/xstrings does them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from treebuilder.template.faults import TemplateFault
from treebuilder.template.functions.characters import SPACES, cased, category, is_alphabetic
from treebuilder.template.functions.lists import effort
from treebuilder.template.functions.signature import GoFunction, table

_Word = tuple[str, str]
_END: _Word = ("", "")
_BROKEN = "\ufffd"
_LONGEST = 1_000_000


def _is_connector(char: str) -> bool:
    return char in "-_" or char in SPACES


def _is_upper(char: str) -> bool:
    return category(char) == "Lu"


def _is_lower(char: str) -> bool:
    return is_alphabetic(char) and not _is_upper(char)


def _is_number(char: str) -> bool:
    return category(char)[0] == "N"


def _is_punct(char: str) -> bool:
    return category(char)[0] == "P"


def _is_other(char: str) -> bool:
    return not (_is_connector(char) or is_alphabetic(char) or _is_number(char) or _is_punct(char))


_KINDS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("connector", _is_connector), ("punct", _is_punct), ("upper", _is_upper), ("letter", _is_lower),
    ("number", _is_number), ("other", lambda _: True),
)  # fmt: skip
_GOES_ON = {**dict(_KINDS), "other": _is_other}


def _words(text: str) -> Iterator[_Word]:
    """(kind, word): a capital starts a word with the small letters behind it; `HTTPStatus` is HTTP and Status.

    A sign takes all signs with it, `-` and `_` among them; U+FFFD goes with what stands behind it.
    """
    at = 0
    while at < len(text):
        first = _valid(text, at)
        if first == len(text):
            yield "", text[at:]
            return
        kind = next(kind for kind, holds in _KINDS if holds(text[first]))
        end, last = _end(text, first + 1, _GOES_ON[kind])
        behind = _valid(text, end)
        if kind == "upper" and behind < len(text) and _is_lower(text[behind]):
            end = last if last > first else _end(text, end, _is_lower)[0]
        yield kind, text[at:end]
        at = end


def _valid(text: str, at: int) -> int:
    """Where the next character that is none of U+FFFD stands."""
    while text[at : at + 1] == _BROKEN:
        at += 1
    return at


def _end(text: str, at: int, holds: Callable[[str], bool]) -> tuple[int, int]:
    """Where a run ends, and where its last character begins (-1: the run is empty)."""
    last = -1
    while at < len(text):
        valid = _valid(text, at)
        if valid < len(text) and not holds(text[valid]):
            break
        at, last = min(valid + 1, len(text)), at
    return at, last


def _joined(text: str, connector: str) -> str:
    """Words in small letters with `connector` between them.

    A number belongs to the word before it (`Bld4Floor`), unless small letters follow (`http2xx`: http, 2xx); then
    they and all numbers and small letters after them are one word.
    """
    if len(text) > _LONGEST:
        raise TemplateFault(f"a text of {len(text)} characters")
    effort.compared += len(text)
    words = [*_words(text), _END]
    out: list[str] = []
    at = 0

    def take() -> None:
        nonlocal at
        kind, word = words[at]
        at += 1
        if kind == "connector":
            out.append("".join(connector if _is_connector(char) else char for char in word))
        else:
            out.append(
                "".join(cased(char, str.lower) if _is_upper(char) else char for char in word)
                if kind == "upper"
                else word
            )

    def separate() -> None:
        if words[at][0] not in ("connector", "punct") and words[at] != _END:
            out.append(connector)

    while at < len(words) - 1:
        kind = words[at][0]
        take()
        if kind in ("connector", "punct"):
            continue
        if kind != "number" and words[at][0] == "number":
            if at + 2 == len(words):
                continue
            if words[at + 1][0] != "letter":
                take()
                separate()
                continue
            out.append(connector)
            kind = "number"
        if kind == "number":
            while words[at][0] in ("letter", "number"):
                take()
        separate()
    return "".join(out)


def _camel(text: str) -> str:
    """`some_words` to `SomeWords`; connectors in front stay, of several in a row one is dropped."""
    effort.compared += len(text) >> 2
    stripped = text.lstrip("-_" + SPACES)
    head = text[: len(text) - len(stripped)]
    if not stripped:
        return text + text[-1:]  # the last of nothing but connectors is doubled
    out = [head]
    previous = cased(stripped[0], str.upper)
    for char in stripped[1:]:
        if _is_connector(char) and _is_connector(previous):
            out.append(previous)
        elif _is_connector(previous):
            char = cased(char, str.upper)
        else:
            out.append(previous)
            char = cased(char, str.lower)
        previous = char
    return "".join(out) + previous


WORDS: dict[str, GoFunction] = table(
    ("camelcase", "string", _camel),
    ("snakecase", "string", lambda text: _joined(text, "_")),
    ("kebabcase", "string", lambda text: _joined(text, "-")),
)
