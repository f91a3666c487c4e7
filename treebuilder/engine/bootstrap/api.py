"""The port of a distribution: what a bootstrap resolves to, and how it is installed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from treebuilder.events import EventSink
from treebuilder.model.digest import Digest
from treebuilder.model.package import Bootstrap
from treebuilder.oci.seal import Sealed
from treebuilder.oci.store import Store
from treebuilder.system.process import Cancel


@dataclass(frozen=True, slots=True, order=True)
class LockedPackage:
    """One package file: its bytes are `sha256`, wherever they come from."""

    name: str
    version: str
    architecture: str
    sha256: Digest
    url: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class LockedBase:
    """All packages of a base, sorted, and the distribution's own date (seconds since 1970)."""

    packages: tuple[LockedPackage, ...]
    date_s: int


class Bootstrapper(Protocol):
    def resolve(self, wish: Bootstrap, store: Store, events: EventSink, cancel: Cancel) -> LockedBase:
        """Asks the mirror. Raises MissingProgram, TransportError, SpecError (unknown package)."""
        ...

    def install(
        self,
        wish: Bootstrap,
        base: LockedBase,
        epoch_s: int,
        store: Store,
        events: EventSink,
        cancel: Cancel,
        task: str,
    ) -> Sealed:
        """Makes the base out of exactly these packages; its folder is in the store afterwards."""
        ...
