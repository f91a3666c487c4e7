"""Who is offered a version, and when a rollout stops. No input, no output: values in, values out.

A device is in a rollout by a number that follows from its machine id and the snapshot alone. It stays in while the
percentage grows, other devices go first in the next snapshot, and nobody has to keep a list.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum

from treebuilder.model.digest import Digest
from treebuilder.model.version import compare
from treebuilder.records import record

WHOLE = 10_000  # shares are in hundredths of a percent


@record
class Step:
    """From a time on (seconds since 1970) this share of the fleet is offered the version."""

    at_epoch_s: int
    share: int


@record
class Limit:
    """When a rollout has to halt: `least` failures, and failures are `share` of all results. `least` 0: never."""

    least: int = 0
    share: int = 0


@record
class Channel:
    """What a fleet is to run. `revision` only grows.

    `snapshot` is the name of a snapshot of the repository and `index` the digest of its index, so a signature of the
    channel covers all that is installed. `package`: `category/name` of the operating system, `version` that of it.
    `minimum_version`: a device that runs an older one is not offered this one. `share`: how much of the fleet now,
    `steps`: how it grows, earliest first. `critical`: do not wait for a maintenance window; the share counts all the
    same, for a hasty fix can be broken too. `report_url`: where devices post results; "" for nowhere.
    """

    name: str
    revision: int
    package: str
    snapshot: str
    index: Digest
    version: str
    expires_epoch_s: int
    minimum_version: str = ""
    not_before_epoch_s: int = 0
    share: int = 0
    steps: tuple[Step, ...] = ()
    critical: bool = False
    halted: bool = False
    halt_reason: str = ""
    report_url: str = ""
    limit: Limit = Limit()


class Verdict(StrEnum):
    """What a channel says to a device."""

    OFFERED = "offered"
    NOT_NEWER = "not-newer"
    TOO_OLD = "too-old"  # another version has to be installed first
    HALTED = "halted"
    EXPIRED = "expired"
    NOT_YET = "not-yet"
    NOT_IN_SHARE = "not-in-share"


@record
class Counts:
    """Results that devices have posted for one snapshot: each device counts once, by its last result."""

    good: int = 0
    failed: int = 0


def place(machine_id: str, snapshot: str) -> int:
    """Where a device stands in a rollout: 0 goes first, WHOLE - 1 last."""
    digest = hashlib.sha256(f"{machine_id}\0{snapshot}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % WHOLE


def share_at(channel: Channel, now_epoch_s: int) -> int:
    """How much of the fleet is offered the version at a time."""
    return max(channel.share, *(step.share for step in channel.steps if step.at_epoch_s <= now_epoch_s), 0)


def verdict(channel: Channel, running: str, place: int, now_epoch_s: int) -> Verdict:
    """What a device that runs version `running` ("" for one that has none) and has this `place` is told now."""
    if now_epoch_s >= channel.expires_epoch_s:  # first: who holds newer documents back must not look up to date
        return Verdict.EXPIRED
    if compare(channel.version, running) <= 0:
        return Verdict.NOT_NEWER
    if channel.halted:
        return Verdict.HALTED
    if now_epoch_s < channel.not_before_epoch_s:
        return Verdict.NOT_YET
    if running and channel.minimum_version and compare(running, channel.minimum_version) < 0:
        return Verdict.TOO_OLD
    return Verdict.OFFERED if place < share_at(channel, now_epoch_s) else Verdict.NOT_IN_SHARE


def goes_back(known_revision: int, channel: Channel) -> bool:
    """An older document than one that was seen: somebody replays it. A device must not believe it."""
    return channel.revision < known_revision


def must_halt(counts: Counts, limit: Limit) -> bool:
    """The results say that the rollout must not go on."""
    if limit.least == 0 or counts.failed < limit.least:
        return False
    return counts.failed * WHOLE >= limit.share * (counts.failed + counts.good)
