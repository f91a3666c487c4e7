"""sprig's dates. `now` is the epoch that was given, the local zone is UTC; formats are Go's reference time.

Source: https://pkg.go.dev/time (Layout), https://masterminds.github.io/sprig/date.html.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from treebuilder.records import record
from treebuilder.template.faults import TemplateFault
from treebuilder.template.functions.signature import GoFunction, table
from treebuilder.template.values import GoObject, Int64

_SECOND = 1_000_000_000
_UNITS = {
    "ns": 1, "us": 1000, "µs": 1000, "μs": 1000, "ms": 1_000_000, "s": _SECOND, "m": 60 * _SECOND, "h": 3600 * _SECOND,
}  # fmt: skip
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_LAYOUT = re.compile(
    r"January|Jan|Monday|Mon|MST|2006|01|02|03|04|05|06|002|15|PM|pm|"
    r"Z07:00:00|Z070000|Z07:00|Z0700|Z07|-07:00:00|-070000|-07:00|-0700|-07|[.,]0+(?!\d)|[.,]9+(?!\d)|_2006|_2|1|2|3|4|5"
)
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_YEAR_ONE_S = -62135596800


@record
class Time(GoObject):
    """A moment: nanoseconds since 1970 in a zone."""

    ns: int
    zone: tzinfo = UTC

    go_type = "time.Time"

    @property
    def moment(self) -> datetime:
        try:
            return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=self.ns // _SECOND)).astimezone(self.zone)
        except (OverflowError, ValueError) as err:
            raise TemplateFault("the time lies outside of the years 1 to 9999") from err

    @property
    def fraction_ns(self) -> int:
        return self.ns % _SECOND

    def go_text(self) -> str:
        return format_time("2006-01-02 15:04:05.999999999 -0700 MST", self)

    def go_field(self, name: str) -> object:
        methods: dict[str, Callable[..., object]] = {
            "Format": lambda layout: format_time(layout, self),
            "Unix": lambda: self.ns // _SECOND,
            "UnixNano": lambda: self.ns,
            "Year": lambda: self.moment.year,
            "Month": lambda: _MONTHS[self.moment.month - 1],
            "Day": lambda: self.moment.day,
            "Hour": lambda: self.moment.hour,
            "Minute": lambda: self.moment.minute,
            "Second": lambda: self.moment.second,
            "YearDay": lambda: self.moment.timetuple().tm_yday,
            "Weekday": lambda: _DAYS[self.moment.weekday()],
            "UTC": lambda: Time(self.ns, UTC),
            "String": self.go_text,
        }
        return methods[name]


ZERO = Time(_YEAR_ONE_S * _SECOND)


def format_time(layout: str, time: Time) -> str:
    """time.Time.Format."""
    return _LAYOUT.sub(lambda found: _piece(found.group(), time), layout)


def _piece(word: str, time: Time) -> str:  # noqa: C901 - one case per word of Go's layout
    at = time.moment
    hour12 = at.hour % 12 or 12
    match word:
        case "January":
            return _MONTHS[at.month - 1]
        case "Jan":
            return _MONTHS[at.month - 1][:3]
        case "Monday":
            return _DAYS[at.weekday()]
        case "Mon":
            return _DAYS[at.weekday()][:3]
        case "MST":
            return at.tzname() or "UTC"
        case "2006":
            return f"{at.year:04d}"
        case "_2006":
            return f"_{at.year:04d}"
        case "06":
            return f"{at.year % 100:02d}"
        case "01" | "1":
            return f"{at.month:0{len(word)}d}"
        case "02" | "2":
            return f"{at.day:0{len(word)}d}"
        case "_2":
            return f"{at.day:2d}"
        case "002":
            return f"{at.timetuple().tm_yday:03d}"
        case "15":
            return f"{at.hour:02d}"
        case "03" | "3":
            return f"{hour12:0{len(word)}d}"
        case "04" | "4":
            return f"{at.minute:0{len(word)}d}"
        case "05" | "5":
            return f"{at.second:0{len(word)}d}"
        case "PM":
            return "PM" if at.hour >= 12 else "AM"
        case "pm":
            return "pm" if at.hour >= 12 else "am"
        case _ if word[0] in ".,":
            digits = f"{time.fraction_ns:09d}"[: len(word) - 1]
            digits = digits.rstrip("0") if word[1] == "9" else digits
            return word[0] + digits if digits else ""
        case _:
            return _offset(word, at.utcoffset() or timedelta())


def _offset(word: str, offset: timedelta) -> str:
    seconds = int(offset.total_seconds())
    if word[0] == "Z":
        if seconds == 0:
            return "Z"
        word = "-" + word[1:]
    sign = "-" if seconds < 0 else "+"
    hours, rest = divmod(abs(seconds), 3600)
    colon = ":" if ":" in word else ""
    parts = [f"{hours:02d}", f"{rest // 60:02d}", f"{rest % 60:02d}"]
    return sign + colon.join(parts[: (len(word.replace(":", "")) - 1) // 2])


_READERS = {
    "2006": r"(?P<year>\d{4})", "06": r"(?P<year2>\d\d)", "01": r"(?P<month>\d\d)", "1": r"(?P<month>\d\d?)",
    "02": r"(?P<day>\d\d)", "2": r"(?P<day>\d\d?)", "_2": r"(?P<day>[ \d]\d)", "15": r"(?P<hour>\d\d)",
    "03": r"(?P<hour12>\d\d)", "3": r"(?P<hour12>\d\d?)", "04": r"(?P<minute>\d\d)", "4": r"(?P<minute>\d\d?)",
    "05": r"(?P<second>\d\d)(?P<fraction>\.\d+)?", "5": r"(?P<second>\d\d?)(?P<fraction>\.\d+)?",
    "PM": r"(?P<half>AM|PM)", "pm": r"(?P<half>am|pm)", "January": r"(?P<long>[A-Z][a-z]+)",
    "Jan": r"(?P<short>[A-Z][a-z]{2})", "Monday": r"(?:[A-Z][a-z]+day)", "Mon": r"(?:[A-Z][a-z]{2})",
    "MST": r"(?P<name>[A-Z]{3,5}|UTC)",
}  # fmt: skip


def parse_time(layout: str, text: str) -> Time:
    """time.Parse in UTC. Raises TemplateFault."""
    pattern: list[str] = []
    position = 0
    for found in _LAYOUT.finditer(layout):
        word = found.group()
        pattern.append(re.escape(layout[position : found.start()]))
        position = found.end()
        reader = _READERS.get(word)
        if reader is None:
            reader = r"(?P<offset>Z|[+-][\d:]{2,8})" if word[0] in "Z-" else r"(?:[.,]\d+)?"
        pattern.append(reader)
    pattern.append(re.escape(layout[position:]))
    try:
        match = re.fullmatch("".join(pattern), text)
        if match is None:
            raise ValueError("it does not fit the layout")
        return _built({name: value for name, value in match.groupdict().items() if value is not None})
    except (ValueError, re.error, OverflowError) as err:
        raise TemplateFault(f'parsing time "{text}" as "{layout}": {err}') from err


def _built(found: dict[str, str]) -> Time:
    year = int(found.get("year", "0"))
    if "year2" in found:
        year = int(found["year2"]) + (1900 if int(found["year2"]) >= 69 else 2000)
    month = int(found.get("month", "1"))
    if "long" in found:
        month = _MONTHS.index(found["long"]) + 1
    if "short" in found:
        month = [name[:3] for name in _MONTHS].index(found["short"]) + 1
    hour = int(found.get("hour", found.get("hour12", "0")))
    if "half" in found:
        hour = hour % 12 + (12 if found["half"].lower() == "pm" else 0)
    zone: tzinfo = UTC
    offset = found.get("offset", "Z").replace(":", "")
    if offset != "Z":
        seconds = int(offset[1:3]) * 3600 + int(offset[3:5] or 0) * 60 + int(offset[5:7] or 0)
        zone = timezone(timedelta(seconds=-seconds if offset[0] == "-" else seconds))
    elif found.get("name", "UTC") != "UTC":
        zone = timezone(timedelta(), found["name"])  # Go makes up a zone of that name
    at = datetime(
        max(year, 1), month, int(found.get("day", "1")), hour, int(found.get("minute", "0")),
        int(found.get("second", "0")), tzinfo=zone,
    )  # fmt: skip
    ns = int((found.get("fraction", ".") + "0" * 9)[1:10])
    return Time(int(at.timestamp()) * _SECOND + ns, zone)


def parse_duration(text: str) -> int:
    """time.ParseDuration, in nanoseconds. Raises TemplateFault."""
    body = text.lstrip("+-") if text[:1] in ("+", "-") else text
    if body == "0":
        return 0
    total = position = 0
    for found in _DURATION.finditer(body):
        if found.start() != position:
            break
        whole, _, fraction = found.group(1).partition(".")
        unit = _UNITS[found.group(2)]
        total += int(whole or 0) * unit + int(fraction or 0) * unit // 10 ** len(fraction)
        position = found.end()
    if not body or position != len(body):
        raise TemplateFault(f'time: invalid duration "{text}"')
    return -total if text.startswith("-") else total


def format_duration(ns: int) -> str:
    """time.Duration.String: `1h2m3.5s`."""
    if ns == 0:
        return "0s"
    sign, ns = ("-" if ns < 0 else ""), abs(ns)
    if ns < _SECOND:
        for unit, size in (("ms", 1_000_000), ("µs", 1000), ("ns", 1)):
            if ns >= size:
                return f"{sign}{_decimal(ns, size)}{unit}"
    minutes, rest = divmod(ns, 60 * _SECOND)
    text = f"{_decimal(rest, _SECOND)}s"
    if minutes:
        text = f"{minutes % 60}m{text}"
    return f"{sign}{minutes // 60}h{text}" if minutes >= 60 else sign + text


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    return f"{whole}.{f'{rest:0{len(str(unit)) - 1}d}'.rstrip('0')}" if rest else str(whole)


def _round_duration(ns: int) -> str:
    hour = 3600 * _SECOND
    units = (
        ("y", 365 * 24 * hour), ("mo", 30 * 24 * hour), ("d", 24 * hour), ("h", hour), ("m", 60 * _SECOND),
        ("s", _SECOND),
    )  # fmt: skip
    for unit, size in units:
        if abs(ns) > size:
            return f"{abs(ns) // size}{unit}"
    return "0s"


class _Clock:
    """The functions that know what time it is."""

    def __init__(self, epoch_s: int) -> None:
        self._now = Time(epoch_s * _SECOND)

    def now(self) -> Time:
        return self._now

    def time_of(self, value: object) -> Time:
        """A moment, seconds since 1970, or for anything else now."""
        if isinstance(value, Time):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return Time(int(value) * _SECOND)
        return self._now

    def in_zone(self, layout: str, value: object, zone: str) -> str:
        place: tzinfo = UTC
        if zone not in ("", "UTC", "Local"):
            try:
                place = ZoneInfo(zone)
            except (KeyError, ValueError, OSError):
                place = UTC
        return format_time(layout, Time(self.time_of(value).ns, place))

    def ago(self, value: object) -> str:
        past = self._now.ns - self.time_of(value).ns
        return format_duration((past + _SECOND // 2) // _SECOND * _SECOND)

    def duration_round(self, value: object) -> str:
        match value:
            case str():
                try:
                    return _round_duration(parse_duration(value))
                except TemplateFault:
                    return "0s"
            case Int64():
                return _round_duration(int(value))
            case Time():
                return _round_duration(self._now.ns - value.ns)
            case _:
                return "0s"


def _duration(value: object) -> str:
    match value:
        case str():
            return format_duration(int(value) * _SECOND if value.isascii() and value.lstrip("+-").isdigit() else 0)
        case Int64():
            return format_duration(int(value) * _SECOND)
        case _:
            return format_duration(0)


def _moment(value: object) -> Time:
    if not isinstance(value, Time):
        raise TemplateFault("a time is needed, as now and toDate give it")
    return value


def _modified(duration: str, value: object) -> Time:
    time = _moment(value)
    return Time(time.ns + parse_duration(duration), time.zone)


def _modified_or_not(duration: str, value: object) -> Time:
    time = _moment(value)
    try:
        return _modified(duration, time)
    except TemplateFault:
        return time


def _to_date(layout: str, text: str) -> Time:
    try:
        return parse_time(layout, text)
    except TemplateFault:
        return ZERO


def dates(epoch_s: int) -> dict[str, GoFunction]:
    """The date functions of a world whose time is `epoch_s`, in seconds since 1970."""
    clock = _Clock(epoch_s)
    return table(
        ("now", "", clock.now),
        ("date", "string any", lambda layout, value: clock.in_zone(layout, value, "UTC")),
        ("dateInZone date_in_zone", "string any string", clock.in_zone),
        ("htmlDate", "any", lambda value: clock.in_zone("2006-01-02", value, "UTC")),
        ("htmlDateInZone", "any string", lambda value, zone: clock.in_zone("2006-01-02", value, zone)),
        ("dateModify date_modify", "string any", _modified_or_not),
        ("mustDateModify must_date_modify", "string any", _modified),
        ("toDate", "string string", _to_date),
        ("mustToDate", "string string", parse_time),
        ("ago", "any", clock.ago),
        ("duration", "any", _duration),
        ("durationRound", "any", clock.duration_round),
        ("unixEpoch", "any", lambda value: str(_moment(value).ns // _SECOND)),
    )
