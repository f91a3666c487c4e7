"""Layouts that others made, served as a registry: all of it or a clear error, and nobody's references are lost."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.contract.registry_client import CONFIG, INDEX, LAYER, MANIFEST, Client, sha
from tests.registries import own_registry
from treebuilder.errors import StateCorrupt
from treebuilder.serve.names import as_name, is_name
from treebuilder.serve.registry import Registry
from treebuilder.serve.server import Listening, serving
from treebuilder.serve.storage import Storage

REF = "org.opencontainers.image.ref.name"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"


class Made:
    """An OCI layout made by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "blobs/sha256").mkdir(parents=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        self.items: list[Any] = []

    def blob(self, data: bytes) -> dict[str, Any]:
        (self.folder / "blobs/sha256" / hashlib.sha256(data).hexdigest()).write_bytes(data)
        return {"digest": sha(data), "size": len(data)}

    def json(self, value: Any, media: str) -> dict[str, Any]:
        return {"mediaType": media, **self.blob(json.dumps(value).encode())}

    def image(self, text: bytes, media: str = MANIFEST) -> dict[str, Any]:
        config = {"mediaType": CONFIG, **self.blob(b'{"architecture": "amd64", "os": "linux"}' + b" " * len(text))}
        layers = [{"mediaType": LAYER, **self.blob(text)}]
        return self.json({"schemaVersion": 2, "mediaType": media, "config": config, "layers": layers}, media)

    def add(self, item: Any, name: str = "") -> None:
        self.items.append({**item, "annotations": {REF: name}} if name else item)

    def write(self, **more: Any) -> bytes:
        data = json.dumps({"schemaVersion": 2, "manifests": self.items, **more}).encode()
        (self.folder / "index.json").write_bytes(data)
        return data


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path / "layout")


def items(folder: Path) -> list[dict[str, Any]]:
    return list(json.loads((folder / "index.json").read_text())["manifests"])


def tags(storage: Storage) -> dict[str, list[str]]:
    return {name: storage.tags(name) for name in storage.repositories()}


def test_a_list_of_dockers(made: Made) -> None:
    child = made.image(b"layer", DOCKER)
    listed = made.json({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [child]}, DOCKER_LIST)
    made.add(listed, "a/b:v1")
    made.write()
    with own_registry(made.folder) as address:
        client = Client(address)
        assert client.ask("GET", "/v2/a/b/manifests/v1")[1]["content-type"] == DOCKER_LIST
        assert client.ask("GET", f"/v2/a/b/manifests/{child['digest']}")[1]["content-type"] == DOCKER
        assert client.ask("GET", f"/v2/a/b/blobs/{sha(b'layer')}")[2] == b"layer"
    assert items(made.folder) == made.items, "what others wrote stays as it is"


@pytest.mark.parametrize(
    "fault", ["no JSON", "layers", "a text", "no list", "gone", "damaged", "child", "no digest", "deep", "a list"]
)
def test_what_is_no_layout_is_an_error_and_nothing_is_changed(made: Made, fault: str) -> None:
    made.add(made.image(b"one"), "a:v1")
    broken = made.image(b"two")
    path = made.folder / "blobs/sha256" / str(broken["digest"])[7:]
    match fault:
        case "no JSON":
            made.add({"mediaType": MANIFEST, **made.blob(b"no JSON")})
        case "layers":
            made.add(made.json({"schemaVersion": 2, "layers": 7}, MANIFEST))
        case "a text":
            made.add("x")
        case "gone":
            path.unlink()
            made.add(broken)
        case "damaged":
            path.write_bytes(path.read_bytes() + b" ")
            made.add(broken)
        case "child":
            bad = {"mediaType": MANIFEST, **made.blob(b"[]")}
            made.add(made.json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [bad]}, INDEX))
        case "no digest":
            made.add({"mediaType": MANIFEST, "digest": "../../x", "size": 1})
        case "deep":
            made.add({"mediaType": MANIFEST, **made.blob(b"[" * 100_000)})
        case _:  # of the index itself
            assert fault in ("no list", "a list")
    before = made.write(**({"manifests": 3} if fault == "no list" else {}))
    if fault == "a list":
        before = b"[]"
        (made.folder / "index.json").write_bytes(before)
    there = sorted(made.folder.rglob("*"))
    for _ in range(2):
        with pytest.raises(StateCorrupt):
            Storage(made.folder)
        assert (made.folder / "index.json").read_bytes() == before
        assert sorted(made.folder.rglob("*")) == there


def test_an_index_that_is_broken_meanwhile_is_not_overwritten(made: Made) -> None:
    made.add(made.image(b"one"), "a:v1")
    made.write()
    storage = Storage(made.folder)
    (made.folder / "index.json").write_text("{")
    with pytest.raises(StateCorrupt):
        storage.close()
    assert (made.folder / "index.json").read_text() == "{"


