"""Times as values of templates, with the methods that Go's have.

Source: https://pkg.go.dev/time#Time. The local zone is UTC, though Go knows the two apart, and so does `eq`. Methods
that give several values (`Date`, `Clock`, `Zone`, `ISOWeek`) are none for a template, in Go either.
"""

from __future__ import annotations

from functools import partial

from treebuilder.records import record
from treebuilder.template.faults import TemplateFault
from treebuilder.template.functions.calendar import (
    DAY_S,
    UNIX_TO_INTERNAL_S,
    Date,
    absolute,
    date_of,
    unix_of,
    weekday_of,
    wrap,
)
from treebuilder.template.functions.durations import SECOND_NS, Duration, bounded
from treebuilder.template.functions.layouts import DAYS, MONTHS, format_time
from treebuilder.template.functions.signature import GoFunction, method, table
from treebuilder.template.values import GoObject, Int64, NamedInt
from treebuilder.template.verbs import quote

RFC3339_NANO = "2006-01-02T15:04:05.999999999Z07:00"
_MOST_S = (1 << 63) - 1


class Month(NamedInt):
    go_type = "time.Month"

    def go_text(self) -> str:
        return MONTHS[self - 1]

    def go_field(self, name: str) -> GoFunction:
        return method(self, _NAMED, name)


class Weekday(NamedInt):
    go_type = "time.Weekday"

    def go_text(self) -> str:
        return DAYS[self]

    def go_field(self, name: str) -> GoFunction:
        return method(self, _NAMED, name)


@record
class Zone(GoObject):
    """A zone of one offset; as a template value it is Go's `*time.Location`."""

    name: str
    offset_s: int
    is_local: bool = False

    go_type = "*time.Location"

    def go_text(self) -> str:
        return "Local" if self.is_local else self.name

    def go_marshal(self) -> object:
        return {}

    def go_field(self, name: str) -> GoFunction:
        return method(self, _NAMED, name)


UTC = Zone("UTC", 0)
LOCAL = Zone("UTC", 0, True)


@record
class Time(GoObject):
    """A moment: seconds since the first of January of the year 1, an int64 as Go's, nanoseconds, and a zone."""

    seconds: int
    nanos: int = 0
    zone: Zone = UTC

    go_type = "time.Time"

    @property
    def unix_s(self) -> int:
        return wrap(self.seconds - UNIX_TO_INTERNAL_S)

    @property
    def absolute_s(self) -> int:
        return absolute(self.unix_s, self.zone.offset_s)

    @property
    def date(self) -> Date:
        return date_of(self.absolute_s)

    def format(self, layout: str) -> str:
        return format_time(layout, self.unix_s, self.nanos, (self.zone.name, self.zone.offset_s))

    def plus(self, ns: int) -> Time:
        """Go's Add: beyond 64 bits of seconds it is the last moment, or the first."""
        seconds, nanos = divmod(self.nanos + ns, SECOND_NS)
        return Time(max(-_MOST_S, min(self.seconds + seconds, _MOST_S)), nanos, self.zone)

    def since(self, other: Time) -> Duration:
        return bounded((self.seconds - other.seconds) * SECOND_NS + self.nanos - other.nanos)

    def go_text(self) -> str:
        return self.format("2006-01-02 15:04:05.999999999 -0700 MST")

    def go_syntax(self) -> str:
        year, month, day, _ = self.date
        at = self.absolute_s
        places = {UTC: "time.UTC", LOCAL: "time.Local"}
        place = places.get(self.zone) or f"time.Location({quote(self.zone.name, ascii_only=True)})"
        clock = f"{at // 3600 % 24}, {at // 60 % 60}, {at % 60}, {self.nanos}"
        return f"time.Date({year}, time.{MONTHS[month - 1]}, {day}, {clock}, {place})"

    def go_marshal(self) -> str:
        """As JSON and TOML have it. Raises TemplateFault."""
        if not 0 <= self.date.year < 10_000:
            raise TemplateFault("Time.MarshalJSON: year outside of range [0,9999]")
        return self.format(RFC3339_NANO)

    def go_field(self, name: str) -> GoFunction:
        return method(self, _TIMES, name)


