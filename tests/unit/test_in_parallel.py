"""Functions over many items by a few threads."""

from __future__ import annotations

import threading
import time

import pytest

from treebuilder.errors import Cancelled
from treebuilder.system import pool
from treebuilder.system.pool import in_parallel
from treebuilder.system.process import Cancel


@pytest.mark.parametrize("items", [(), (1,), tuple(range(50))])
def test_results_come_in_order(items: tuple[int, ...]) -> None:
    told: list[int] = []
    assert in_parallel(items, lambda item: item * 2, 4, done=told.append) == [item * 2 for item in items]
    assert told == ([*range(1, len(items) + 1)] or [0])


def test_the_first_error_stops_what_has_not_begun() -> None:
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        raise KeyError(item)

    with pytest.raises(KeyError, match="0"):
        in_parallel(range(10_000), work, 2)
    assert len(begun) < 10_000


def test_an_error_counts_before_its_turn() -> None:
    """The first item ends last, and all that failed beside it were begun with it."""
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        if item:
            raise KeyError(item)
        time.sleep(0.2)  # enough for many to begin, if they did
        return item

    with pytest.raises(KeyError, match=r"[1-3]"):
        in_parallel(range(60), work, 4)
    assert len(begun) <= 4


def test_of_several_errors_the_first_in_order_is_raised() -> None:
    together = threading.Barrier(4)

    def work(item: int) -> int:
        together.wait(600)
        if item:
            raise KeyError(item)
        return item

    for _ in range(20):
        with pytest.raises(KeyError, match="1"):
            in_parallel(range(4), work, 4)


@pytest.mark.parametrize("count", [1, 50])
def test_after_a_cancel_nothing_begins(count: int) -> None:
    cancel = Cancel()
    cancel.set()
    begun: list[int] = []
    with pytest.raises(Cancelled):
        in_parallel(range(count), begun.append, 4, cancel)
    assert begun == []


def test_what_sees_a_cancel_is_the_last_of_its_thread() -> None:
    cancel = Cancel()
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        cancel.set()
        cancel.check()
        return item

    with pytest.raises(Cancelled):
        in_parallel(range(1000), work, 2, cancel)
    assert len(begun) <= 2


def test_an_interrupt_waits_for_nothing_that_never_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_LEAVE_S", 600)

    cancel = Cancel()

    def work(item: int) -> None:
        if item:
            cancel.pause(600)

    def interrupted(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_parallel(range(50), work, 2, cancel, interrupted)


def test_an_interrupt_stops_what_runs() -> None:
    cancel = Cancel()
    ended: list[int] = []
    begun = threading.Barrier(3)

    def work(item: int) -> int:
        begun.wait(600)  # what has not begun is not stopped: it never begins
        if item:
            try:
                cancel.pause(600)
            except Cancelled:
                ended.append(item)
        return item

    def interrupted(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_parallel(range(3), work, 3, cancel, interrupted)
    assert sorted(ended) == [1, 2]


def test_who_hears_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_LEAVE_S", 0.05)
    begun, end = threading.Barrier(3), threading.Event()
    ended: list[int] = []

    def work(item: int) -> None:
        begun.wait(600)
        if item:
            end.wait(600)
            ended.append(item)

    def interrupted(count: int) -> None:
        raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            in_parallel(range(3), work, 3, Cancel(), interrupted)
        assert ended == []
    finally:
        end.set()
