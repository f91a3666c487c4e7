"""What a run works with: settings, store, events, cancel. Made once by the command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from treebuilder.app.settings import Settings, cache_folder
from treebuilder.events import EventSink
from treebuilder.oci.store import Store
from treebuilder.records import record
from treebuilder.system.process import Cancel
from treebuilder.tree import FileStamp


@record
class Workspace:
    settings: Settings
    store: Store
    events: EventSink
    cancel: Cancel

    @property
    def jobs(self) -> int:
        return self.settings.concurrency or os.cpu_count() or 2


@contextmanager
def opened(settings: Settings, cache_dir: str, events: EventSink, cancel: Cancel) -> Iterator[Workspace]:
    """A workspace over the cache folder; leftovers of killed runs are swept away."""
    from treebuilder.container import namespace

    mapping = "user" if namespace.ids_are_mapped() else "host"
    store = Store(cache_folder(cache_dir), mapping=mapping)
    try:
        store.sweep()
        yield Workspace(settings, store, events, cancel)
    finally:
        store.close()


class StoredSpecIndex:
    """The specfile index, in the store. Reads all at once, writes all at once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, bytes] | None = None
        self._fresh: dict[str, bytes] = {}

    def get(self, stamp: FileStamp) -> bytes | None:
        if self._known is None:
            self._known = self._store.index.notes("specfile")
        key = repr(tuple(stamp))
        return self._fresh.get(key) or self._known.get(key)

    def put(self, stamp: FileStamp, data: bytes) -> None:
        self._fresh[repr(tuple(stamp))] = data

    def save(self) -> None:
        fresh, self._fresh = self._fresh, {}
        encodable = {k: v for k, v in fresh.items() if k.isprintable()}
        self._store.index.set_notes("specfile", encodable)


def resources() -> dict[str, Callable[[], bytes]]:
    """What `retrieve: treebuild:NAME` may name: our own programs for devices."""

    def yip() -> bytes:
        from treebuilder.cloudconfig.zipapp import build_zipapp

        return build_zipapp()

    return {"yip.pyz": yip}


def lock_path(explicit: str) -> Path:
    return Path(explicit or os.environ.get("TREEBUILD_LOCK", "") or "treebuild.lock")
