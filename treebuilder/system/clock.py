"""The only place that reads the time. Results never depend on it; only progress, logs and last use do."""

from __future__ import annotations

import time


def monotonic_s() -> float:
    return time.monotonic()


def now_epoch_s() -> int:
    """Seconds since 1970, for names of log files, last use and lock holders."""
    return int(time.time())


def now_ns() -> int:
    return time.time_ns()


def utc(epoch_s: int, form: str) -> str:
    """A time that is given, as text in UTC; `form` as for strftime(3)."""
    return time.strftime(form, time.gmtime(epoch_s))


def local(epoch_s: int, form: str) -> str:
    """The same in this machine's zone, which TZ may name."""
    return time.strftime(form, time.localtime(epoch_s))


def sleep(seconds: float) -> None:
    time.sleep(seconds)