def unix_time(unix_s: int) -> Time:
    """Seconds since 1970 as a local time."""
    return Time(wrap(unix_s + UNIX_TO_INTERNAL_S), 0, LOCAL)


def _with_date(time: Time, years: int, months: int, days: int) -> Time:
    year, month, day, _ = time.date
    unix_s = unix_of(wrap(year + years), wrap(month + months), wrap(day + days), time.absolute_s % DAY_S)
    return Time(wrap(unix_s - time.zone.offset_s + UNIX_TO_INTERNAL_S), time.nanos, time.zone)


def _rest(time: Time, ns: int) -> int:
    """What a time is past the last multiple of a duration, counted from the year 1."""
    return (time.seconds * SECOND_NS + time.nanos) % ns


def _truncated(time: Time, ns: int) -> Time:
    return time.plus(-_rest(time, ns)) if ns > 0 else time


def _rounded(time: Time, ns: int) -> Time:
    if ns <= 0:
        return time
    rest = _rest(time, ns)
    return time.plus(-rest if 2 * rest < ns else ns - rest)


def _counted(time: Time, per_second: int) -> Int64:
    return Int64(wrap(time.unix_s * per_second + time.nanos * per_second // SECOND_NS))


def _moment(time: Time) -> tuple[int, int]:
    return time.seconds, time.nanos


def _marshal(time: Time, marks: str = "") -> bytes:
    return f"{marks}{time.go_marshal()}{marks}".encode()


_NAMED = table(("String", "", lambda value: value.go_text()))
_TIMES = table(
    ("Format", "string", lambda time, layout: time.format(layout)),
    ("String", "", Time.go_text),
    ("GoString", "", Time.go_syntax),
    ("MarshalText", "", _marshal),
    ("MarshalJSON", "", partial(_marshal, marks='"')),
    ("Unix", "", lambda time: Int64(time.unix_s)),
    ("UnixMilli", "", lambda time: _counted(time, 1000)),
    ("UnixMicro", "", lambda time: _counted(time, 1_000_000)),
    ("UnixNano", "", lambda time: _counted(time, SECOND_NS)),
    ("Year", "", lambda time: time.date.year),
    ("Month", "", lambda time: Month(time.date.month)),
    ("Day", "", lambda time: time.date.day),
    ("YearDay", "", lambda time: time.date.year_day),
    ("Weekday", "", lambda time: Weekday(weekday_of(time.absolute_s))),
    ("Hour", "", lambda time: time.absolute_s // 3600 % 24),
    ("Minute", "", lambda time: time.absolute_s // 60 % 60),
    ("Second", "", lambda time: time.absolute_s % 60),
    ("Nanosecond", "", lambda time: time.nanos),
    ("IsZero", "", lambda time: _moment(time) == (0, 0)),
    ("IsDST", "", lambda _: False),
    ("Location", "", lambda time: time.zone),
    ("UTC", "", lambda time: Time(*_moment(time), UTC)),
    ("Local", "", lambda time: Time(*_moment(time), LOCAL)),
    ("In", "*time.Location", lambda time, zone: Time(*_moment(time), zone)),
    ("Add", "time.Duration", Time.plus),
    ("AddDate", "int int int", _with_date),
    ("Sub", "time.Time", Time.since),
    ("Truncate", "time.Duration", _truncated),
    ("Round", "time.Duration", _rounded),
    ("Before", "time.Time", lambda time, other: _moment(time) < _moment(other)),
    ("After", "time.Time", lambda time, other: _moment(time) > _moment(other)),
    ("Equal", "time.Time", lambda time, other: _moment(time) == _moment(other)),
    ("Compare", "time.Time", lambda time, other: (_moment(time) > _moment(other)) - (_moment(time) < _moment(other))),
)
