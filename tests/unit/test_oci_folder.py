"""A cache's folder, read by many threads."""

from __future__ import annotations

import json
from pathlib import Path

from treebuilder.model.digest import Digest
from treebuilder.oci.folder import FolderRepository
from treebuilder.system.pool import in_parallel

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def test_who_asks_while_the_index_is_read_is_told_what_is_there(tmp_path: Path) -> None:
    made = FolderRepository(tmp_path / "cache")
    digest = made.put_manifest("last", b"{}", _MANIFEST)
    made.commit()
    index = tmp_path / "cache/index.json"
    value = json.loads(index.read_bytes())
    item = value["manifests"][0]
    value["manifests"] = [{**item, "annotations": {}} for _ in range(30_000)] + [item]
    index.write_text(json.dumps(value))

    def ask(reader: FolderRepository) -> Digest | None:
        return reader.digest_of("last")

    assert in_parallel([FolderRepository(tmp_path / "cache")] * 8, ask, 8) == [digest] * 8
