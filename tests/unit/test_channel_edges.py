"""Channels that nobody renews, that are halted and published again, or that no device could follow."""

from __future__ import annotations

import pytest

from treebuilder.channel.publishing import Release, Terms, publish
from treebuilder.channel.rules import Verdict, verdict
from treebuilder.device.following import offered
from treebuilder.device.states import Device, Image, Purpose, Slot
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
