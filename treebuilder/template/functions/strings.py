"""sprig's text functions. Lengths and positions count bytes of UTF-8, as in Go."""

from __future__ import annotations

import re
from collections.abc import Callable

from treebuilder.template.faults import TemplateFault
from treebuilder.template.functions.signature import GoFunction, table
from treebuilder.template.printf import quote
from treebuilder.template.values import MAX_TEXT, text_of

_WORD_START = re.compile(r"(?<![\w])(\w)")
_GAP = re.compile(r"\s+")


def strval(value: object) -> str:
    """sprig's conversion to text: bytes are text, everything else is printed."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return text_of(value)


def texts(value: object) -> list[str]:
    """sprig's conversion to a list of texts: nil items vanish, a single value is a list of one."""
    if isinstance(value, list | tuple):
        return [strval(item) for item in value if item is not None]
    return [] if value is None else [strval(value)]


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _trunc(size: int, text: str) -> str:
    data = _encode(text)
    if size < 0:
        return _decode(data[size:]) if len(data) + size > 0 else text
    return _decode(data[:size])


def _substr(start: int, end: int, text: str) -> str:
    data = _encode(text)
    if start < 0:
        if end < 0 or end > len(data):
            raise TemplateFault(f"the end {end} lies outside of the text")
        return _decode(data[:end])
    if start > len(data) or (0 <= end < start):
        raise TemplateFault(f"the range {start} to {end} lies outside of the text")
    return _decode(data[start:] if end < 0 or end > len(data) else data[start:end])


def _abbrev(width: int, text: str) -> str:
    return text if width < 4 else _abbreviate(text, 0, width)


def _abbrevboth(left: int, right: int, text: str) -> str:
    if right < 4 or (left > 0 and right < 7):
        return text
    return _abbreviate(text, left, right)


def _abbreviate(text: str, offset: int, width: int) -> str:
    if len(text) <= width:
        return text
    offset = min(offset, len(text))
    if len(text) - offset < width - 3:
        offset = len(text) - (width - 3)
    if offset <= 4:
        return text[: width - 3] + "..."
    if offset + width - 3 < len(text):
        return "..." + _abbreviate(text[offset:], 0, width - 3)
    return "..." + text[len(text) - (width - 3) :]


def _title(text: str) -> str:
    return _WORD_START.sub(lambda found: _cased(found.group(1), str.title), text)


def _untitle(text: str) -> str:
    return re.sub(r"(?<!\S)\S", lambda found: found.group().lower(), text)


def _repeat(count: int, text: str) -> str:
    if count < 0:
        raise TemplateFault("a negative count")
    if count * len(text) > MAX_TEXT:
        raise TemplateFault(f"the result is larger than {MAX_TEXT >> 20} MiB")
    return text * count


def _swapcase(text: str) -> str:
    pieces: list[str] = []
    white = True
    for char in text:
        if char.isupper() or char.istitle():
            pieces.append(char.lower())
        elif char.islower():
            pieces.append(char.title() if white else char.upper())
        else:
            pieces.append(char)
        white = char.isspace()
    return "".join(pieces)


def _wrap(text: str, width: int, newline: str, split_words: bool) -> str:
    """Breaks at spaces so that lines have at most `width` characters; longer words stay or are split."""
    width = max(width, 1)
    lines: list[str] = []
    offset = 0
    while len(text) - offset > width:
        if text[offset] == " ":
            offset += 1
            continue
        space = text.rfind(" ", offset, offset + width + 1)
        if space >= offset:
            lines.append(text[offset:space])
            offset = space + 1
        elif split_words:
            lines.append(text[offset : offset + width])
            offset += width
        else:
            space = text.find(" ", offset + width)
            if space < 0:
                break
            lines.append(text[offset:space])
            offset = space + 1
    return newline.join([*lines, text[offset:]])


def _indent(spaces: int, text: str) -> str:
    if spaces < 0 or spaces * (text.count("\n") + 1) > MAX_TEXT:
        raise TemplateFault(f"an indentation of {spaces}")
    pad = " " * spaces
    return pad + text.replace("\n", "\n" + pad)


