"""What devices post after an upgrade, and how it is counted. No input, no output.

Anybody can post: a result can halt a rollout and nothing else, each device counts once, and how many are known is
bounded. A device is named by a hash of its machine id and the channel, for a machine id is nobody else's business
(machine-id(5)).
"""

from __future__ import annotations

import hashlib
import json

from treebuilder.channel.document import name_ok, snapshot_ok
from treebuilder.channel.rules import Counts
from treebuilder.errors import IntegrityError
from treebuilder.records import record

SCHEMA = "treebuild.channel-result/1"
MAX_RESULT_BYTES = 2 << 10
MAX_DEVICES = 10_000_000
_HEX = frozenset("0123456789abcdef")
_DEVICE = 32  # hexadecimal characters
_LONGEST_REASON = 200


@record
class Result:
    """What became of one device with one snapshot. `why` says what failed."""

    channel: str
    snapshot: str
    device: str
    good: bool
    why: str = ""


def device_name(machine_id: str, channel: str) -> str:
    """What a device calls itself in its results."""
    return hashlib.sha256(f"result\0{machine_id}\0{channel}".encode()).hexdigest()[:_DEVICE]


def result_bytes(result: Result) -> bytes:
    """One line of JSON, without its end."""
    value = {
        "schema": SCHEMA, "channel": result.channel, "snapshot": result.snapshot, "device": result.device,
        "good": result.good, "why": result.why,
    }  # fmt: skip
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def read_result(data: bytes) -> Result:
    """Raises IntegrityError (reason "bad-result") for anything but a result."""
    try:
        if len(data) > MAX_RESULT_BYTES:
            raise ValueError("too long")
        value = json.loads(data.decode())
        if not isinstance(value, dict) or value.pop("schema", None) != SCHEMA:
            raise ValueError("no result")
        found = Result(**value)
        texts = (found.channel, found.snapshot, found.device, found.why)
        if not all(isinstance(text, str) for text in texts) or not isinstance(found.good, bool):
            raise ValueError("a value of another type")
        if not name_ok(found.channel) or not snapshot_ok(found.snapshot):
            raise ValueError("no channel")
        if len(found.device) != _DEVICE or not _HEX.issuperset(found.device):
            raise ValueError("no device")
        if len(found.why) > _LONGEST_REASON or not found.why.isprintable():
            raise ValueError("the reason")
    except (ValueError, TypeError, RecursionError) as err:
        raise IntegrityError("this is no result of an upgrade", reason="bad-result") from err
    return found


class Tally:
    """The last result of each device for one snapshot of one channel."""

    def __init__(self, channel: str, snapshot: str) -> None:
        self._for = (channel, snapshot)
        self._good: dict[bytes, bool] = {}
        self._failed = 0

    def add(self, result: Result) -> bool:
        """True when something changed: the result is of this snapshot, and the device did not say so before."""
        device = bytes.fromhex(result.device)
        if (result.channel, result.snapshot) != self._for or self._good.get(device) is result.good:
            return False
        if device not in self._good and len(self._good) >= MAX_DEVICES:
            return False
        self._failed += (not result.good) - (self._good.get(device) is False)
        self._good[device] = result.good
        return True

    def counts(self) -> Counts:
        return Counts(len(self._good) - self._failed, self._failed)
