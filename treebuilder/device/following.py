"""What a device makes of its channel, before it fetches a byte of the version. No input, no output."""

from __future__ import annotations

from treebuilder.channel.rules import Channel, Verdict, goes_back, verdict
from treebuilder.device.rules import refuse_failed
from treebuilder.device.states import Device, Purpose
from treebuilder.model.version import compare
from treebuilder.trust.faults import ROLLED_BACK, fault


def offered(
    device: Device, channel: Channel, place: int, seen_revision: int, now_epoch_s: int,
    purpose: Purpose = Purpose.UPGRADE, *, force: bool = False,
) -> Verdict:  # fmt: skip
    """Whether the channel's version is for this device, now. `seen_revision` is the last that it believed, 0 for none.
    `force`: somebody wants it though it is older, or failed here; the channel's own conditions count all the same.

    A recovery may be as new as what runs, and a reset goes anywhere; neither takes over what an older version left, so
    that no other version has to come first.

    Raises IntegrityError (reason "rolled-back": somebody replays an old document), UpdateRefused (reason
    "failed-before": that version failed here, so nothing of it is fetched).
    """
    if goes_back(seen_revision, channel):
        raise fault(
            ROLLED_BACK, f"the channel {channel.name} is at revision {channel.revision}, and {seen_revision} was seen"
        )
    standing = device.standing if purpose is Purpose.UPGRADE else None
    said = verdict(channel, "" if standing is None else standing.version, place, now_epoch_s)
    if said is Verdict.NOT_NEWER and force:
        said = verdict(channel, "", place, now_epoch_s)
    recovery = device.recovery if purpose is Purpose.RECOVERY and not force else None
    if said is not Verdict.EXPIRED and recovery is not None and compare(channel.version, recovery.version) <= 0:
        said = Verdict.NOT_NEWER
    if said is Verdict.OFFERED and not force:
        refuse_failed(device, channel.version)
    return said
