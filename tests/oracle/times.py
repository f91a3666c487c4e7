"""Random times, layouts and texts that may be times, for comparison with Go."""
# ruff: noqa: E501 - tables of words

from __future__ import annotations

import json
import random

_LAYOUT = [
    "January", "Jan", "1", "01", "Monday", "Mon", "2", "_2", "02", "__2", "002", "15", "3", "03", "4", "04", "5", "05", "2006",
    "06", "PM", "pm", "MST", "Z0700", "Z070000", "Z07", "Z07:00", "Z07:00:00", "-0700", "-070000", "-07", "-07:00", "-07:00:00",
    ".0", ".000", ",000000000", ".9", ".999999999", ".99", "_2006", "é", " ", "  ", "-", "/", ":", "T", "x", "0", "7", "Janu",
    "Month", "00", "_", "__", ".", "99",
]  # fmt: skip
_TEXT = [
    "2020", "99", "1", "02", "12", "31", "29", "366", "060", "Feb", "february", "MARCH", "Mon", "Sunday", "monday", "23", "11", "59",
    "7", "PM", "am", "AM", "pm", "UTC", "CET", "GMT", "GMT+3", "GMT-25", "WITA", "ChST", "ABCDE", "ABCDT", "+05", "Z", "+0100",
    "-07:30", "+01:02:03", "-010203", "+ab", "0000", "-5", "+7", ".5", ".123456789123", ",25", " ", "  ", "-", "/", ":", "T", "x",
    "é", "_", ".", "0", "0001", "9999", "1969", "68", "24", "60", "13",
]  # fmt: skip
_LAYOUTS = [
    "2006-01-02", "2006-01-02T15:04:05Z07:00", "Mon Jan _2 15:04:05 MST 2006", "02 Jan 06 03:04PM -0700", "2006 002 15:04:05.000",
    "Monday, January 2 2006 3:04:05 pm", "06/1/2 5.99", "2006 __2",
]  # fmt: skip
_DAYS = ["2020-02-29", "1969-12-31", "0001-01-01", "9999-12-31", "2000-11-05", "0000-03-01"]
_METHODS = [
    "YearDay", "Weekday", "Unix", "UnixNano", "UnixMilli", "UnixMicro", "GoString", "Month", "IsZero", "String", "Day", "Hour",
    "UTC", "Local", "MarshalText",
]  # fmt: skip
_SIZES = [1, 2, 3, 7, 1000, 10**9, 10**9 + 7, 3 * 10**9, 86400 * 10**9, 7 * 86400 * 10**9, 2**63 - 1, 0, -5]


def random_time(draw: random.Random) -> str:
    """A template about a time: a method of one, or a text that is read as one."""
    layout = "".join(draw.choice(_LAYOUT) for _ in range(draw.randint(1, 6)))
    kind = draw.random()
    if kind < 0.35:
        call = draw.choice([
            f".Format {_quoted(layout)}", f".Round {draw.choice(_SIZES)}", f".Truncate {draw.choice(_SIZES)}",
            f".{draw.choice(_METHODS)}",
        ])  # fmt: skip
        return f"{{{{ {_moment(draw)}{call} }}}}"
    if kind > 0.6:
        text = _quoted("".join(draw.choice(_TEXT) for _ in range(draw.randint(1, 6))))
    else:
        layout = draw.choice(_LAYOUTS)
        text = f"(date {_quoted(layout)} {draw.randint(-3 * 10**9, 5 * 10**9)})"
        if draw.random() < 0.4:
            text = f"(replace {_quoted(draw.choice('0123456789 :-JFMS'))} {_quoted(draw.choice(_TEXT))} {text})"
    return f"{{{{ mustToDate {_quoted(layout)} {text} }}}}"


def _moment(draw: random.Random) -> str:
    clock = f"{draw.randint(0, 23):02d}:{draw.randint(0, 59):02d}:{draw.randint(0, 59):02d}"
    fraction = draw.choice(["", ".5", ".000000123", ".123456789"])
    zone = draw.choice(["Z", "+02:00", "-11:30", "+00:30"])
    date = f'(toDate "2006-01-02T15:04:05.999999999Z07:00" "{draw.choice(_DAYS)}T{clock}{fraction}{zone}")'
    years = draw.choice([0, 0, 0, -3, 7000, -12000, 12000, 10**11, 2**63 - 1])
    added = draw.choice([0, 0, 1, -1, 10**18, -(10**18)])
    return f"(({date}.AddDate {years} {draw.randint(-30, 30)} {draw.randint(-500, 500)}).Add {added})"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
