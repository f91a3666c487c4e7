"""The simulation of a fleet says what the rules do to each device, not what its shortcuts do."""

from __future__ import annotations

import pytest

from benchmarks.fleet import BAD, FRESH, NEW, Luck, follow, simulate
from treebuilder.channel.rules import Limit
from treebuilder.errors import UpdateRefused


def test_devices_moved_in_groups_and_alone_are_the_same() -> None:
    grouped, _ = simulate(1500, 60, 30.0, Limit(20, 200), 7)
    alone, _ = simulate(1500, 60, 30.0, Limit(20, 200), 7, alone=True)
    assert grouped == alone
    assert {row.halted for row in grouped} == {True, False}


def test_nobody_is_lost_and_a_halt_saves_the_rest() -> None:
    watched, _ = simulate(3000, 96, 30.0, Limit(20, 200), 1)
    unwatched, _ = simulate(3000, 96, 30.0, Limit(20, 200), 1, halts=False)
    for row in watched + unwatched:
        assert sum(count for _, count in row.running) == 3000
    assert dict(watched[-1].running) == {"1.0": 0, "2.0": 0, "3.0": 3000}
    assert watched[-1].remembered == 0, "a later good version clears what failed"
    at_halt = next(row for row in watched if row.halted)
    assert at_halt.failed < 200
    assert 800 < unwatched[-1].failed < 1000, "30 % of all devices, once each"
    assert unwatched[-1].on_passive == unwatched[-1].remembered == unwatched[-1].failed


@pytest.mark.parametrize("fate", ["good", "crash", "health"])
@pytest.mark.parametrize("at", range(1, 8))
def test_a_power_cut_anywhere_changes_nothing_in_the_end(fate: str, at: int) -> None:
    calm, cut = follow(FRESH, BAD, Luck(fate)), follow(FRESH, BAD, Luck(fate, "cut", at))
    assert cut.report == calm.report == ("good" if fate == "good" else "failed")
    assert (cut.device.running, cut.device.memory.failed) == (calm.device.running, calm.device.memory.failed)
    assert (calm.cuts, cut.cuts) == (0, 1)


def test_a_version_that_failed_is_refused_and_the_next_one_taken() -> None:
    failed = follow(FRESH, BAD, Luck("crash")).device
    with pytest.raises(UpdateRefused) as caught:
        follow(failed, BAD, Luck("crash"))
    assert caught.value.reason == "failed-before"
    assert follow(failed, NEW, Luck("crash")).report == "good"
