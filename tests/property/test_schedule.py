"""The schedule lets every task run once, after what it waits for, and nothing behind a failure."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from treebuilder.build.schedule import Schedule, Task


@given(st.lists(st.sets(st.integers(0, 11), max_size=4), max_size=12), st.sets(st.integers(0, 11)), st.randoms())
def test_every_task_once_and_in_order(needs: list[set[int]], failing: set[int], random: object) -> None:
    def task(number: int) -> Task:
        return ("node" if number % 2 else "artifact", str(number))

    waits = {task(n): {task(m) for m in found if m < n} | {("node", "met")} for n, found in enumerate(needs)}
    schedule = Schedule(waits)
    ran: list[Task] = []
    running: list[Task] = []
    failed = {task(n) for n in failing}
    skipped: set[Task] = set()
    while schedule.has_ready or running:
        running += schedule.take()
        current = running.pop(random.randrange(len(running)))  # type: ignore[attr-defined]
        assert all(need in ran for need in waits[current] if need in waits)
        assert current not in ran
        if current in failed:
            skipped |= set(schedule.behind(current))
        else:
            ran.append(current)
            schedule.done(current)
    assert skipped.isdisjoint(ran)
    assert {*ran, *skipped, *(failed & waits.keys())} == set(waits)
    assert list(schedule.later) == [id for kind, id in waits if kind == "node" and waits[kind, id] & waits.keys()]
