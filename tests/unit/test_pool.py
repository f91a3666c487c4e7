"""The pool does every task once, on at most so many threads, and tells what each raised."""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from treebuilder.system.pool import Pool


@settings(max_examples=30, deadline=None)
@given(st.lists(st.booleans(), max_size=40), st.integers(1, 4))
def test_every_task_is_told_once(fails: list[bool], size: int) -> None:
    threads: set[int] = set()

    def task(number: int) -> None:
        threads.add(threading.get_ident())
        if fails[number]:
            raise ValueError(number)

    told: dict[int, BaseException | None] = {}
    with Pool[int](size) as pool:
        for number in range(len(fails)):
            pool.submit(number, partial(task, number))
        while pool.running:
            done = pool.wait(5)
            assert done is not None
            assert done[0] not in told
            told[done[0]] = done[1]
    assert sorted(told) == list(range(len(fails)))
    for number, error in told.items():
        assert (str(error) == str(number)) if fails[number] else error is None
    assert len(threads) <= size
    assert threading.get_ident() not in threads


def test_leaving_waits_for_what_runs() -> None:
    done: list[int] = []

    def slow(number: int) -> None:
        time.sleep(0.05)
        done.append(number)

    with Pool[int](2) as pool:
        for number in range(3):
            pool.submit(number, partial(slow, number))
    assert sorted(done) == [0, 1, 2]


def test_waiting_has_an_end() -> None:
    go = threading.Event()
    with Pool[str](1) as pool:
        pool.submit("slow", go.wait)
        assert pool.wait(0.01) is None
        assert not pool.idle
        go.set()
        assert pool.wait(5) == ("slow", None)
        assert pool.idle


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=30), st.integers(1, 3))
def test_small_tasks_are_done_by_whoever_helps(tasks: list[tuple[bool, bool]], size: int) -> None:
    done: list[int] = []
    pool = Pool[int](size)

    def work(number: int, helps: bool) -> None:
        if helps:
            pool.help()
        done.append(number)

    with pool:
        for number, (small, helps) in enumerate(tasks):
            submit = pool.submit_small if small else pool.submit
            submit(number, partial(work, number, helps))
        told = []
        while pool.running:
            found = pool.wait(5)
            assert found is not None
            assert found[1] is None
            told.append(found[0])
    assert sorted(told) == sorted(done) == list(range(len(tasks)))
    assert not pool.help()


def test_an_interrupt_reaches_whoever_helps() -> None:
    """A small task is done by the main thread, which is the one that Ctrl-C interrupts."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    pool = Pool[str](1)
    pool.submit_small("a", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pool.wait(5)
    pool.close()
