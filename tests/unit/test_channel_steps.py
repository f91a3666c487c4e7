"""When a rollout is halted, resumed or held back, its clock does not run ahead of it."""

from __future__ import annotations

import pytest

from treebuilder.app.channels import parse_steps
from treebuilder.channel.document import channel_bytes, read_channel
from treebuilder.channel.publishing import Release, Terms, halt, publish, roll_out
from treebuilder.channel.rules import Channel, Verdict, share_at, verdict
from treebuilder.model.digest import Digest

RELEASE = Release("system/os", "s2", Digest.of(b"s2"), "2.0")
HOUR = 3600
STEPS = parse_steps("1@0h,10@6h,100@1d")
T0 = 1_000_000


def published(**terms: object) -> Channel:
    return publish(None, "stable", RELEASE, Terms(**{"steps": STEPS, **terms}), T0)  # type: ignore[arg-type]


def shares(channel: Channel, *hours: float) -> list[float]:
    """Percentages of the fleet that are offered it, by hours after the beginning."""
    assert read_channel(channel_bytes(channel), "c") == channel
    times = [int(T0 + hour * HOUR) for hour in hours]
    offered = [verdict(channel, "1.0", 0, at) is Verdict.OFFERED for at in times]
    return [share_at(channel, at) / 100 if on else 0 for at, on in zip(times, offered, strict=True)]


def test_what_is_resumed_goes_on_where_it_was() -> None:
    halted = halt(published(), "it does not come up", T0 + 7 * HOUR)
    assert shares(halted, 7, 30) == [0, 0]
    again = T0 + 48 * HOUR
    resumed = roll_out(halted, Terms(), again, resume=True)
    assert shares(resumed, 48, 200) == [10, 10]
    assert shares(roll_out(halted, Terms(steps=STEPS), again, resume=True), 48, 55, 73) == [1, 10, 100]
    whole = halt(publish(None, "stable", RELEASE, Terms(), T0), "", T0 + HOUR)
    assert shares(roll_out(whole, Terms(), again, resume=True), 48) == [100]


def test_a_halt_before_the_offer_begins_leaves_no_step_either() -> None:
    held = published(not_before_epoch_s=T0 + 24 * HOUR)
    halted = halt(held, "", T0 + HOUR)
    resumed = roll_out(halted, Terms(share=500), T0 + 2 * HOUR, resume=True)
    assert shares(roll_out(halted, Terms(), T0 + 2 * HOUR, resume=True), 30) == [0]
    assert shares(resumed, 23, 24, 90) == [0, 5, 5]
    later = publish(None, "stable", RELEASE, Terms(share=2000, not_before_epoch_s=T0 + 24 * HOUR), T0)
    halted = halt(later, "", T0 + HOUR)
    assert shares(roll_out(halted, Terms(), T0 + 2 * HOUR, resume=True), 23, 30) == [0, 20]


@pytest.mark.parametrize("at_once", [True, False])
def test_steps_count_from_when_the_offer_begins(at_once: bool) -> None:
    begin = T0 + 24 * HOUR
    if at_once:
        channel = published(not_before_epoch_s=begin)
    else:  # it was held back by what was said before
        channel = roll_out(published(not_before_epoch_s=begin), Terms(steps=STEPS), T0 + HOUR)
    assert shares(channel, 23, 24, 29, 30, 47, 48) == [0, 1, 1, 10, 10, 100]


def test_who_is_held_back_later_goes_on_with_the_steps_that_are_left() -> None:
    paused = roll_out(published(), Terms(not_before_epoch_s=T0 + 31 * HOUR), T0 + 7 * HOUR)
    assert shares(paused, 8, 30, 31, 47, 48) == [0, 0, 10, 10, 100]
    sooner = roll_out(paused, Terms(not_before_epoch_s=T0 + 11 * HOUR), T0 + 9 * HOUR)
    assert shares(sooner, 10, 11, 27, 28) == [0, 10, 10, 100]
