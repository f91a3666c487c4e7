"""sprig's text functions. Lengths and positions count bytes of UTF-8, as in Go."""

from __future__ import annotations

import re
from collections.abc import Callable

from treebuilder.template.faults import TemplateFault
from treebuilder.template.functions.characters import SPACES, cased, category
from treebuilder.template.functions.lists import effort
from treebuilder.template.functions.signature import GoFunction, table
from treebuilder.template.printf import quote
from treebuilder.template.values import MAX_TEXT, TextList, TextMap, decoded, text_of

_FIRST = re.compile(f"(?<![^{SPACES}])[^{SPACES}]")
_LATIN_SPACES = "\t\n\v\f\r \x85\xa0"
_BYTE_SPACES = str.maketrans("", "", _LATIN_SPACES)
_SEPARATORS = bytes.maketrans(_LATIN_SPACES.encode("latin-1"), b" " * len(_LATIN_SPACES))


def strval(value: object) -> str:
    """sprig's conversion to text: bytes are text, everything else is printed."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return text_of(value)


def texts(value: object) -> TextList:
    """sprig's conversion to a list of texts: nil items vanish, a single value is a list of one."""
    if isinstance(value, list | tuple | bytes):
        return TextList(strval(item) for item in value if item is not None)
    return TextList() if value is None else TextList([strval(value)])


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _decode(data: bytes) -> str:
    return decoded(data)


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
    return text if width < 4 else _by_bytes(lambda data: _abbreviate(data, 0, width), text)


def _abbrevboth(left: int, right: int, text: str) -> str:
    if right < 4 or (left > 0 and right < 7):
        return text
    return _by_bytes(lambda data: _abbreviate(data, left, right), text)


def _by_bytes(change: Callable[[str], str], text: str) -> str:
    """Runs what counts characters over the bytes of a text, each as one character."""
    if text.isascii():
        return change(text)
    return _decode(change(_encode(text).decode("latin-1")).encode("latin-1", "replace"))


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
    effort.compared += len(text) >> 2
    pieces: list[str] = []
    apart = True
    for char in text:
        pieces.append(cased(char, str.title) if apart else char)
        apart = not (char.isalnum() or char == "_") and (char < "\x80" or char in SPACES)
    return "".join(pieces)


def _nospace(text: str) -> str:
    """goutils takes each byte for a character, so what is not ASCII is taken apart; it does in luet, too."""
    effort.compared += len(text) >> 3
    data = text if text.isascii() else _encode(text).decode("latin-1")
    left = data.translate(_BYTE_SPACES)
    return text if len(left) == len(data) else left


def _initials(text: str) -> str:
    """The first byte of each word, as goutils takes it: a byte that is a space in Latin-1 parts words too."""
    effort.compared += len(text) >> 3
    return "".join(chr(word[0]) for word in _encode(text).translate(_SEPARATORS).split(b" ") if word)


def _untitle(text: str) -> str:
    effort.compared += len(text) >> 2
    return _FIRST.sub(lambda found: cased(found.group(), str.lower), text)


def _quoted(*values: object) -> str:
    found = [strval(value) for value in values if value is not None]
    effort.compared += sum(map(len, found)) >> 3
    return " ".join(map(quote, found))


def _repeat(count: int, text: str) -> str:
    if count < 0:
        raise TemplateFault("a negative count")
    if count * len(text) > MAX_TEXT:
        raise TemplateFault(f"the result is larger than {MAX_TEXT >> 20} MiB")
    return text * count


def _swapcase(text: str) -> str:
    effort.compared += len(text) >> 2
    pieces: list[str] = []
    white = True
    for char in text:
        kind = category(char)
        if kind in ("Lu", "Lt"):
            pieces.append(cased(char, str.lower))
        elif kind == "Ll":
            pieces.append(cased(char, str.title if white else str.upper))
        else:
            pieces.append(char)
        white = char in SPACES
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
    effort.compared += len(lines)
    return newline.join([*lines, text[offset:]])


def _wrap_with(width: int, newline: str, text: str) -> str:
    lines = newline or "\n"
    if text.isascii():
        return _wrap(text, width, lines, True)
    return _by_bytes(lambda data: _wrap(data, width, _encode(lines).decode("latin-1"), True), text)


def _indent(spaces: int, text: str) -> str:
    if spaces < 0 or spaces * (text.count("\n") + 1) > MAX_TEXT:
        raise TemplateFault(f"an indentation of {spaces}")
    pad = " " * spaces
    return pad + text.replace("\n", "\n" + pad)


def _cat(*values: object) -> str:
    return " ".join(text_of(value) for value in values if value is not None)


def _split(separator: str, text: str) -> TextMap:
    return TextMap((f"_{index}", part) for index, part in enumerate(_parts(separator, text)))


def _splitn(separator: str, count: int, text: str) -> TextMap:
    if count == 0:
        return TextMap()
    parts = _parts(separator, text, count)
    return TextMap((f"_{index}", part) for index, part in enumerate(parts))


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
    return separator.join(str(text) for text in texts(value))


def _sort_alpha(value: object) -> TextList:
    if value is None:
        return TextList(["<nil>"])
    found: list[str] = [str(text) for text in texts(value)]
    found.sort(key=_encode)
    return TextList(found)


def _fail(message: str) -> str:
    raise TemplateFault(message)


def _trim_all(cut: str, text: str) -> str:
    return text.strip(cut) if cut else text


STRINGS: dict[str, GoFunction] = table(
    ("hello", "", lambda: "Hello!"),
    ("abbrev", "int string", _abbrev),
    ("abbrevboth", "int int string", _abbrevboth),
    ("trunc", "int string", _trunc),
    ("trim", "string", lambda text: text.strip(SPACES)),
    ("upper", "string", lambda text: cased(text, str.upper)),
    ("lower", "string", lambda text: cased(text, str.lower)),
    ("title", "string", _title),
    ("untitle", "string", _untitle),
    ("substr", "int int string", _substr),
    ("repeat", "int string", _repeat),
    ("trimall trimAll", "string string", _trim_all),
    ("trimSuffix", "string string", lambda end, text: text.removesuffix(end)),
    ("trimPrefix", "string string", lambda start, text: text.removeprefix(start)),
    ("nospace", "string", _nospace),
    ("initials", "string", _initials),
    ("swapcase", "string", _swapcase),
    ("wrap", "int string", lambda width, text: _by_bytes(lambda data: _wrap(data, width, "\n", False), text)),
    ("wrapWith", "int string string", _wrap_with),
    ("contains", "string string", lambda part, text: part in text),
    ("hasPrefix", "string string", lambda start, text: text.startswith(start)),
    ("hasSuffix", "string string", lambda end, text: text.endswith(end)),
    ("quote", "any...", _quoted),
    ("squote", "any...", lambda *values: " ".join(f"'{text_of(value)}'" for value in values if value is not None)),
    ("cat", "any...", _cat),
    ("indent", "int string", _indent),
    ("nindent", "int string", lambda spaces, text: "\n" + _indent(spaces, text)),
    ("replace", "string string string", _replace),
    ("plural", "string string int", lambda one, many, count: one if count == 1 else many),
    ("toString", "any", strval),
    ("split", "string string", _split),
    ("splitList", "string string", lambda separator, text: TextList(_parts(separator, text))),
    ("splitn", "string int string", _splitn),
    ("toStrings", "any", texts),
    ("join", "string any", _join),
    ("sortAlpha", "any", _sort_alpha),
    ("fail", "string", _fail),
)
