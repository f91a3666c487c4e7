"""What our registry frees by itself, and what it must not while a client relies on it."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tests import schemas
from tests.contract.registry_client import LAYER, MANIFEST, Client, sha
from tests.registries import own_registry, stored
from tests.trees import Project
from tests.unit.repository_parts import workshop
from treebuilder.serve.registry import Registry
from treebuilder.serve.server import Listening, serving
from treebuilder.serve.storage import Storage
from treebuilder.serve.tidying import UNUSED_S, Freed, Tidying, tidy

HOUR = UNUSED_S + 1


class Lab:
    """A registry whose clock is put forward."""

    def __init__(self, storage: Storage) -> None:
        self.folder, self.storage = storage.folder, storage
        self.registry = Registry(storage)
        self.address = ""

    @property
    def client(self) -> Client:
        return Client(self.address)

    def tidy(self, after_s: float = 0) -> Freed:
        return tidy(self.storage, self.registry.uploads, time.time() + after_s)

    def age(self, *data: bytes) -> None:
        """As if these blobs had been pushed hours ago."""
        for one in data:
            os.utime(self.storage.path(sha(one)), (1, 1))

    def has(self, data: bytes) -> bool:
        return self.storage.path(sha(data)).is_file()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with closing(Storage(tmp_path / "registry")) as storage:
        made = Lab(storage)
        with serving(made.registry, Listening("127.0.0.1", 0)) as made.address:
            yield made


def test_what_a_deleted_manifest_needed_is_freed(lab: Lab) -> None:
    one = lab.client.image("a", "v1", [b"one", b"shared"])
    two = lab.client.image("a", "v2", [b"two", b"shared"])
    lab.client.image("b", "v1", [b"one"])
    assert lab.tidy(HOUR) == Freed()
    lab.client.ask("DELETE", f"/v2/a/manifests/{sha(one)}")
    assert lab.tidy(HOUR) == Freed(blobs=1), "another repository has its bytes"
    assert lab.client.ask("HEAD", f"/v2/a/blobs/{sha(b'one')}")[0] == 404
    assert lab.client.ask("GET", f"/v2/b/blobs/{sha(b'one')}")[2] == b"one"
    lab.client.ask("DELETE", f"/v2/a/manifests/{sha(two)}")
    freed = lab.tidy(HOUR)
    assert (freed.blobs, freed.size_bytes >= len(b"twoshared")) == (3, True)
    assert not lab.has(b"two")
    assert not lab.has(b"shared")
    assert lab.client.ask("GET", "/v2/b/manifests/v1")[0] == 200


def test_a_manifest_without_a_tag_keeps_its_blobs(lab: Lab) -> None:
    data = lab.client.image("a", "v1", [b"one"])
    lab.client.ask("DELETE", "/v2/a/manifests/v1")
    assert lab.tidy(HOUR) == Freed()
    assert lab.client.ask("GET", f"/v2/a/manifests/{sha(data)}")[2] == data


def test_what_stands_in_a_manifest_in_any_way_is_kept(lab: Lab) -> None:
    """Layers that are said to be elsewhere, and blobs of an artifact's notes."""
    digest = lab.client.push("a", b"foreign")
    layer = {"mediaType": LAYER, "digest": digest, "size": 7, "urls": ["http://x/"]}
    text = json.dumps({"schemaVersion": 2, "layers": [layer]}).replace("sha256", "\\u0073ha256")
    assert lab.client.put("a", "v1", text.encode())[0] == 201
    assert lab.tidy(HOUR) == Freed()


@pytest.mark.parametrize("use", ["HEAD", "mount", "push"])
def test_who_was_told_that_a_blob_is_there_may_name_it(lab: Lab, use: str) -> None:
    digest = lab.client.push("a", b"one")
    lab.age(b"one")
    match use:
        case "HEAD":
            assert lab.client.ask("HEAD", f"/v2/a/blobs/{digest}")[0] == 200
        case "mount":
            assert lab.client.ask("POST", f"/v2/b/blobs/uploads/?mount={digest}&from=a")[0] == 201
        case "push":
            lab.client.push("a", b"one")
        case _:
            raise AssertionError(use)
    assert lab.tidy() == Freed()
    name = "b" if use == "mount" else "a"
    value = {"schemaVersion": 2, "layers": [{"mediaType": LAYER, "digest": digest, "size": 3}]}
    assert lab.client.put(name, "v1", value)[0] == 201
    lab.age(b"one")
    lab.tidy()
    assert lab.has(b"one")


def test_an_image_that_is_pushed_for_hours_stays(lab: Lab) -> None:
    first, second = b"first", b"second"
    lab.client.push("a", first)
    lab.age(first)
    place = lab.client.ask("POST", "/v2/a/blobs/uploads/")[1]["location"]
    lab.client.ask("PATCH", place, second[:3])
    assert lab.tidy() == Freed(), "an upload runs"
    assert lab.client.ask("PUT", f"{place}?digest={sha(second)}", second[3:])[0] == 201
    assert lab.tidy() == Freed(), "it has just ended"
    lab.client.push("b", b"other")
    lab.age(first, second)
    assert lab.tidy() == Freed(blobs=2, size_bytes=11), "uploads to others do not count"


