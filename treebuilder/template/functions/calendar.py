"""Go's calendar: the Gregorian one, before its time and as far as 64 bits of seconds go; beyond them it wraps around.

Source: https://pkg.go.dev/time (absolute times: seconds since the first of January of the year -292277022399).
"""

from __future__ import annotations

from bisect import bisect_left

from treebuilder.annotations import NamedTuple

_WORD = 1 << 64
_HALF = 1 << 63
DAY_S = 86_400
_ZERO_YEAR = -292_277_022_399
UNIX_TO_INTERNAL_S = 62_135_596_800  # from the year 1 to 1970
_INTERNAL_TO_ABSOLUTE_S = 9_223_371_966_579_724_800
_UNIX_TO_ABSOLUTE_S = UNIX_TO_INTERNAL_S + _INTERNAL_TO_ABSOLUTE_S
_400_YEARS = 365 * 400 + 97  # in days
_100_YEARS = 365 * 100 + 24
_4_YEARS = 365 * 4 + 1
_29_FEBRUARY = 60
_BEFORE = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365)  # days before a month


class Date(NamedTuple):
    year: int
    month: int
    day: int
    year_day: int  # from 1


def wrap(value: int) -> int:
    """The value as an int64: what does not fit wraps around."""
    return (value + _HALF) % _WORD - _HALF


def absolute(unix_s: int, offset_s: int) -> int:
    """Seconds since 1970 as absolute ones, for a clock that is ahead by an offset."""
    return (unix_s + offset_s + _UNIX_TO_ABSOLUTE_S) % _WORD


def is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def days_in(month: int, year: int) -> int:
    return 29 if month == 2 and is_leap(year) else _BEFORE[month] - _BEFORE[month - 1]


def date_of(absolute_s: int) -> Date:
    """The day that an absolute time lies in."""
    cycles, days = divmod(absolute_s // DAY_S, _400_YEARS)
    centuries = min(days // _100_YEARS, 3)  # the last one has a day more
    days -= centuries * _100_YEARS
    fours, days = divmod(days, _4_YEARS)
    ones = min(days // 365, 3)
    days -= ones * 365
    year = 400 * cycles + 100 * centuries + 4 * fours + ones + _ZERO_YEAR
    return Date(year, *month_of(days + 1, year), days + 1)


def month_of(year_day: int, year: int) -> tuple[int, int]:
    """Month and day of the day of a year, from 1."""
    if is_leap(year) and year_day > _29_FEBRUARY:
        year_day -= 1
    elif is_leap(year) and year_day == _29_FEBRUARY:
        return 2, 29
    month = bisect_left(_BEFORE, year_day)
    return month, year_day - _BEFORE[month - 1]


def weekday_of(absolute_s: int) -> int:
    """From 0, a Sunday."""
    return (absolute_s + DAY_S) % _WORD % (7 * DAY_S) // DAY_S


def unix_of(year: int, month: int, day: int, second_of_day: int) -> int:
    """Seconds since 1970; a month or a day that is too high or too low counts on into other years and months."""
    months = wrap(month - 1)
    year, month = wrap(year + months // 12), months % 12 + 1
    years = (year - _ZERO_YEAR) % _WORD
    cycles, years = divmod(years, 400)
    centuries, years = divmod(years, 100)
    fours, years = divmod(years, 4)
    days = cycles * _400_YEARS + centuries * _100_YEARS + fours * _4_YEARS + years * 365
    days += _BEFORE[month - 1] + (month > 2 and is_leap(year)) + day - 1
    return wrap(days * DAY_S + second_of_day - _UNIX_TO_ABSOLUTE_S)
