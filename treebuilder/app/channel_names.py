"""Channels of a repository, as far as copying and cleaning it has to know them: which there are, and where they lead.

Nobody's signature is asked for here. What is copied is copied as it is, and what is spared is spared for anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from treebuilder.channel.document import read_channel
from treebuilder.channel.files import file_name
from treebuilder.channel.sealing import looks_signed
from treebuilder.errors import IntegrityError
from treebuilder.events import EventSink, Warned
from treebuilder.repository.api import INDEX_NAME
from treebuilder.trust.envelope import read_envelope

Read = Callable[[str], bytes | None]
_PREFIX, _SUFFIX = "channel-", ".json"


def channel_files(names: Iterable[str]) -> tuple[str, ...]:
    """Those of some names that a channel's file may have, sorted."""
    return tuple(sorted(name for name in names if name.startswith(_PREFIX) and name.endswith(_SUFFIX)))


def snapshot_of(data: bytes, file: str) -> str:
    """The snapshot that a channel leads to. Raises IntegrityError for what is no channel."""
    document = read_envelope(data, file).payload if looks_signed(data) else data
    channel = read_channel(document, file)
    if file_name(channel.name) != file:
        raise IntegrityError(f"{file} is the channel {channel.name}", reason="bad-channel")
    return channel.snapshot


def named_snapshots(files: Iterable[str], read: Read) -> frozenset[str]:
    """The snapshots that the channels lead to.

    Raises IntegrityError (reason "bad-channel", …) for one that cannot be read: what it leads to must not be deleted.
    """
    found: set[str] = set()
    for file in files:
        data = read(file)
        if data is not None:
            found.add(snapshot_of(data, file))
    return frozenset(found)


def to_copy(files: Iterable[str], read: Read, references: frozenset[str], events: EventSink) -> Mapping[str, bytes]:
    """The channels that lead to what is copied, as they are. What is none, or leads elsewhere, is warned of."""
    found: dict[str, bytes] = {}
    for file in files:
        data = read(file)
        if data is None:
            continue
        try:
            snapshot = snapshot_of(data, file)
        except IntegrityError as err:
            events.emit(Warned(f"{err.message}: it is not copied"))
            continue
        if f"{snapshot}-{INDEX_NAME}" in references:
            found[file] = data
        else:
            events.emit(Warned(f"{file} leads to the snapshot {snapshot}, which is not copied, and nor is it"))
    return found
