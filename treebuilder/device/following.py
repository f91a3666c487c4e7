"""What a device makes of its channel, before it fetches a byte of the version. No input, no output."""

from __future__ import annotations

from treebuilder.channel.rules import Channel, Verdict, goes_back, verdict
from treebuilder.device.rules import refuse_failed
from treebuilder.device.states import Device
from treebuilder.trust.faults import ROLLED_BACK, fault


def offered(device: Device, channel: Channel, place: int, seen_revision: int, now_epoch_s: int) -> Verdict:
    """Whether the channel's version is for this device, now. `seen_revision` is the last that it believed, 0 for none.

    Raises IntegrityError (reason "rolled-back": somebody replays an old document), UpdateRefused (reason
    "failed-before": that version failed here, so nothing of it is fetched).
    """
    if goes_back(seen_revision, channel):
        raise fault(
            ROLLED_BACK, f"the channel {channel.name} is at revision {channel.revision}, and {seen_revision} was seen"
        )
    standing = device.standing
    said = verdict(channel, "" if standing is None else standing.version, place, now_epoch_s)
    if said is Verdict.OFFERED:
        refuse_failed(device, channel.version)
    return said
