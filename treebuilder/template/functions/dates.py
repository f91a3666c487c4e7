"""sprig's dates. `now` is the epoch that was given, the local zone is UTC; formats are Go's reference time.

Source: https://masterminds.github.io/sprig/date.html. How Go does it is in `times`, `layouts` and `durations`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from treebuilder.template.faults import TemplateFault
from treebuilder.template.functions.calendar import wrap
from treebuilder.template.functions.durations import (
    LEAST_NS,
    MOST_NS,
    SECOND_NS,
    coarse_duration,
    format_duration,
    parse_duration,
    rounded,
)
from treebuilder.template.functions.layouts import format_time
from treebuilder.template.functions.signature import GoFunction, table
from treebuilder.template.functions.times import Time, unix_time
from treebuilder.template.functions.timetexts import parse_time
from treebuilder.template.values import Int64, is_unsigned

_WHOLE = re.compile(r"[+-]?[0-9]+")
_SAME_AGAIN_S = 146_097 * 86_400  # after 400 years the calendar is the same again
_FIRST_S, _LAST_S = -62_000_000_000, 253_000_000_000  # of the years 5 and 9987: all that Python's zones know


class _Clock:
    """The functions that know what time it is."""

    def __init__(self, epoch_s: int) -> None:
        self._now = unix_time(epoch_s)

    def now(self) -> Time:
        return self._now

    def time_of(self, value: object) -> Time:
        """A moment, seconds since 1970, or for anything else now."""
        if isinstance(value, Time):
            return value
        if isinstance(value, Int64) or (type(value) is int and not is_unsigned(value)):
            return unix_time(value)
        return self._now

    def in_zone(self, layout: str, value: object, zone: str) -> str:
        time = self.time_of(value)
        return format_time(layout, time.unix_s, time.nanos, _zone_at(zone, time.unix_s))

    def ago(self, value: object) -> str:
        return format_duration(rounded(self._now.since(self.time_of(value)), SECOND_NS))

    def duration_round(self, value: object) -> str:
        match value:
            case str():
                try:
                    return coarse_duration(parse_duration(value))
                except TemplateFault:
                    return "0s"
            case Int64():
                return coarse_duration(value)
            case Time():
                return coarse_duration(self._now.since(value))
            case _:
                return "0s"


def _zone_at(zone: str, unix_s: int) -> tuple[str, int]:
    """The name of a zone at a time and how many seconds it is ahead then; UTC for one that is not known."""
    if zone in ("", "UTC", "Local"):
        return "UTC", 0
    try:
        place = ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        return "UTC", 0
    cycles = max(-(-(unix_s - _LAST_S) // _SAME_AGAIN_S), 0)
    near = max(unix_s - cycles * _SAME_AGAIN_S, _FIRST_S)
    at = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=near)).astimezone(place)
    return at.tzname() or "", int((at.utcoffset() or timedelta()).total_seconds())


def _duration(value: object) -> str:
    match value:
        case str():
            known = _WHOLE.fullmatch(value)
            return _duration(Int64(max(LEAST_NS, min(int(value[:4000]), MOST_NS)))) if known else "0s"
        case Int64():
            return format_duration(wrap(value * SECOND_NS))
        case _:
            return "0s"


def _modified(duration: str, time: Time) -> Time:
    return time.plus(parse_duration(duration))


def _modified_or_not(duration: str, time: Time) -> Time:
    try:
        return _modified(duration, time)
    except TemplateFault:
        return time


def _to_date(layout: str, text: str) -> Time:
    try:
        return parse_time(layout, text)
    except TemplateFault:
        return Time(0)


def dates(epoch_s: int) -> dict[str, GoFunction]:
    """The date functions of a world whose time is `epoch_s`, in seconds since 1970."""
    clock = _Clock(epoch_s)
    return table(
        ("now", "", clock.now),
        ("date", "string any", lambda layout, value: clock.in_zone(layout, value, "UTC")),
        ("dateInZone date_in_zone", "string any string", clock.in_zone),
        ("htmlDate", "any", lambda value: clock.in_zone("2006-01-02", value, "UTC")),
        ("htmlDateInZone", "any string", lambda value, zone: clock.in_zone("2006-01-02", value, zone)),
        ("dateModify date_modify", "string time.Time", _modified_or_not),
        ("mustDateModify must_date_modify", "string time.Time", _modified),
        ("toDate", "string string", _to_date),
        ("mustToDate", "string string", parse_time),
        ("ago", "any", clock.ago),
        ("duration", "any", _duration),
        ("durationRound", "any", clock.duration_round),
        ("unixEpoch", "time.Time", lambda time: str(time.unix_s)),
    )
