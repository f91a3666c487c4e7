"""Channels that nobody renews, that are halted and published again, or that no device could follow."""

from __future__ import annotations

import pytest

from treebuilder.channel.publishing import Release, Terms, halt, promote, publish, roll_out
from treebuilder.channel.rules import Verdict, verdict
from treebuilder.device.following import offered
from treebuilder.device.states import Device, Image, Purpose, Slot
from treebuilder.errors import ConfigError
from treebuilder.model.digest import Digest
from treebuilder.records import replace

RELEASE = Release("system/os", "s2", Digest.of(b"s2"), "2.0")
CHANNEL = publish(None, "stable", RELEASE, Terms(life_s=1000), 0)
IMAGE = Image("2.0", Digest.of(b"2.0"))


@pytest.mark.parametrize("running", ["1.0", "2.0", "3.0", ""])
@pytest.mark.parametrize("halted", [True, False])
def test_an_expired_channel_is_not_believed_whatever_runs(running: str, halted: bool) -> None:
    channel = replace(CHANNEL, halted=halted)
    assert verdict(channel, running, 0, 999) is not Verdict.EXPIRED
    assert verdict(channel, running, 0, 1000) is Verdict.EXPIRED
    device = Device(IMAGE, IMAGE, IMAGE, booted=Slot.ACTIVE, running=IMAGE)
    for purpose in Purpose:
        assert offered(device, channel, 0, 0, 1000, purpose) is Verdict.EXPIRED


def test_what_is_halted_is_not_offered_again_by_publishing_it_again() -> None:
    halted = halt(CHANNEL, "too many failures", 10)
    with pytest.raises(ConfigError) as caught:
        publish(halted, "stable", RELEASE, Terms(), 20)
    assert caught.value.reason == "halted"
    other = Release("system/os", "s3", Digest.of(b"s3"), "2.1")
    assert not publish(halted, "stable", other, Terms(), 20).halted
    assert not roll_out(halted, Terms(), 20, resume=True).halted


def test_a_minimum_version_that_no_device_could_have_is_refused() -> None:
    for minimum in ("2.0", "2.1"):
        with pytest.raises(ConfigError) as caught:
            roll_out(CHANNEL, Terms(minimum_version=minimum), 20)
        assert caught.value.reason == "minimum-version"
    bounded = roll_out(CHANNEL, Terms(minimum_version="1.9"), 20)
    assert halt(bounded, "", 30).minimum_version == "1.9"
    assert halt(replace(CHANNEL, minimum_version="2.0"), "", 30).halted
    assert roll_out(bounded, Terms(minimum_version=""), 30).minimum_version == ""


@pytest.mark.parametrize(
    ("source", "target", "said", "expected"),
    [
        ("1.9", "", None, "1.9"), ("1.10", "1.9", None, "1.10"), ("", "1.9", None, "1.9"), ("1.5", "1.9", None, "1.9"),
        ("1.9", "1.5", "", ""), ("1.9", "1.5", "1.0", "1.0"), ("1.9", None, None, "1.9"), ("", None, None, ""),
    ],
)  # fmt: skip
def test_a_version_that_needs_another_one_before_it_needs_that_in_every_channel(
    source: str, target: str | None, said: str | None, expected: str
) -> None:
    candidate = publish(None, "candidate", RELEASE, Terms(minimum_version=source), 0)
    older = replace(RELEASE, version="1.99", index=Digest.of(b"s1"))
    stable = None if target is None else publish(None, "stable", older, Terms(minimum_version=target), 0)
    made = promote(stable, "stable", candidate, Terms(minimum_version=said), 10)
    assert made.minimum_version == expected
    wanted = Verdict.TOO_OLD if expected in ("1.9", "1.10") else Verdict.OFFERED
    assert verdict(made, "1.1", 0, 10) is wanted
