"""`--wait`: somebody else may be building a node, and its record is asked for until it is there or the time is up.

A registry does not say who is at work, so the time is bounded, and it is one time for a whole run: where nobody builds,
a run waits once and not for every node.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from treebuilder.annotations import TypeVar
from treebuilder.events import EventSink, Said, Warned
from treebuilder.system import clock
from treebuilder.system.process import Cancel

T = TypeVar("T")
_FIRST_S = 0.25
_LONGEST_S = 5.0


class Waiting:
    """Of one run; for many threads. `limit_s` is for all of it, from the first node that is waited for."""

    def __init__(self, limit_s: float, events: EventSink, cancel: Cancel) -> None:
        self._limit_s = limit_s
        self._events = events
        self._cancel = cancel
        self._end_s = 0.0
        self._over = False
        self._lock = threading.Lock()

    def until(self, ask: Callable[[], T | None], hopeless: Callable[[], bool]) -> T | None:
        """What `ask` answers in the end; None when the time is up, or there is nobody left to ask. Raises Cancelled."""
        self._begin()
        pause = _FIRST_S
        while True:
            found = ask()
            if found is not None:
                return found
            left = self._end_s - clock.monotonic_s()
            if hopeless():
                return None
            if left <= 0:
                self._say_over()
                return None
            self._cancel.pause(min(pause, left))
            pause = min(2 * pause, _LONGEST_S)

    def _begin(self) -> None:
        with self._lock:
            if not self._end_s:
                self._end_s = clock.monotonic_s() + self._limit_s
                self._events.emit(Said(f"waiting for what others build, for up to {self._limit_s:g} s"))

    def _say_over(self) -> None:
        with self._lock:
            over, self._over = self._over, True
        if not over:
            self._events.emit(
                Warned(f"nobody has pushed it within {self._limit_s:g} s (--wait-limit): it is built here")
            )