def test_nothing_that_was_named_is_lost(made: Made) -> None:
    """Names that no registry allows, tags alone, kinds that are not ours, notes, two of one name."""
    one, two = made.image(b"one"), made.image(b"two")
    made.add(one, "localhost:5000/Some/App:v1")
    made.add(two, "v2")
    made.add({**made.image(b"three"), "platform": {"os": "linux", "architecture": "arm64"}})
    made.add({"mediaType": "application/x.other", **made.blob(b"other")}, "a:other")
    made.add(made.image(b"four"), "same:v1")
    made.add(made.image(b"five"), "same:v1")
    made.write(annotations={"k": "v"})
    for _ in range(2):
        storage = Storage(made.folder)
        assert tags(storage) == {"layout": ["v2"], "localhost-5000/some/app": ["v1"], "same": ["v1"]}
        found = storage.manifest("same", "v1")
        assert found is not None
        assert found.digest == made.items[4]["digest"]
        storage.close()
        assert sorted(items(made.folder), key=str) == sorted(made.items, key=str)
        assert json.loads((made.folder / "index.json").read_text())["annotations"] == {"k": "v"}


def test_what_is_deleted_is_gone_from_the_index(made: Made) -> None:
    one = made.image(b"one")
    made.add(one, "a:v1")
    made.add(made.image(b"two"), "a:v2")
    made.write()
    storage = Storage(made.folder)
    assert storage.delete_manifest("a", str(one["digest"]))
    storage.close()
    assert items(made.folder) == made.items[1:]
    storage = Storage(made.folder)
    assert tags(storage) == {"a": ["v2"]}
    storage.close()


def test_what_others_add_between_two_runs_and_during_one_is_taken_in(made: Made) -> None:
    made.add(made.image(b"one"), "a:v1")
    made.write()
    Storage(made.folder).close()
    moved = made.image(b"two")
    made.items = items(made.folder)
    made.items[0] = {**moved, "annotations": {REF: "a:v1"}}
    made.write()
    storage = Storage(made.folder)
    found = storage.manifest("a", "v1")
    assert found is not None
    assert found.digest == moved["digest"]
    made.items = items(made.folder)
    made.add(made.image(b"three"), "b:v1")
    made.write()
    storage.close()
    assert made.items[-1] in items(made.folder)
    storage = Storage(made.folder)
    assert tags(storage) == {"a": ["v1"], "b": ["v1"]}
    storage.close()


def test_a_crash_leaves_what_was_pushed_newer_than_the_index(made: Made) -> None:
    made.add(made.image(b"one"), "a:v1")
    made.write()
    Storage(made.folder).close()
    storage = Storage(made.folder)
    with serving(Registry(storage), Listening("127.0.0.1", 0)) as address:
        pushed = Client(address).image("a", "v1", [b"two"])
    storage._db.close()  # as if it was killed
    storage = Storage(made.folder)
    found = storage.manifest("a", "v1")
    assert found is not None
    assert found.digest == sha(pushed)
    storage.close()


def test_a_database_of_version_1_goes_on(tmp_path: Path) -> None:
    """Also the one that an earlier version left empty when it could not take a layout in."""
    folder = tmp_path / "registry"
    with own_registry(folder) as address:
        data = Client(address).image("a", "v1", [b"one"])
    _as_version_1(folder)
    storage = Storage(folder)
    assert tags(storage) == {"a": ["v1"]}
    assert storage.unused() == {}
    assert storage.blob_size("a", sha(b"one")) == 3
    storage.close()
    _as_version_1(folder, "DELETE FROM blobs; DELETE FROM manifests; DELETE FROM tags;")
    storage = Storage(folder)
    found = storage.manifest("a", "v1")
    assert found is not None
    assert found.digest == sha(data)
    storage.close()


def _as_version_1(folder: Path, more: str = "") -> None:
    db = sqlite3.connect(folder / "registry.sqlite")
    db.executescript(
        "DROP TABLE layout; DROP TABLE mentions; CREATE TABLE b (repository TEXT, digest TEXT, PRIMARY KEY (repository,"
        " digest)) WITHOUT ROWID; INSERT INTO b SELECT repository, digest FROM blobs; DROP TABLE blobs;"
        f" ALTER TABLE b RENAME TO blobs; {more} PRAGMA user_version = 1;"
    )
    db.close()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a/b", "a/b"),
        ("localhost:5000/x", "localhost-5000/x"),
        ("A/B c", "a/b-c"),
        ("//", ""),
        ("é", ""),
        ("a..b", "a-b"),
    ],
)
def test_names_that_no_registry_allows(text: str, name: str) -> None:
    assert as_name(text) == name
    assert not name or is_name(name)
