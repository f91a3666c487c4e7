"""Texts as times, by a layout, as Go's time.Parse reads them.

Source: https://pkg.go.dev/time#Parse. The local zone is UTC.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from treebuilder.template.faults import TemplateFault
from treebuilder.template.functions.calendar import UNIX_TO_INTERNAL_S, days_in, is_leap, month_of, unix_of
from treebuilder.template.functions.layouts import DAYS, MONTHS, chunks
from treebuilder.template.functions.times import LOCAL, UTC, Time, Zone

_DIGITS = frozenset("0123456789")
_SPACES = re.compile(" *")
_SIGNED = re.compile(r"[+-]?([0-9]*)")
_FRACTION = re.compile(r"[.,][0-9]+")
_PARTS = re.compile(r" +|[^ ]+")
_HOURS = r"[+-]0*(?:2[0-3]|[01]?[0-9])(?![0-9])"
_ZONE = re.compile(rf"ChST|MeST|GMT(?:{_HOURS})?|{_HOURS}|[A-Z]+")
_OFFSETS = {
    "07": r"(.)(..)()()", "0700": r"(.)(..)(..)()", "07:00": r"(.)(..):(..)()", "070000": r"(.)(..)(..)(..)",
    "07:00:00": r"(.)(..):(..):(..)",
}  # fmt: skip
_Z_FOR_UTC = ("Z0700", "Z07", "Z07:00")


class _Bad(Exception):
    """What is read does not fit the layout, or is no time."""


def parse_time(layout: str, text: str) -> Time:
    """time.ParseInLocation for the local zone. Raises TemplateFault."""
    try:
        return _Reader(text).read(layout)
    except _Bad as err:
        why = f": {err}" if str(err) else ""
        raise TemplateFault(f'parsing time "{text[:100]}" as "{layout[:100]}"{why}') from None


class _Reader:
    """Takes the parts of a text one after the other; -1 stands for what has not been read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._year = self._hour = self._minute = self._second = self._nanos = 0
        self._month = self._day = self._year_day = self._offset_s = -1
        self._half = ""
        self._zone: Zone | None = None
        self._zone_name = ""

    def read(self, layout: str) -> Time:
        parts = list(chunks(layout))
        for index, (before, chunk) in enumerate(parts):
            self._skip(before)
            if chunk:
                self._one(chunk, parts[index + 1][1])
        if self._at < len(self._text):
            raise _Bad("there is more text than layout")
        return self._time()

    # pieces -----------------------------------------------------------------------------------------------------
    def _skip(self, prefix: str) -> None:
        """Text that stands in the layout; spaces stand for any number of them, at the end for none as well."""
        for found in _PARTS.finditer(prefix):
            part = found.group()
            if part[0] != " ":
                if not self._text.startswith(part, self._at):
                    raise _Bad
                self._at += len(part)
                continue
            if self._next() not in ("", " "):
                raise _Bad
            spaces = _SPACES.match(self._text, self._at)
            assert spaces is not None
            self._at = spaces.end()

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, count: int) -> str:
        taken = self._text[self._at : self._at + count]
        if len(taken) < count:
            raise _Bad
        self._at += count
        return taken

    def _number(self, most: int, *, least: int = 1) -> int:
        """A number of at most that many digits."""
        end = self._at
        while end < self._at + most and self._text[end : end + 1] in _DIGITS:
            end += 1
        if end - self._at < least:
            raise _Bad
        return int(self._take(end - self._at))

    def _below(self, limit: int, *, least: int = 1) -> int:
        number = self._number(2, least=least)
        if number >= limit:
            raise _Bad(f"{number} is out of range")
        return number

    def _name(self, names: Sequence[str]) -> int:
        for index, name in enumerate(names):
            word = self._text[self._at : self._at + len(name)]
            if word.isascii() and word.lower() == name.lower():
                self._at += len(name)
                return index
        raise _Bad

    def _one(self, chunk: str, following: str) -> None:  # noqa: C901 - one case per word of Go's layout
        match chunk:
            case "06":
                year = _signed(self._take(2))
                self._year = year + (1900 if year >= 69 else 2000)
            case "2006":
                if self._next() not in _DIGITS:
                    raise _Bad
                self._year = _signed(self._take(4))
            case "Jan":
                self._month = self._name([name[:3] for name in MONTHS]) + 1
            case "January":
                self._month = self._name(MONTHS) + 1
            case "1" | "01":
                self._month = self._below(13, least=len(chunk))
                if not self._month:
                    raise _Bad("there is no month 0")
            case "Mon":
                self._name([name[:3] for name in DAYS])
            case "Monday":
                self._name(DAYS)
            case "2" | "_2" | "02":
                self._at += chunk == "_2" and self._next() == " "
                self._day = self._number(2, least=2 if chunk == "02" else 1)
            case "__2" | "002":
                for _ in range(2):
                    self._at += chunk == "__2" and self._next() == " "
                self._year_day = self._number(3, least=3 if chunk == "002" else 1)
            case "15":
                self._hour = self._below(24)
            case "3" | "03":
                self._hour = self._below(13, least=len(chunk))
            case "4" | "04":
                self._minute = self._below(60, least=len(chunk))
            case "5" | "05":
                self._second = self._below(60, least=len(chunk))
                self._unasked_fraction(following)
            case "PM" | "pm":
                self._half = self._take(2)
                if self._half not in (("PM", "AM") if chunk == "PM" else ("pm", "am")):
                    raise _Bad
            case "MST":
                self._zone_of_name()
            case _ if chunk[0] in ".,":
                self._fraction(chunk)
            case _:
                self._zone_of_offset(chunk)

    def _unasked_fraction(self, following: str) -> None:
        """The fraction of a second, though the layout has none."""
        found = None if following[:1] in (".", ",") else _FRACTION.match(self._text, self._at)
        if found is not None:
            self._nanos = _nanos(self._take(found.end() - self._at))

    def _fraction(self, chunk: str) -> None:
        if chunk[1] == "0":
            self._nanos = _nanos(self._take(len(chunk)))
            return
        found = _FRACTION.match(self._text, self._at)
        if found is not None:
            self._nanos = _nanos(self._take(min(found.end() - self._at, 10)))

    def _zone_of_name(self) -> None:
        if self._text.startswith("UTC", self._at):
            self._at += 3
            self._zone = UTC
            return
        found = _ZONE.match(self._text, self._at)
        name = found.group() if found else ""
        if name.isalpha() and name not in ("ChST", "MeST", "GMT"):
            count = len(name)
            if not (count == 3 or (count in (4, 5) and name[-1] == "T") or name == "WITA"):
                name = ""
        if not name or len(self._text) - self._at < 3:
            raise _Bad
        self._at += len(name)
        self._zone_name = name

    def _zone_of_offset(self, chunk: str) -> None:
        if chunk in _Z_FOR_UTC and self._next() == "Z":
            self._at += 1
            self._zone = UTC
            return
        found = re.compile(_OFFSETS[chunk[1:]], re.DOTALL).match(self._text, self._at)
        if found is None or found[1] not in "+-":
            raise _Bad
        self._at = found.end()
        hours, minutes, seconds = (_signed(part) for part in found.groups()[1:])
        size = (hours * 60 + minutes) * 60 + seconds
        self._offset_s = size if found[1] == "+" else -size

    # the whole --------------------------------------------------------------------------------------------------
    def _time(self) -> Time:
        if self._half.lower() == "pm" and self._hour < 12:
            self._hour += 12
        elif self._half.lower() == "am" and self._hour == 12:
            self._hour = 0
        month, day = self._month_and_day()
        if not 1 <= day <= days_in(month, self._year):
            raise _Bad("the month has no such day")
        unix_s = unix_of(self._year, month, day, (self._hour * 60 + self._minute) * 60 + self._second)
        zone = self._zone
        if zone is None and self._offset_s != -1:
            unix_s -= self._offset_s
            is_local = self._offset_s == 0 and self._zone_name in ("", LOCAL.name)
            zone = LOCAL if is_local else Zone(self._zone_name, self._offset_s)
        elif zone is None and self._zone_name:  # Go makes up a zone of that name
            offset = _signed(self._zone_name[3:]) if self._zone_name.startswith("GMT") else 0
            zone = Zone(self._zone_name, offset * 3600)
        return Time(unix_s + UNIX_TO_INTERNAL_S, self._nanos, zone or LOCAL)

    def _month_and_day(self) -> tuple[int, int]:
        if self._year_day < 0:
            return 1 if self._month < 0 else self._month, 1 if self._day < 0 else self._day
        if not 1 <= self._year_day <= 365 + is_leap(self._year):
            raise _Bad("the year has no such day")
        month, day = month_of(self._year_day, self._year)
        if self._month not in (-1, month) or self._day not in (-1, day):
            raise _Bad("the day of the year is not the day of the month")
        return month, day


def _signed(text: str) -> int:
    """Go's atoi, to which a sign alone is 0."""
    found = _SIGNED.fullmatch(text)
    if found is None:
        raise _Bad
    number = int(found[1].lstrip("0") or 0)  # Python reads no number of thousands of zeros
    return -number if text[:1] == "-" else number


def _nanos(text: str) -> int:
    """`.5` in nanoseconds."""
    if text[0] not in ".,":
        raise _Bad
    digits = text[1:10]
    number = _signed(digits)
    if number < 0:
        raise _Bad("a fraction of a second is out of range")
    return int(number * 10 ** (9 - len(digits)))
