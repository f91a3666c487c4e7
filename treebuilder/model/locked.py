"""Package files of a distribution, pinned by digest: what a bootstrap resolves to and what the lock remembers."""

from __future__ import annotations

from treebuilder.model.digest import Digest
from treebuilder.records import record


@record(order=True)
class LockedPackage:
    """One package file: its bytes are `sha256`, wherever they come from."""

    name: str
    version: str
    architecture: str
    sha256: Digest
    url: str
    size_bytes: int


@record
class LockedBase:
    """All packages of a base, sorted, and the distribution's own date (seconds since 1970).

    `asked` are the packages that were asked for, for readers of the lock.
    """

    packages: tuple[LockedPackage, ...]
    date_s: int
    asked: str = ""
