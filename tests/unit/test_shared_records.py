"""Records of a shared cache that are not what they should be."""

from __future__ import annotations

import io
import json
from contextlib import closing
from pathlib import Path

from treebuilder.build.shared import SCHEMA, SharedCache
from treebuilder.build.waiting import Waiting
from treebuilder.events import Event, Warned
from treebuilder.model.digest import Digest
from treebuilder.oci.folder import FolderRepository
from treebuilder.oci.store import Store
from treebuilder.plan.keys import NodeKeys
from treebuilder.system.process import Cancel

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class _Heard:
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def emit(self, event: Event) -> None:
        if isinstance(event, Warned):
            self.warnings.append(event.message)


def test_of_a_record_that_is_waited_for_is_told_once_that_it_is_odd(tmp_path: Path) -> None:
    keys = NodeKeys(Digest.of(b"recipe"), Digest.of(b"plan"), Digest.of(b"artifact"), str)
    place = FolderRepository(tmp_path / "cache")
    config = json.dumps({"schema": SCHEMA}).encode()
    place.push_blob(Digest.of(config), len(config), lambda: io.BytesIO(config))
    described = {"digest": str(Digest.of(config)), "size": len(config)}
    place.put_manifest(f"node-{keys.plan.hex}", json.dumps({"config": described, "layers": []}).encode(), _MANIFEST)
    heard = _Heard()
    with closing(Store(tmp_path / "store")) as store:
        cache = SharedCache([place], [], store, heard, waiting=Waiting(1.0, heard, Cancel()))
        assert cache.awaited(keys) is None
    assert len([message for message in heard.warnings if "is not used" in message]) == 1
