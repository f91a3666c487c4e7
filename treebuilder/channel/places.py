"""Where channels are: a repository in a folder, in a registry, or behind a web server, where they can only be read.

Who publishes in a folder holds its lock. A registry has no lock, and replaces a tag whatever it led to: there the
lock is this machine's, and the document is read again just before it is replaced and just after. That finds out nearly
all others who publish at the same moment, and not all of them.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.channel import files
from treebuilder.channel.rules import Channel
from treebuilder.channel.sealing import Signed
from treebuilder.errors import ConfigError, LockHeld, SpecError
from treebuilder.model.digest import Digest
from treebuilder.oci.store import Store
from treebuilder.records import record
from treebuilder.repository import RepositoryBackend, open_backend
from treebuilder.system import locks
from treebuilder.system.process import Cancel

if TYPE_CHECKING:
    from treebuilder.trust.keys import PublicKey


@record
class Place:
    """A repository, and how its channels are signed.

    `url` is what `type` says: a folder, `HOST/NAME` of a registry, or an address of a web server. Plain HTTP is spoken
    with `insecure` registries.
    """

    type: str
    url: str
    seal: files.Seal
    insecure: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.url

    @property
    def keys(self) -> tuple[PublicKey, ...]:
        """Whose word counts here; none where nothing is signed."""
        return self.seal.trusted if isinstance(self.seal, Signed) else ()

    @property
    def remote(self) -> bool:
        """Whether it comes over a network."""
        return self.type != "disk"


def opened(place: Place, store: Store, cancel: Cancel) -> RepositoryBackend:
    """Raises ConfigError (reason "repository-type") for an address that is none of its type."""
    if place.type == "disk":
        return open_backend("disk", str(Path(place.url).absolute()), store, cancel)
    host, slash, name = _bare(place.url).partition("/")
    if place.type == "http":
        if not place.url.startswith(("http://", "https://")):
            raise ConfigError(
                f"{place} is no address of a web server", hint="--repository https://…", reason="repository-type"
            )
    elif not (slash and name) or not (host == "localhost" or "." in host or ":" in host):
        raise ConfigError(
            f"{place} names no repository of a registry", hint="--repository HOST/NAME", reason="repository-type"
        )
    return open_backend(place.type, place.url, store, cancel, insecure=place.insecure)


def check_writable(place: Place) -> None:
    """Raises ConfigError (reason "read-only"), SpecError (reason "no-repository")."""
    if place.type == "http":
        raise ConfigError(
            f"{place} can only be read", reason="read-only",
            hint="name the folder, or with --type docker the registry, that it comes from",
        )  # fmt: skip
    if place.type == "disk" and not Path(place.url).is_dir():
        raise SpecError(
            f"there is no repository in {place}", reason="no-repository", hint="one in a registry needs --type docker"
        )


def alone(place: Place, store: Store) -> AbstractContextManager[None]:
    """Nobody else here changes channels of this repository. Raises LockHeld, and what `check_writable` does."""
    check_writable(place)
    lock = Path(place.url) / ".channels.lock"
    if place.remote:
        lock = store.folder / f"channels-{Digest.of(_bare(place.url).encode()).hex[:32]}.lock"
    return locks.exclusive(lock, f"the channels of {place}")


def replace(backend: RepositoryBackend, place: Place, before: bytes | None, channel: Channel) -> bytes:
    """Publishes the next document after the one whose bytes are `before`. What was written.

    Raises LockHeld (reason "raced") when somebody else published at the same moment, and what `files.store` raises.
    """
    if place.remote and files.read(backend, channel.name) != before:
        raise _raced(place, channel, "has just been changed by somebody else: nothing was written")
    written = files.store(backend, channel, place.seal)
    if place.remote and files.read(backend, channel.name) != written:
        raise _raced(place, channel, "was published by somebody else at the same moment, and theirs is what counts")
    return written


def _raced(place: Place, channel: Channel, said: str) -> LockHeld:
    return LockHeld(
        f"the channel {channel.name} of {place} {said}", reason="raced",
        hint="look at it (channel show), then do it again; a registry cannot keep two publishers apart",
    )  # fmt: skip


def _bare(url: str) -> str:
    """An address without its scheme: what it is the same place by."""
    return url.partition("://")[2 if "://" in url else 0].rstrip("/")
