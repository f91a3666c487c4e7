"""A cache's folder, read by many threads, and whatever its files say."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from treebuilder.errors import IntegrityError
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


@pytest.mark.parametrize("odd", [7, "x", [1], {"annotations": [1]}, {"annotations": "x"}, {"annotations": {"x": 1}}])
def test_an_odd_item_of_the_index_has_no_name_and_stays(tmp_path: Path, odd: object) -> None:
    made = FolderRepository(tmp_path / "cache")
    digest = made.put_manifest("first", b"{}", _MANIFEST)
    made.commit()
    index = tmp_path / "cache/index.json"
    value = json.loads(index.read_bytes())
    index.write_text(json.dumps({**value, "manifests": [odd, *value["manifests"]]}))
    again = FolderRepository(tmp_path / "cache")
    assert again.digest_of("first") == digest
    again.put_manifest("second", b"[]", _MANIFEST)
    again.commit()
    items = json.loads(index.read_bytes())["manifests"]
    assert items[:-2] == ([odd] if isinstance(odd, dict) else [])


@pytest.mark.parametrize("items", [5, "x", {"x": 1}])
def test_an_index_that_is_none_is_refused_and_left_alone(tmp_path: Path, items: object) -> None:
    made = FolderRepository(tmp_path)
    index = tmp_path / "index.json"
    index.write_text(json.dumps({"manifests": items}))
    with pytest.raises(IntegrityError, match="no index"):
        made.digest_of("first")
    assert json.loads(index.read_bytes()) == {"manifests": items}


def test_what_a_killed_run_was_writing_is_gone_after_the_next(tmp_path: Path) -> None:
    """It is killed in the middle of a blob: nothing of it can tidy up."""
    script = """if True:
        import os, signal, sys
        from pathlib import Path
        from treebuilder.model.digest import Digest
        from treebuilder.oci.folder import FolderRepository

        class Killing:
            def __enter__(self): return self
            def __exit__(self, *_): pass
            def read(self, size): os.kill(os.getpid(), signal.SIGKILL)

        FolderRepository(Path(sys.argv[1])).push_blob(Digest.of(b"x"), 1, Killing)
    """
    killed = subprocess.run([sys.executable, "-c", script, tmp_path], check=False)
    assert killed.returncode == -signal.SIGKILL
    blobs = tmp_path / "blobs/sha256"
    assert len(list(blobs.iterdir())) == 1
    made = FolderRepository(tmp_path)
    digest = made.put_manifest("first", b"{}", _MANIFEST)
    made.commit()
    assert [path.name for path in blobs.iterdir()] == [digest.hex]
