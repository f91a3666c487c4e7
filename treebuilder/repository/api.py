"""What a repository is to those who read and write one: where it is, and a backend that moves its files."""

from __future__ import annotations

from pathlib import Path

from treebuilder.annotations import Protocol
from treebuilder.errors import Place
from treebuilder.model.digest import Digest
from treebuilder.model.package import NOWHERE
from treebuilder.oci.arriving import UNSEEN, Arriving
from treebuilder.records import field, record
from treebuilder.repository.deltas import Patch
from treebuilder.trust.policy import Trust

INDEX_NAME = "repository.yaml"
SIGNATURE_SUFFIX = ".sig"  # of the document beside an index that holds its signatures
MAX_INDEX_BYTES = 4 << 20
MAX_TREE_BYTES = 256 << 20
MAX_META_BYTES = 1 << 30


@record
class RepositorySource:
    """A repository as somebody configured it. `urls` are mirrors, tried in order: absolute paths for type disk.

    A lower `priority` is preferred. `reference` is the index to read: the newest, or a snapshot's.
    `auth` are pairs as luet has them (token, basic, username, password). `cached`: while no address answers, the index
    that was last read counts. `trust` is whose signature it needs; a network repository without keys is refused.
    """

    name: str
    type: str
    urls: tuple[str, ...]
    priority: int = 0
    reference: str = INDEX_NAME
    where: Place = field(default=NOWHERE, compare=False)
    auth: tuple[tuple[str, str], ...] = ()
    cached: bool = False
    trust: Trust = Trust()


class RepositoryBackend(Protocol):
    """The files of one repository at one address. Names are relative, with `/`."""

    def index(self, reference: str) -> bytes | None:
        """The document that makes everything else visible; None where there is no repository.

        With `SIGNATURE_SUFFIX` behind it, the signatures of that document; None where it is not signed.

        Raises TransportError.
        """
        ...

    def open(self, name: str, sha256: Digest, max_bytes: int, progress: Arriving = UNSEEN) -> Path:
        """A file's bytes, checked against their digest, as a blob of the store. `progress` is told what comes.

        Raises TransportError (reason "missing-file" when it is not there), IntegrityError.
        """
        ...

    def patches(self, name: str, content: Digest) -> tuple[Patch, ...]:
        """What makes the tar `content`, of the archive `name`, out of older ones; none where nothing is gained.

        Raises TransportError, IntegrityError.
        """
        ...

    def open_patch(self, patch: Patch, progress: Arriving = UNSEEN) -> Path:
        """A patch's bytes, checked, as a blob of the store; `progress` sees them come.

        Raises TransportError, IntegrityError.
        """
        ...

    def put(self, name: str, data: bytes) -> None:
        """Writes a file under its final name, whole or not at all; nobody sees it before `commit`.

        Raises ConfigError where a backend only reads.
        """
        ...

    def copy(self, name: str, target: str) -> None:
        """Writes a file once more under another name. Raises ConfigError where a backend only reads."""
        ...

    def stat(self, name: str) -> tuple[int, int, int, int] | None:
        """Size, times of change and of status in ns, and inode of a file; None where that cannot be told."""
        ...

    def commit(self, reference: str, index: bytes) -> None:
        """Replaces the index, last of all, or its signatures, just before. Raises ConfigError where one only reads."""
        ...
