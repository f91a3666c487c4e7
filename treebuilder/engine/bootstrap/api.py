"""The port of a distribution: what a bootstrap resolves to, and how it is installed."""

from __future__ import annotations

from treebuilder.annotations import Protocol
from treebuilder.events import EventSink
from treebuilder.model.locked import LockedBase
from treebuilder.model.package import Bootstrap
from treebuilder.oci.seal import Sealed
from treebuilder.oci.store import Store
from treebuilder.system.process import Cancel


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
