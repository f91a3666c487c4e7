"""RE2 patterns (Go's regexp) as Python's, and the file filters made of them.

Source: https://github.com/google/re2/wiki/Syntax. What RE2 has not (look-around, backreferences, possessive and atomic
groups) is refused, what Python writes differently (`\\z`, `\\pL`, `[[:alpha:]]`, flags in the middle) is translated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

from treebuilder.errors import SpecError
from treebuilder.model.folding import Ranges, folded, without

_POSIX = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": "\\x00-\\x7f", "blank": "\\t ", "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9", "graph": "!-\\~", "lower": "a-z", "print": " -\\~", "punct": "!-/:-@\\[-`{-\\~",
    "space": "\\t\\n\\v\\f\\r ", "upper": "A-Z", "word": "0-9A-Za-z_", "xdigit": "0-9A-Fa-f",
}  # fmt: skip
_NOT_POSIX = {
    "alnum": "\\x00-/:-@\\[-`{-\U0010ffff", "alpha": "\\x00-@\\[-`{-\U0010ffff", "ascii": "\\x80-\U0010ffff",
    "blank": "\\x00-\\x08\\x0a-\\x1f!-\U0010ffff", "cntrl": " -\\~\\x80-\U0010ffff", "digit": "\\x00-/:-\U0010ffff",
    "graph": "\\x00- \\x7f-\U0010ffff", "lower": "\\x00-`{-\U0010ffff", "print": "\\x00-\\x1f\\x7f-\U0010ffff",
    "punct": "\\x00- 0-9A-Za-z\\x7f-\U0010ffff", "space": "\\x00-\\x08\\x0e-\\x1f!-\U0010ffff",
    "upper": "\\x00-@\\[-\U0010ffff", "word": "\\x00-/:-@\\[-\\^`{-\U0010ffff",
    "xdigit": "\\x00-/:-@G-`g-\U0010ffff",
}  # fmt: skip
_PERL = {
    "d": ("0-9", _NOT_POSIX["digit"]), "w": ("0-9A-Za-z_", _NOT_POSIX["word"]),
    "s": ("\\t\\n\\f\\r ", "\\x00-\\x08\\x0b\\x0e-\\x1f!-\U0010ffff"),
}  # fmt: skip
_PLAIN_ESCAPES = {"a": "\\x07", "f": "\\x0c", "t": "\\x09", "n": "\\x0a", "r": "\\x0d", "v": "\\x0b"}
_SCRIPTS = {
    "Arabic": "ARABIC ", "Cyrillic": "CYRILLIC ", "Greek": "GREEK ", "Han": "CJK UNIFIED ", "Hebrew": "HEBREW ",
    "Hiragana": "HIRAGANA ", "Katakana": "KATAKANA ", "Latin": "LATIN ",
}  # fmt: skip
_FLAGS = re.compile(r"\(\?([imsU]*)(?:-([imsU]+))?([:)])")
_GROUP_NAME = re.compile(r"\(\?P?<([A-Za-z0-9_]+)>")
_MEMBER = re.compile(r"\\x(..)|\\U(.{8})|\\(.)|(.)", re.DOTALL)
_LETTERS = {"a": 7, "t": 9, "n": 10, "v": 11, "f": 12, "r": 13}  # behind a backslash
_REPEAT = re.compile(r"\{(\d+)(,(\d*))?\}")
_MAX_REPEAT = 1000
_MAX_WRITTEN = 1 << 20  # characters in Python's syntax: it takes seconds to compile them
_ASSERTIONS = frozenset(("^", "$", r"\A", r"\Z", r"\b", r"\B"))


def group_name(name: str) -> str:
    """The name that a group has in Python, which wants a letter at the beginning."""
    return f"\xaa{name}" if name[:1].isdigit() else name


def translate(pattern: str) -> str:
    """The same pattern in Python's syntax. Raises SpecError (reason "pattern", "too-large")."""
    return _Translator(pattern).run()