def test_uploads_are_swept_after_a_day(lab: Lab) -> None:
    place = lab.client.ask("POST", "/v2/a/blobs/uploads/")[1]["location"]
    lab.client.ask("PATCH", place, b"abc")
    assert lab.tidy(HOUR) == Freed()
    assert lab.tidy(25 * 3600) == Freed(uploads=1, size_bytes=3)
    assert lab.client.ask("GET", place)[0] == 404
    left = lab.folder / "uploads/0123456789abcdef"
    left.write_bytes(b"left by a crash")
    os.utime(left, (1, 1))
    Registry(lab.storage)
    assert not left.exists()


def test_a_row_without_a_file_is_forgotten(lab: Lab) -> None:
    lab.storage.path(lab.client.push("a", b"one")).unlink()
    assert lab.tidy() == Freed(blobs=1)
    assert not lab.storage.has_repository("a")


def test_pushing_while_all_is_collected(lab: Lab) -> None:
    """Clients ask by HEAD, push what is missing and name it, while what nobody relies on is collected."""
    layers = [os.urandom(100) for _ in range(4)]
    held, lock = Counter[bytes](), threading.Lock()
    stop = threading.Event()
    collected: list[int] = []

    def one(number: int) -> None:
        client, name = lab.client, f"r{number % 2}"
        for turn in range(8):
            items = []
            with lock:
                held.update(layers)
            for data in layers:
                if client.ask("HEAD", f"/v2/{name}/blobs/{sha(data)}")[0] != 200:
                    client.push(name, data)
                items.append({"mediaType": LAYER, "digest": sha(data), "size": len(data)})
            value = {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "layers": items,
                "annotations": {"n": f"{number}{turn}"},
            }
            status, headers, _ = client.put(name, f"t{number}", value)
            assert status == 201
            with lock:
                held.subtract(layers)
            client.ask("DELETE", f"/v2/{name}/manifests/{headers['docker-content-digest']}")

    def collect() -> None:
        before = time.time() - UNUSED_S
        while not stop.is_set():
            for data in layers:
                with lock:
                    if not held[data] and lab.has(data):
                        lab.age(data)
                for name in ("r0", "r1"):
                    if lab.storage.forget_unused(name, sha(data), before) is not None:
                        collected.append(1)

    thread = threading.Thread(target=collect)
    thread.start()
    with ThreadPoolExecutor(3) as pool:
        done = [pool.submit(one, number) for number in range(3)]
    stop.set()
    thread.join()
    for future in done:
        future.result()
    assert collected


def test_it_tidies_when_it_starts_and_says_so(lab: Lab) -> None:
    lab.client.push("a", b"one")
    lab.age(b"one")
    said: list[str] = []
    with Tidying(lab.storage, lab.registry.uploads, said.append):
        until = time.monotonic() + 10
        while lab.has(b"one") and time.monotonic() < until:
            time.sleep(0.01)
    assert said == ["tidied: 1 unused blobs, 0 uploads, 3 bytes freed"]


def test_the_command(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    project = Project(tmp_path)
    assert project.run("registry", "gc", str(folder)).code == 1
    assert not folder.exists()
    with stored(folder) as (storage, address):
        Client(address).push("a", b"one")
        Client(address).image("a", "v1", [b"two"])
        os.utime(storage.path(sha(b"one")), (1, 1))
    found = project.run("registry", "gc", str(folder))
    assert found.code == 0
    assert schemas.faults(found.value, schemas.load("registry-gc")) == []
    assert found.value == {"schema": "treebuild.registry-gc/1", "blobs": 1, "uploads": 0, "freed_bytes": 3}
    assert [item["annotations"]["dev.treebuild.repository"] for item in json.loads((folder / "index.json").read_text())[
        "manifests"
    ]] == ["a"]  # fmt: skip


def test_an_older_snapshot_of_a_package_that_was_built_anew_can_be_had(tmp_path: Path) -> None:
    """Its index names the archive by the blob's digest: the image that has it lost its tag to the new one."""
    project, folder = Project(tmp_path), tmp_path / "registry"
    with workshop(tmp_path) as shop, own_registry(folder) as address:
        place = f"{address}/team/os"
        for snapshot, text in (("may", b"one"), ("june", b"two")):
            shop.package("a/b", {"x": text * 50})
            words = ["--tree", "tree", "--packages", "build", "--type", "docker", "--output", place, "--name", "os"]
            done = project.run("create-repo", *words, "--push-images", "--snapshot-id", snapshot)
            assert done.code == 0, done.stderr
    for path in (folder / "blobs").rglob("*"):
        if path.is_file():
            os.utime(path, (1, 1))
    assert project.run("registry", "gc", str(folder), "--untagged").code == 2, "there is no such flag"
    found = project.run("registry", "gc", str(folder))
    assert (found.code, found.value["blobs"]) == (0, 0)
    with own_registry(folder) as address:
        other = Project(tmp_path, cache="other-cache")
        for snapshot in ("may", "june"):
            done = other.run("repo", "copy", f"{address}/team/os", f"{snapshot}-copy", "--snapshot", snapshot)
            assert (done.code, done.value["copied"]["packages"]) == (0, 1), done.stderr
    one, two = ((tmp_path / f"{name}-copy" / "b-a-1.0.package.tar.gz").read_bytes() for name in ("may", "june"))
    assert one != two
