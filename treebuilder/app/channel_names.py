"""Channels of a repository, as far as copying and cleaning it has to know them: which there are, and where they lead.

Nobody's signature is asked for here. What is copied is copied as it is, and what is spared is spared for anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from treebuilder.channel.document import read_channel
from treebuilder.channel.files import file_name
from treebuilder.channel.rules import Channel
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


def _channel(data: bytes, file: str) -> Channel:
    """Raises IntegrityError for what is no channel."""
    document = read_envelope(data, file).payload if looks_signed(data) else data
    channel = read_channel(document, file)
    if file_name(channel.name) != file:
        raise IntegrityError(f"{file} is the channel {channel.name}", reason="bad-channel")
    return channel


def snapshot_of(data: bytes, file: str) -> str:
    """The snapshot that a channel leads to. Raises IntegrityError for what is no channel."""
    return _channel(data, file).snapshot


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


def to_copy(
    files: Iterable[str], read: Read, references: frozenset[str], there: Read, events: EventSink
) -> Mapping[str, bytes]:
    """The channels that lead to what is copied, as they are. What is none, or leads elsewhere, is warned of, and so is
    one of which a newer revision is `there`: that stays."""
    found: dict[str, bytes] = {}
    for file in files:
        data = read(file)
        if data is None:
            continue
        try:
            channel = _channel(data, file)
        except IntegrityError as err:
            events.emit(Warned(f"{err.message}: it is not copied"))
            continue
        if f"{channel.snapshot}-{INDEX_NAME}" not in references:
            message = f"{file} leads to the snapshot {channel.snapshot}, which is not copied, and nor is it"
            events.emit(Warned(message))
            continue
        present = _revision(there(file), file)
        if present > channel.revision:
            message = f"{file} is of revision {channel.revision}; revision {present} is in the destination, and stays"
            events.emit(Warned(message))
        else:
            found[file] = data
    return found


def _revision(data: bytes | None, file: str) -> int:
    """Of a channel; less than any for what is none."""
    try:
        return -1 if data is None else _channel(data, file).revision
    except IntegrityError:
        return -1
