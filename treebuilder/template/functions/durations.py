"""Go's durations: whole nanoseconds in 64 bits, about 292 years.

Source: https://pkg.go.dev/time#Duration.
"""

from __future__ import annotations

import re

from treebuilder.template.faults import TemplateFault
from treebuilder.template.functions.lists import effort
from treebuilder.template.functions.signature import GoFunction, method, table
from treebuilder.template.values import Int64, NamedInt

SECOND_NS = 1_000_000_000
MOST_NS = (1 << 63) - 1
LEAST_NS = -(1 << 63)
_UNITS = {
    "ns": 1, "us": 1000, "µs": 1000, "μs": 1000, "ms": 1_000_000, "s": SECOND_NS, "m": 60 * SECOND_NS,
    "h": 3600 * SECOND_NS,
}  # fmt: skip
_LONGEST = 10_000
_MOST_DIGITS = 300  # of a fraction; those behind them are less than any float
_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^.0-9]+)")


class Duration(NamedInt):
    """Nanoseconds as a value of a template, with Go's methods."""

    go_type = "time.Duration"
    go_kind = "int64"

    def go_text(self) -> str:
        return format_duration(self)

    def go_field(self, name: str) -> GoFunction:
        return method(self, _METHODS, name)


def parse_duration(text: str) -> int:
    """time.ParseDuration, in nanoseconds. Raises TemplateFault."""
    fault = TemplateFault(f'time: invalid duration "{text[:100]}"')
    if len(text) > _LONGEST:
        raise fault
    effort.compared += len(text)
    body = text[1:] if text[:1] in ("+", "-") else text
    if body == "0":
        return 0
    total = position = 0
    while position < len(body) or not body:
        found = _PART.match(body, position)
        if found is None or not (found[1] or found[2]) or found[3] not in _UNITS:
            raise fault
        unit = _UNITS[found[3]]
        digits = found[1].lstrip("0")
        if len(digits) > 19 or int(digits or 0) > -LEAST_NS // unit:
            raise fault
        total += int(digits or 0) * unit + _part(found[2] or "", unit)
        if total > -LEAST_NS:
            raise fault
        position = found.end()
    if text.startswith("-"):
        return -total
    if total > MOST_NS:
        raise fault
    return total


def _part(digits: str, unit: int) -> int:
    """The nanoseconds of a fraction, by Go's floats: digits that its 64 bits do not hold are left away."""
    number, scale = 0, 1.0
    for digit in digits[:_MOST_DIGITS]:
        longer = number * 10 + int(digit)
        if number > MOST_NS // 10 or longer > -LEAST_NS:
            break
        number, scale = longer, scale * 10
    return int(float(number) * (float(unit) / scale))


def format_duration(ns: int) -> str:
    """time.Duration.String: `1h2m3.5s`."""
    if ns == 0:
        return "0s"
    sign, ns = ("-" if ns < 0 else ""), abs(int(ns))
    if ns < SECOND_NS:
        for unit, size in (("ms", 1_000_000), ("µs", 1000), ("ns", 1)):
            if ns >= size:
                return f"{sign}{_decimal(ns, size)}{unit}"
    minutes, rest = divmod(ns, 60 * SECOND_NS)
    text = f"{_decimal(rest, SECOND_NS)}s"
    if minutes:
        text = f"{minutes % 60}m{text}"
    return f"{sign}{minutes // 60}h{text}" if minutes >= 60 else sign + text


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    return f"{whole}.{f'{rest:0{len(str(unit)) - 1}d}'.rstrip('0')}" if rest else str(whole)


def bounded(ns: int) -> Duration:
    """What lies beyond 292 years is 292 years."""
    return Duration(max(LEAST_NS, min(ns, MOST_NS)))


def coarse_duration(ns: int) -> str:
    """sprig's durationRound: the largest unit alone."""
    hour = 3600 * SECOND_NS
    units = (
        ("y", 365 * 24 * hour), ("mo", 30 * 24 * hour), ("d", 24 * hour), ("h", hour), ("m", 60 * SECOND_NS),
        ("s", SECOND_NS),
    )  # fmt: skip
    for unit, size in units:
        if abs(ns) > size:
            return f"{abs(ns) // size}{unit}"
    return "0s"


def _rest(ns: int, unit: int) -> int:
    """The rest of a division as Go's: with the sign of what is divided."""
    return ns % unit if ns >= 0 else -(-ns % unit)


def _whole(ns: int, unit: int) -> Int64:
    return Int64((ns - _rest(ns, unit)) // unit)


def _real(ns: int, unit: int) -> float:
    return float((ns - _rest(ns, unit)) // unit) + float(_rest(ns, unit)) / unit


def truncated(ns: int, unit: int) -> Duration:
    return Duration(ns - _rest(ns, unit) if unit > 0 else ns)


def rounded(ns: int, unit: int) -> Duration:
    """The nearest multiple of a unit; half of it goes away from zero."""
    if unit <= 0:
        return Duration(ns)
    rest = abs(ns) % unit
    size = abs(ns) - rest if 2 * rest < unit else abs(ns) + unit - rest
    return bounded(-size if ns < 0 else size)


_METHODS = table(
    ("String", "", format_duration),
    ("Nanoseconds", "", Int64),
    ("Microseconds", "", lambda ns: _whole(ns, 1000)),
    ("Milliseconds", "", lambda ns: _whole(ns, 1_000_000)),
    ("Seconds", "", lambda ns: _real(ns, SECOND_NS)),
    ("Minutes", "", lambda ns: _real(ns, 60 * SECOND_NS)),
    ("Hours", "", lambda ns: _real(ns, 3600 * SECOND_NS)),
    ("Truncate", "time.Duration", truncated),
    ("Round", "time.Duration", rounded),
    ("Abs", "", lambda ns: bounded(abs(ns))),
)
