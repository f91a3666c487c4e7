"""What a server says that refuses: whether that may pass, and for how long we are to wait (RFC 9110 §10.2.3)."""

from __future__ import annotations

from collections.abc import Mapping

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.errors import TransportError
from treebuilder.system import clock

if TYPE_CHECKING:
    from datetime import datetime

    from treebuilder.system.process import Cancel

_SILENCE_S = 5.0
LONGEST_WAIT_S = 60.0  # whoever is to wait longer is told so


def may_pass(status: int) -> bool:
    return status in (408, 425, 429) or status >= 500


def refused(said: str, status: int, headers: Mapping[str, str]) -> TransportError:
    """`said` is who answered. What passes only after a long time is none that we try again."""
    wait_s = _wait_s(headers) if may_pass(status) else None
    if wait_s is not None and wait_s > LONGEST_WAIT_S:
        asked = f"{wait_s / 60:.0f} minutes" if wait_s < 86400 else "a day or more"
        return TransportError(f"{said} answered {status}, and asks to be left alone for {asked}", status=status)
    return TransportError(f"{said} answered {status}", temporary=may_pass(status), status=status, retry_after_s=wait_s)


def pause_s(usual_s: float, err: TransportError) -> float:
    """As long as was asked for, or `usual_s`; never the same for everybody."""
    import random

    wait_s = err.retry_after_s if err.retry_after_s is not None else usual_s
    return min(LONGEST_WAIT_S, wait_s * random.uniform(1.0, 1.3))  # noqa: S311 - no secret


def wait(cancel: Cancel, err: TransportError, attempt: int, usual_s: float, began_s: float) -> None:
    """Before another try: `began_s` is when the last one began, by the monotonic clock.

    Who has waited for long, or not for the first time, is told why.
    """
    wait_s = pause_s(usual_s, err)
    is_long = attempt > 1 or clock.monotonic_s() - began_s + wait_s > _SILENCE_S
    cancel.pause(wait_s, f"{err.message}; trying again in {wait_s:.1f} s" if is_long else "")


def _wait_s(headers: Mapping[str, str]) -> float | None:
    """Seconds of Retry-After: a number of them, or a time by the server's clock; None for what is neither."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    until = _time(text)
    if until is None:
        return None
    now = _time(headers.get("Date", ""))
    return max(0.0, until.timestamp() - (clock.now_epoch_s() if now is None else now.timestamp()))


def _time(text: str) -> datetime | None:
    from datetime import UTC
    from email.utils import parsedate_to_datetime

    try:
        found = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # also what is no date at all
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
