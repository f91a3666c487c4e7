"""An image of several layers: they come at once, each of them once."""

from __future__ import annotations

import io
import os
import tarfile
import threading
from contextlib import suppress
from pathlib import Path

from tests.contract.registry_client import Client, sha
from treebuilder.events import Finished, Progressed, Recorder, Started
from treebuilder.oci.registry import RegistryImages
from treebuilder.oci.store import Store
from treebuilder.serve.exchange import Exchange
from treebuilder.serve.registry import Registry
from treebuilder.serve.server import Listening, serving
from treebuilder.serve.storage import Storage
from treebuilder.system.process import Cancel

_PATIENCE_S = 20.0


class Slow:
    """A registry where who asks for the first of some blobs waits for somebody who asks for a second."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._both, self._lock = threading.Barrier(2, timeout=_PATIENCE_S), threading.Lock()
        self.blobs: set[str] = set()
        self.asked: list[str] = []
        self.met = False

    def answer(self, exchange: Exchange) -> None:
        what = exchange.path.rpartition("/")[2]
        if exchange.method == "GET" and what in self.blobs:
            with self._lock:
                self.asked.append(what)
            if not self.met:
                with suppress(threading.BrokenBarrierError):
                    self._both.wait()
                    self.met = True
        self._registry.answer(exchange)


def layer(name: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = 100_000
        tar.addfile(info, io.BytesIO(name[:1].encode() * info.size))
    return out.getvalue()


def test_layers_come_at_once_and_each_once(tmp_path: Path) -> None:
    storage, store, events = Storage(tmp_path / "registry"), Store(tmp_path / "cache"), Recorder()
    site = Slow(Registry(storage))
    one, two, three = layer("one"), layer("two"), layer("three")
    with serving(site, Listening("127.0.0.1", 0)) as address:
        Client(address).image("a/b", "v1", [one, two, one, three])
        site.blobs = {sha(one), sha(two), sha(three)}
        images = RegistryImages(events, Cancel())
        state = images.load(f"{address}/a/b:v1", images.resolve(f"{address}/a/b:v1"), store)
    assert site.met
    assert sorted(site.asked) == sorted(site.blobs)
    names = [os.listdir(store.tree_folder(digest)) for digest in state.layers]
    assert names == [["one"], ["two"], ["one"], ["three"]]
    sizes = [event.done or 0 for event in events.events if isinstance(event, Progressed)]
    assert sizes == sorted(sizes)
    assert sizes[-1] > 3 * 100_000
    assert [event.total for event in events.events if isinstance(event, Started)] == [sizes[-1]]
    assert isinstance(events.events[-1], Finished)
    store.close()
    storage.close()
