"""An image of several layers: they come at once, each of them once."""

from __future__ import annotations

import io
import os
import tarfile
from contextlib import closing
from pathlib import Path

from tests.contract.registry_client import Client, sha
from tests.registries import served
from tests.sites import Slow
from treebuilder.events import Finished, Progressed, Recorder, Started
from treebuilder.oci.registry import RegistryImages
from treebuilder.oci.store import Store
from treebuilder.system.process import Cancel


def layer(name: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = 100_000
        tar.addfile(info, io.BytesIO(name[:1].encode() * info.size))
    return out.getvalue()


def test_layers_come_at_once_and_each_once(tmp_path: Path) -> None:
    one, two, three = layer("one"), layer("two"), layer("three")
    paths = {f"/v2/a/b/blobs/{sha(data)}" for data in (one, two, three)}
    events = Recorder()
    with served(tmp_path / "registry", Slow) as (site, address), closing(Store(tmp_path / "cache")) as store:
        Client(address).image("a/b", "v1", [one, two, one, three])
        site.hold(lambda path: path in paths)
        images = RegistryImages(events, Cancel())
        state = images.load(f"{address}/a/b:v1", images.resolve(f"{address}/a/b:v1"), store)
        names = [os.listdir(store.tree_folder(digest)) for digest in state.layers]
    assert site.met
    asked = [line for line in site.asked if line.partition(" ")[2] in paths]
    assert sorted(asked) == sorted(f"GET {path}" for path in paths)
    assert names == [["one"], ["two"], ["one"], ["three"]]
    sizes = [event.done or 0 for event in events.events if isinstance(event, Progressed)]
    assert sizes == sorted(sizes)
    assert sizes[-1] > 3 * 100_000
    assert [event.total for event in events.events if isinstance(event, Started)] == [sizes[-1]]
    assert isinstance(events.events[-1], Finished)
