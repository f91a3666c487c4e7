"""What a run works with: settings, store, events, cancel. Made once by the command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from treebuilder.app.config_files import cache_folder
from treebuilder.app.settings import Settings
from treebuilder.events import EventSink
from treebuilder.oci.store import Store
from treebuilder.records import record
from treebuilder.system.process import Cancel
from treebuilder.tree import FileStamp

_SPARE = 20_000  # notes that nobody uses, before they are thrown away
_SINGLE = 1_000  # lookups of a kind before all of it is read
_HELD_BYTES = 8 * 1024 * 1024  # that wait to be written


class StoredSpecIndex:
    """The specfile index, in the store: what was read of folders (`cells//…`) and digests of files.

    What is asked for is looked up one by one, until so much is that a kind is read at once. It is written by `save`
    and when it grows large, and thrown away when most of it was of no use any more.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, dict[str, bytes]] = {}
        self._fresh: dict[str, dict[str, bytes]] = {}
        self._used: dict[str, set[str]] = {}
        self._asked: dict[str, int] = {}
        self._written: dict[str, set[str]] = {}  # before `save`
        self._held_bytes = 0

    def get(self, stamp: FileStamp) -> bytes | None:
        kind, key = _placed(stamp)
        found = self._fresh.get(kind, {}).get(key)
        if found is None:
            asked = self._asked[kind] = self._asked.get(kind, 0) + 1
            if asked <= _SINGLE:
                return self._store.index.note(kind, key)
            if kind not in self._known:
                self._known[kind] = self._store.index.notes(kind)
            found = self._known[kind].get(key)
            if found is None and key in self._written.get(kind, ()):
                found = self._store.index.note(kind, key)
        if found is not None:
            self._used.setdefault(kind, set()).add(key)
        return found

    def put(self, stamp: FileStamp, data: bytes) -> None:
        kind, key = _placed(stamp)
        if key.isprintable():
            self._fresh.setdefault(kind, {})[key] = data
            self._held_bytes += len(data)
            if self._held_bytes > _HELD_BYTES:
                self._write()

    def _write(self) -> None:
        """What is new so far. It holds whatever else happens in this run, and 20,000 recipes take 30 MB."""
        fresh, self._fresh, self._held_bytes = self._fresh, {}, 0
        for kind, values in fresh.items():
            self._written.setdefault(kind, set()).update(values)
            self._store.index.set_notes(kind, values)

    def save(self) -> None:
        """Writes what is new."""
        fresh, self._fresh = self._fresh, {}
        for kind in {**fresh, **self._written}:
            values = fresh.get(kind, {})
            known = self._known.get(kind, {})
            used = self._used.get(kind, set()) | self._written.get(kind, set())
            if len(known) > _SPARE + 4 * (len(used) + len(values)):
                kept = {key: known.get(key) or self._store.index.note(kind, key) for key in used}
                self._store.index.drop_notes(kind)
                values = {key: value for key, value in kept.items() if value is not None} | values
            self._store.index.set_notes(kind, values)
            if kind in self._known:
                known |= values


def _placed(stamp: FileStamp) -> tuple[str, str]:
    """The kind of note and the key in it."""
    if stamp.path.startswith("cells//"):
        return "cells", stamp.path[7:]
    if stamp.path.startswith("tree//"):
        return "trees", stamp.path[6:]
    return "specfile", repr(tuple(stamp))


@record
class Workspace:
    settings: Settings
    store: Store
    specs: StoredSpecIndex
    events: EventSink
    cancel: Cancel

    @property
    def jobs(self) -> int:
        return self.settings.concurrency or os.cpu_count() or 2


@contextmanager
def opened(
    settings: Settings, cache_dir: str, events: EventSink, cancel: Cancel, *, last: bool = False
) -> Iterator[Workspace]:
    """A workspace over the cache folder; leftovers of killed runs are swept away. `last`: the process ends with it."""
    from treebuilder.container import namespace

    mapping = "user" if namespace.ids_are_mapped() else "host"
    store = Store(cache_folder(cache_dir), mapping=mapping, bound=settings.bound)
    try:
        store.sweep()
        specs = StoredSpecIndex(store)
        yield Workspace(settings, store, specs, events, cancel)
        specs.save()
    finally:
        (store.leave if last else store.close)()


def resources() -> dict[str, Callable[[], bytes]]:
    """What `retrieve: treebuild:NAME` may name: our own programs for devices."""

    def yip() -> bytes:
        from treebuilder.cloudconfig.zipapp import build_zipapp

        return build_zipapp()

    def program() -> bytes:
        from treebuilder.app.program import build_program

        return build_program()

    return {"treebuild.pyz": program, "yip.pyz": yip}


def lock_path(explicit: str) -> Path:
    return Path(explicit or os.environ.get("TREEBUILD_LOCK", "") or "treebuild.lock")