@lru_cache(maxsize=4096)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A compiled RE2 pattern. Raises SpecError (reason "pattern", "too-large")."""
    try:
        return re.compile(translate(pattern), re.ASCII)
    except (re.error, OverflowError, RecursionError) as err:
        raise SpecError(f"the pattern {pattern[:100]!r} is no regular expression: {err}", reason="pattern") from err


def compile_filter(includes: Iterable[str], excludes: Iterable[str]) -> Callable[[str], bool]:
    """Whether a path (with a leading `/`) is kept. Searches are unanchored (luet.md §4.8).

    Without patterns everything is kept; with includes only what one of them finds; never what an exclude finds.
    Raises SpecError (reason "pattern", "too-large").
    """
    wanted = tuple(compile_pattern(pattern) for pattern in includes)
    unwanted = tuple(compile_pattern(pattern) for pattern in excludes)
    if not wanted and not unwanted:
        return lambda _: True
    from treebuilder.model import linear

    def finds(pattern: re.Pattern[str], path: str) -> bool:
        try:
            return linear.search(pattern, path) is not None
        except linear.TooHard as err:
            raise SpecError(f"{err}, in {pattern.pattern!r}", reason="pattern") from err

    def keeps(path: str) -> bool:
        if wanted and not any(finds(pattern, path) for pattern in wanted):
            return False
        return not any(finds(pattern, path) for pattern in unwanted)

    return keeps


class _Translator:
    """One pass over the pattern. `_groups` holds, for each open group, its flags and how many groups of ours for
    flags set in its middle are open inside it; those are closed and opened again at every `|`."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._left = _MAX_WRITTEN
        self._out: list[str] = []
        self._groups: list[tuple[frozenset[str], list[str]]] = [(frozenset(), [])]

    def _refuse(self, why: str) -> SpecError:
        return SpecError(f"the pattern {self._pattern[:100]!r} is not allowed: {why}", reason="pattern")

    def _weighed(self, text: str) -> str:
        """A part, or all, of what is written. Raises SpecError (reason "too-large")."""
        self._left -= len(text)
        if self._left < 0:
            raise SpecError(f"the pattern {self._pattern[:100]!r} is too large", reason="too-large")
        return text

    def run(self) -> str:
        pattern = self._weighed(self._pattern)
        repeated = True  # nothing stands before that could be repeated
        while self._at < len(pattern):
            char = pattern[self._at]
            if char in "*+?" or (char == "{" and _REPEAT.match(pattern, self._at)):
                if repeated and char != "{" and self._out and self._out[-1].endswith(("*", "+", "?", "}")):
                    raise self._refuse("a repetition of a repetition")
                self._repetition(char)
                repeated = True
                continue
            repeated = False
            self._one(char)
        while self._groups:
            if len(self._groups) > 1:
                raise self._refuse("a parenthesis that is not closed")
            self._close_own()
            self._groups.pop()
        self._left = _MAX_WRITTEN
        return self._weighed("".join(self._out))

    def _one(self, char: str) -> None:
        flags, own = self._groups[-1]
        self._at += 1
        match char:
            case "\\":
                self._escape()
            case "[":
                self._out.append(self._class())
            case "(":
                self._open()
            case ")":
                if len(self._groups) == 1:
                    raise self._refuse("a closing parenthesis too many")
                self._close_own()
                self._groups.pop()
                self._out.append(")")
            case "|":
                self._out.append(")" * len(own) + "|" + "".join(own))
            case "$":
                self._out.append("$" if "m" in flags else r"\Z")
            case "{" | "}":
                self._out.append(f"\\{char}")
            case _:
                self._out.append(self._literal(char))

    @property
    def _folds(self) -> bool:
        return "i" in self._groups[-1][0]

    def _literal(self, char: str) -> str:
        """A character; where case does not count, all its forms if Python does not know them (it folds ASCII)."""
        if not self._folds or (char.isascii() and char not in "kKsS"):
            return char
        return _forms(char)

    def _set(self, members: str, others: str, negated: bool) -> str:
        """A class with a name, or all others, as members: case counts before the others are looked for."""
        if self._folds:
            return self._weighed(_folded(members, negated))
        return others if negated else members

    def _repetition(self, char: str) -> None:
        if char == "{":
            found = _REPEAT.match(self._pattern, self._at)
            assert found is not None
            least, _, most = found.groups()
            if int(least) > _MAX_REPEAT or int(most or 0) > _MAX_REPEAT:
                raise self._refuse(f"more than {_MAX_REPEAT} repetitions")
            text = found.group()
        else:
            text = char
        if self._out and self._out[-1] in _ASSERTIONS:
            self._out[-1] = f"(?:{self._out[-1]})"  # Python repeats no bare assertion
        self._at += len(text)
        lazy = self._pattern.startswith("?", self._at)
        self._at += lazy
        if lazy != ("U" in self._groups[-1][0]):
            text += "?"
        if self._pattern[self._at : self._at + 1] in ("*", "+", "?"):
            raise self._refuse("a repetition of a repetition")
        self._out.append(text)

    # groups -----------------------------------------------------------------------------------------------------
    def _close_own(self) -> None:
        self._out.append(")" * len(self._groups[-1][1]))

    def _open(self) -> None:
        start = self._at - 1
        flags = self._groups[-1][0]
        if not self._pattern.startswith("(?", start):
            self._out.append("(")
            self._groups.append((flags, []))
            return
        name = _GROUP_NAME.match(self._pattern, start)
        if name is not None:
            self._at = name.end()
            named = f"(?P<{group_name(name.group(1))}>"
            self._out.append("(" if named in self._out else named)  # of equal names the first counts
            self._groups.append((flags, []))
            return
        found = _FLAGS.match(self._pattern, start)
        if found is None:
            what = self._pattern[start : start + 4]
            raise self._refuse(f"{what} is not known to RE2 (no look-around, no backreferences)")
        self._at = found.end()
        on, off, end = found.group(1), found.group(2) or "", found.group(3)
        if end == ")" and not on and not off:
            raise self._refuse("flags without a flag")
        changed = (flags | set(on)) - set(off)
        on, off = ("".join(sorted(set(said) - {"U"})) for said in (on, off))  # Python has no U: `_repetition` minds it
        head = f"(?{on}{'-' + off if off else ''}:"
        self._out.append(head)
        if end == ":":
            self._groups.append((changed, []))
        else:
            self._groups[-1] = (changed, [*self._groups[-1][1], head])

    # escapes and classes ----------------------------------------------------------------------------------------
    def _escape(self) -> None:
        char = self._pattern[self._at : self._at + 1]
        if char == "Q":
            self._at += 1
            end = self._pattern.find("\\E", self._at)
            literal = self._pattern[self._at :] if end < 0 else self._pattern[self._at : end]
            self._at = len(self._pattern) if end < 0 else end + 2
            forms = ((each, self._literal(each)) for each in literal)
            self._out.extend(re.escape(each) if form == each else form for each, form in forms)
            return
        if char in ("A", "b", "B"):
            self._at += 1
            self._out.append(f"\\{char}")
            return
        if char == "z":
            self._at += 1
            self._out.append(r"\Z")
            return
        members = self._members()
        self._out.append(f"[{_folded(members) if self._folds and _is_one(members) else members}]")

    def _members(self) -> str:
        """What an escape stands for, as members of a character class. `_at` is behind the backslash."""
        char = self._pattern[self._at : self._at + 1]
        if not char:
            raise self._refuse("a backslash at the end")
        self._at += 1
        if char.lower() in _PERL:
            return self._set(*_PERL[char.lower()], char.isupper())
        if char in "pP":
            return self._property(char == "P")
        if char in _PLAIN_ESCAPES:
            return _PLAIN_ESCAPES[char]
        if char == "x":
            return self._hexadecimal()
        if char in "01234567":
            return self._octal(char)
        if char.isascii() and char.isalnum():
            raise self._refuse(f"\\{char} is not known to RE2")
        if not char.isascii():
            raise self._refuse(f"\\{char} escapes a letter")
        return f"\\{char}"

    def _octal(self, first: str) -> str:
        following = self._pattern[self._at : self._at + 2]
        digits = first + "".join(c for c in following if c in "01234567")
        if first != "0" and len(digits) < 3:
            raise self._refuse(f"\\{first} is a backreference")
        found = re.match("[0-7]{1,3}", self._pattern[self._at - 1 :])
        assert found is not None
        self._at += found.end() - 1
        return _code(int(found.group(), 8))

    def _hexadecimal(self) -> str:
        found = re.compile(r"\{([0-9a-fA-F]{1,8})\}|([0-9a-fA-F]{2})").match(self._pattern, self._at)
        if found is None:
            raise self._refuse("\\x needs two hexadecimal digits, or more in {}")
        self._at = found.end()
        code = int(found.group(1) or found.group(2), 16)
        if code > 0x10FFFF:
            raise self._refuse(f"\\x{{{code:x}}} is no character")
        return _code(code)

    def _property(self, negated: bool) -> str:
        if self._pattern.startswith("{", self._at):
            end = self._pattern.find("}", self._at)
            name = self._pattern[self._at + 1 : end] if end > 0 else ""
            self._at = end + 1
        else:
            name = self._pattern[self._at : self._at + 1]
            self._at += 1
        if name.startswith("^"):
            name, negated = name[1:], not negated
        members = self._weighed(_unicode_class(name, negated and not self._folds))
        if members and self._folds:
            members = self._set(members, "", negated)
        if not members:
            raise self._refuse(f"the character property {name!r} is not known")
        return members

    def _class(self) -> str:
        pattern = self._pattern
        out: list[str] = []
        begin = "["
        if pattern.startswith("^", self._at):
            begin = "[^"
            self._at += 1
        first = True
        while True:
            if self._at >= len(pattern):
                raise self._refuse("a [ that is not closed")
            char = pattern[self._at]
            if char == "]" and not first:
                self._at += 1
                members = "".join(out)
                return f"{begin}{_folded(members) if self._folds else members}]"
            first = False
            if pattern.startswith("[:", self._at) and ":]" in pattern[self._at :]:
                out.append(self._posix())
                continue
            low = self._member()
            if not _is_one(low):  # a dash behind it is one, or begins a range of its own
                out.append(low)
                continue
            member = low
            if pattern.startswith("-", self._at) and pattern[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                high = self._member()
                if not _is_one(high):
                    raise self._refuse("a range of more than characters")
                member = f"{low}-{high}"
            out.append(member)

    def _member(self) -> str:
        char = self._pattern[self._at]
        self._at += 1
        if char == "\\":
            return self._members()
        return f"\\{char}" if char in "[]&|~^-" else char

    def _posix(self) -> str:
        end = self._pattern.index(":]", self._at)
        name = self._pattern[self._at + 2 : end]
        known = _POSIX.get(name.removeprefix("^"))
        if known is None:
            raise self._refuse(f"[:{name}:] is no class of characters")
        self._at = end + 2
        return self._set(known, _NOT_POSIX[name.removeprefix("^")], name.startswith("^"))


def _is_one(member: str) -> bool:
    """True for the members text of exactly one character."""
    return len(member) == 1 or (len(member) == 2 and member[0] == "\\") or bool(re.fullmatch(r"\\x..|\\U.{8}", member))


@lru_cache(maxsize=1024)
def _forms(char: str) -> str:
    """A character with its forms in another case, as a pattern."""
    forms = folded([(ord(char), ord(char))])
    return char if len(forms) == 1 and forms[0][0] == forms[0][1] else f"[{_class_text(forms)}]"


@lru_cache(maxsize=64)
def _folded(members: str, negated: bool = False) -> str:
    """The members of a class with their forms in another case, or all that are none of these."""
    ranges = folded(_ranges(members))
    return _class_text(without(ranges) if negated else ranges)


def _ranges(members: str) -> Ranges:
    """The members of a class, as this module writes them, as ranges."""
    codes = [_code_of(found) for found in _MEMBER.finditer(members)]
    found: Ranges = []
    at = 0
    while at < len(codes):
        if at + 2 < len(codes) and codes[at + 1] is None:
            first, last = codes[at], codes[at + 2]
            at += 3
        else:
            first = last = codes[at]
            at += 1
        if first is None or last is None or first > last:
            raise SpecError("a range of characters that ends before it begins", reason="pattern")
        found.append((first, last))
    return found


def _code_of(member: re.Match[str]) -> int | None:
    """The code of a member; None for the dash of a range."""
    short, long, escaped, plain = member.groups()
    if short or long:
        return int(short or long, 16)
    if escaped:
        return _LETTERS.get(escaped) or ord(escaped)
    return None if plain == "-" else ord(plain)


def _class_text(ranges: Ranges) -> str:
    return "".join(f"\\U{first:08x}" if first == last else f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)


def _code(code: int) -> str:
    return f"\\x{code:02x}" if code < 256 else f"\\U{code:08x}"


@lru_cache(maxsize=128)
def _unicode_class(name: str, negated: bool) -> str:
    """A general category, a category group or a script as members of a class; empty when not known."""
    if name == "Any":
        return "" if negated else "\\x00-\U0010ffff"

    import unicodedata  # hardly anybody names classes

    prefix = _SCRIPTS.get(name)
    if prefix is None and not re.fullmatch("[CLMNPSZ][a-z]?", name):
        return ""
    ranges: list[str] = []
    start = -1
    for code in range(0x110001):
        if code == 0x110000:
            inside = False
        elif prefix is not None:
            inside = unicodedata.name(chr(code), "").startswith(prefix) != negated
        else:
            inside = unicodedata.category(chr(code)).startswith(name) != negated
        if inside and start < 0:
            start = code
        elif not inside and start >= 0:
            ranges.append(f"\\U{start:08x}-\\U{code - 1:08x}")
            start = -1
    return "".join(ranges)
