"""What a device remembers of channels: how far each was seen, and which upgrades are still to be reported.

A file beside the journal, replaced whole. The revision is what keeps an old document from being believed again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from treebuilder.annotations import Any
from treebuilder.device.states import Device
from treebuilder.errors import StateCorrupt
from treebuilder.model.digest import Digest
from treebuilder.records import record, replace
from treebuilder.system.files import disk_errors, write_atomic

SCHEMA = "treebuild.device-channels/1"
MAX_BYTES = 64 << 10
MAX_FOLLOWED = 16


@record
class Followed:
    """An image that a channel led to. `told` is what was reported of it: "", "good" or "failed"."""

    channel: str
    snapshot: str
    version: str
    digest: Digest
    report_url: str = ""
    told: str = ""


@record
class Channels:
    """`seen`: the last revision believed, by repository and channel, sorted. `followed`: oldest first."""

    seen: tuple[tuple[str, int], ...] = ()
    followed: tuple[Followed, ...] = ()

    def revision(self, name: str) -> int:
        """0 for a channel that was never seen."""
        return dict(self.seen).get(name, 0)

    def saw(self, name: str, revision: int) -> Channels:
        """A revision only grows."""
        seen = dict(self.seen) | {name: max(revision, self.revision(name))}
        return replace(self, seen=tuple(sorted(seen.items())))

    def follow(self, new: Followed) -> Channels:
        """The image is what the device goes to next."""
        others = tuple(each for each in self.followed if each.digest != new.digest)
        return replace(self, followed=(*others, new)[-MAX_FOLLOWED:])

    def mark(self, told: Followed, word: str) -> Channels:
        """It was reported."""
        changed = (replace(each, told=word) if each.digest == told.digest else each for each in self.followed)
        return replace(self, followed=tuple(changed))


def due(channels: Channels, device: Device, *, healthy: bool) -> Iterator[tuple[Followed, bool, str]]:
    """What is to be reported: the image, whether it is good, and why not.

    `healthy`: the checks of this boot passed. That another image is on trial by now says nothing of the one that runs.
    """
    failed = {each.digest: each.why for each in device.memory.failed}
    for each in channels.followed:
        if not each.report_url:
            continue
        if each.digest in failed:
            if each.told != "failed":
                yield each, False, failed[each.digest]
        elif device.running is not None and device.running.digest == each.digest and not device.on_trial:
            if healthy and each.told != "good":
                yield each, True, ""


class ChannelsFile:
    """The file in the folder of the journal, which is there."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "channels.json"

    def read(self) -> Channels:
        """Nothing where there is no file. Raises StateCorrupt (reason "bad-memory")."""
        with disk_errors(f"reading {self._path}"):
            try:
                with self._path.open("rb") as source:
                    data = source.read(MAX_BYTES + 1)
            except FileNotFoundError:
                return Channels()
        try:
            if len(data) > MAX_BYTES:
                raise ValueError("it is too long")
            return _read(json.loads(data))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as err:
            raise StateCorrupt(
                f"{self._path} cannot be read: {err}", reason="bad-memory",
                hint="when it is deleted, an old document of a channel may be believed once more",
            ) from err  # fmt: skip

    def write(self, channels: Channels) -> None:
        """Replaces the file when it would change. Raises NoSpace, TreebuildError."""
        followed = [
            {
                "channel": each.channel, "snapshot": each.snapshot, "version": each.version,
                "digest": each.digest.hex, "report_url": each.report_url, "told": each.told,
            }
            for each in channels.followed
        ]  # fmt: skip
        value = {"schema": SCHEMA, "seen": dict(channels.seen), "followed": followed}
        data = (json.dumps(value, indent=1) + "\n").encode()
        if not self._path.is_file() or self._path.read_bytes() != data:
            write_atomic(self._path, data)


def _read(value: Any) -> Channels:  # noqa: ANN401 - straight from JSON
    if value["schema"] != SCHEMA:
        raise ValueError("another version of treebuild wrote it")
    seen = tuple(sorted((str(name), int(revision)) for name, revision in value["seen"].items()))
    followed = tuple(
        Followed(
            str(f["channel"]), str(f["snapshot"]), str(f["version"]), Digest(f["digest"]), str(f["report_url"]),
            str(f["told"]),
        )
        for f in value["followed"]
    )  # fmt: skip
    return Channels(seen, followed)