def _cat(*values: object) -> str:
    return " ".join(text_of(value) for value in values if value is not None)


def _split(separator: str, text: str) -> dict[str, object]:
    return {f"_{index}": part for index, part in enumerate(_parts(separator, text))}


def _splitn(separator: str, count: int, text: str) -> dict[str, object]:
    if count == 0:
        return {}
    parts = _parts(separator, text, count)
    return {f"_{index}": part for index, part in enumerate(parts)}


def _parts(separator: str, text: str, count: int = -1) -> list[str]:
    """strings.SplitN: an empty separator splits into characters; a negative count is all."""
    if not separator:
        return list(text) if count < 0 or count >= len(text) else [*text[: count - 1], text[count - 1 :]]
    return text.split(separator, count - 1 if count > 0 else -1)


def _replace(old: str, new: str, text: str) -> str:
    if len(new) > len(old) and (text.count(old) + 1) * len(new) > MAX_TEXT:
        raise TemplateFault(f"the result is larger than {MAX_TEXT >> 20} MiB")
    return text.replace(old, new)


def _join(separator: str, value: object) -> str:
    return separator.join(texts(value))


def _fail(message: str) -> str:
    raise TemplateFault(message)


def _cased(text: str, change: Callable[[str], str]) -> str:
    """Go changes each character by itself: one whose other case is longer stays."""
    if text.isascii():
        return change(text)
    return "".join(other if len(other := change(char)) == 1 else char for char in text)


def _trim_all(cut: str, text: str) -> str:
    return text.strip(cut) if cut else text


STRINGS: dict[str, GoFunction] = table(
    ("hello", "", lambda: "Hello!"),
    ("abbrev", "int string", _abbrev),
    ("abbrevboth", "int int string", _abbrevboth),
    ("trunc", "int string", _trunc),
    ("trim", "string", lambda text: text.strip()),
    ("upper", "string", lambda text: _cased(text, str.upper)),
    ("lower", "string", lambda text: _cased(text, str.lower)),
    ("title", "string", _title),
    ("untitle", "string", _untitle),
    ("substr", "int int string", _substr),
    ("repeat", "int string", _repeat),
    ("trimall trimAll", "string string", _trim_all),
    ("trimSuffix", "string string", lambda end, text: text.removesuffix(end)),
    ("trimPrefix", "string string", lambda start, text: text.removeprefix(start)),
    ("nospace", "string", lambda text: _GAP.sub("", text)),
    ("initials", "string", lambda text: "".join(word[0] for word in text.split())),
    ("swapcase", "string", _swapcase),
    ("wrap", "int string", lambda width, text: _wrap(text, width, "\n", False)),
    ("wrapWith", "int string string", lambda width, newline, text: _wrap(text, width, newline or "\n", True)),
    ("contains", "string string", lambda part, text: part in text),
    ("hasPrefix", "string string", lambda start, text: text.startswith(start)),
    ("hasSuffix", "string string", lambda end, text: text.endswith(end)),
    ("quote", "any...", lambda *values: " ".join(quote(strval(value)) for value in values if value is not None)),
    ("squote", "any...", lambda *values: " ".join(f"'{text_of(value)}'" for value in values if value is not None)),
    ("cat", "any...", _cat),
    ("indent", "int string", _indent),
    ("nindent", "int string", lambda spaces, text: "\n" + _indent(spaces, text)),
    ("replace", "string string string", _replace),
    ("plural", "string string int", lambda one, many, count: one if count == 1 else many),
    ("toString", "any", strval),
    ("split", "string string", _split),
    ("splitList", "string string", _parts),
    ("splitn", "string int string", _splitn),
    ("toStrings", "any", texts),
    ("join", "string any", _join),
    ("sortAlpha", "any", lambda value: sorted(texts(value), key=_encode)),
    ("fail", "string", _fail),
)
