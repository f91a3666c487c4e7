"""Channels as files of a repository: `channel-NAME.json`, one file each, replaced whole."""

from __future__ import annotations

from treebuilder.annotations import Protocol
from treebuilder.channel.document import channel_bytes, name_ok, read_channel
from treebuilder.channel.rules import Channel
from treebuilder.channel.sealing import looks_signed
from treebuilder.errors import ConfigError, IntegrityError, SpecError
from treebuilder.repository.api import RepositoryBackend


class Seal(Protocol):
    """How a document is signed, and believed: bytes to bytes. The signature is in the file, so both change at once."""

    def wrap(self, document: bytes) -> bytes:
        """What is written. Raises ConfigError when it cannot be signed."""
        ...

    def unwrap(self, data: bytes, what: str) -> bytes:
        """The document, when it is to be believed. Raises IntegrityError."""
        ...


class Unsigned:
    """Implements `Seal` where nothing is signed: whoever can change the file can change the fleet."""

    def wrap(self, document: bytes) -> bytes:
        return document

    def unwrap(self, data: bytes, what: str) -> bytes:
        """Raises ConfigError (reason "signed"): what is signed is not silently replaced by what is not."""
        if looks_signed(data):
            raise ConfigError(
                f"{what} is signed", reason="signed", hint="name its key: --sign, or --trust to look at it"
            )
        return data


def file_name(name: str) -> str:
    """The file of a channel. Raises ConfigError for a name that is none."""
    if not name_ok(name):
        raise ConfigError(
            f"{name[:80]!r} is no name of a channel", reason="channel-name",
            hint="at most 64 of a-z, 0-9, `.`, `_` and `-`, beginning with a letter or digit",
        )  # fmt: skip
    return f"channel-{name}.json"


def read(backend: RepositoryBackend, name: str) -> bytes | None:
    """What is published under the name, as it is; None where nothing is. Raises TransportError, ConfigError."""
    return backend.index(file_name(name))


def believed(data: bytes, name: str, seal: Seal) -> Channel:
    """The channel of that name, as it was read.

    Raises IntegrityError (not to be believed; also when the file names another channel), ConfigError.
    """
    file = file_name(name)
    channel = read_channel(seal.unwrap(data, file), file)
    if channel.name != name:
        raise IntegrityError(f"{file} is the channel {channel.name}", reason="bad-channel")
    return channel


def find(backend: RepositoryBackend, name: str, seal: Seal) -> Channel | None:
    """The channel as it is published; None where there is none. Raises what `read` and `believed` raise."""
    data = read(backend, name)
    return None if data is None else believed(data, name, seal)


def load(backend: RepositoryBackend, name: str, seal: Seal) -> Channel:
    """Like `find`. Raises SpecError (reason "no-channel") where there is none."""
    return needed(find(backend, name, seal), name)


def needed(channel: Channel | None, name: str) -> Channel:
    """Raises SpecError (reason "no-channel")."""
    if channel is None:
        raise SpecError(f"there is no channel {name}", reason="no-channel", hint="treebuild channel publish makes one")
    return channel


def store(backend: RepositoryBackend, channel: Channel, seal: Seal) -> bytes:
    """Publishes the document: readers see the one before or this one. What was written.

    Raises what `read_channel` would refuse, TransportError.
    """
    document = channel_bytes(channel)
    file = file_name(channel.name)
    read_channel(document, file)  # what nobody could read is not published
    data = seal.wrap(document)
    backend.commit(file, data)
    return data
