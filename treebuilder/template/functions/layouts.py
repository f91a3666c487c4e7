"""Go's layouts of times: how the first seconds of 2006 would be written says how any time is.

Source: https://pkg.go.dev/time#Layout.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from treebuilder.template.faults import TemplateFault
from treebuilder.template.functions.calendar import absolute, date_of, weekday_of
from treebuilder.template.functions.lists import effort

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_LONGEST = 100_000
_CHUNK = re.compile(
    r"January|Jan(?![a-z])|Monday|Mon(?![a-z])|MST|0[1-6]|002|15|1|2006|2|_2(?!006)|__2|3|4|5|PM|pm|"
    r"[-Z]070000|[-Z]07:00:00|[-Z]0700|[-Z]07:00|[-Z]07|[.,](?:0+|9+)(?![0-9])"
)


def chunks(layout: str) -> Iterator[tuple[str, str]]:
    """(text before it, chunk); the last chunk is empty. Each counts as a step. Raises TemplateFault."""
    if len(layout) > _LONGEST:
        raise TemplateFault(f"a layout of {len(layout)} characters")
    effort.compared += len(layout) >> 4
    position = 0
    for found in _CHUNK.finditer(layout):
        effort.compared += 2
        yield layout[position : found.start()], found.group()
        position = found.end()
    yield layout[position:], ""


def format_time(layout: str, unix_s: int, nanos: int, zone: tuple[str, int]) -> str:
    """time.Time.Format; a zone is its name, which can be empty, and the seconds that it is ahead."""
    return "".join(_formatted(layout, unix_s, nanos, zone))


def _formatted(layout: str, unix_s: int, nanos: int, zone: tuple[str, int]) -> Iterator[str]:
    name, offset_s = zone
    at = absolute(unix_s, offset_s)
    year, month, day, year_day = date_of(at)
    hour, minute, second = at // 3600 % 24, at // 60 % 60, at % 60
    short = {
        "January": MONTHS[month - 1], "Jan": MONTHS[month - 1][:3], "Monday": DAYS[weekday_of(at)],
        "Mon": DAYS[weekday_of(at)][:3], "01": f"{month:02d}", "1": str(month), "02": f"{day:02d}", "2": str(day),
        "_2": f"{day:2d}", "002": f"{year_day:03d}", "__2": f"{year_day:3d}", "15": f"{hour:02d}",
        "03": f"{hour % 12 or 12:02d}", "3": str(hour % 12 or 12), "04": f"{minute:02d}", "4": str(minute),
        "05": f"{second:02d}", "5": str(second), "06": f"{abs(year) % 100:02d}",
        "2006": f"{'-' if year < 0 else ''}{abs(year):04d}", "PM": "PM" if hour >= 12 else "AM",
        "pm": "pm" if hour >= 12 else "am", "MST": name or _offset("-0700", offset_s), "": "",
    }  # fmt: skip
    for before, chunk in chunks(layout):
        yield before
        known = short.get(chunk)
        if known is not None:
            yield known
        elif chunk[0] in ".,":
            digits = f"{nanos:09d}"[: len(chunk) - 1]
            digits = digits.rstrip("0") if chunk[1] == "9" else digits
            yield chunk[0] + digits if digits else ""
        else:
            yield _offset(chunk, offset_s)


def _offset(chunk: str, offset_s: int) -> str:
    if chunk[0] == "Z" and offset_s == 0:
        return "Z"
    minutes = abs(offset_s) // 60
    parts = [f"{minutes // 60:02d}", f"{minutes % 60:02d}", f"{abs(offset_s) % 60:02d}"]
    sign = "-" if offset_s <= -60 else "+"
    return sign + (":" if ":" in chunk else "").join(parts[: (len(chunk.replace(":", "")) - 1) // 2])
