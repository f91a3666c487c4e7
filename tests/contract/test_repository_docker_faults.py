"""Repositories of type docker: logins, broken bytes, mirrors, downloads and publishers that are cut off."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests import services
from tests.contract.docker_parts import client, content, publish
from tests.registries import own_registry, served, stored
from tests.sites import Counted
from tests.trees import Project
from tests.unit.repository_parts import Workshop, workshop
from treebuilder.errors import IntegrityError, TransportError
from treebuilder.events import Recorder, Silent, Warned
from treebuilder.model.package import PackageId
from treebuilder.oci.remote import Repository
from treebuilder.oci.store import Store
from treebuilder.repository import RepositorySource
from treebuilder.repository.api import INDEX_NAME
from treebuilder.repository.docker import DockerBackend
from treebuilder.repository.synced import sync
from treebuilder.serve.exchange import Exchange, RefusedError
from treebuilder.serve.registry import Registry
from treebuilder.serve.server import Listening
from treebuilder.system.process import Cancel
from treebuilder.trust.policy import UNVERIFIED

pytestmark = pytest.mark.usefixtures("no_logins")


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[str]:
    made = subprocess.run(
        [services.program("openssl", "openssl"), "passwd", "-6", "secret"], capture_output=True, text=True, check=True
    )
    with own_registry(tmp_path / "registry", Listening("127.0.0.1", 0, users={"me": made.stdout.strip()})) as found:
        yield found


@pytest.mark.parametrize(
    "auth", [{"username": "me", "password": "secret"}, {"auth": base64.b64encode(b"me:secret").decode()}]
)
def test_logins_of_the_configuration(guarded: str, shop: Workshop, auth: dict[str, str]) -> None:
    DockerBackend(f"{guarded}/a/repo", shop.store, Cancel(), auth).commit(INDEX_NAME, b"i")
    assert DockerBackend(f"{guarded}/a/repo", shop.store, Cancel(), auth).index(INDEX_NAME) == b"i"
    for wrong in ({}, {**auth, "username": "me", "password": "wrong"}):
        with pytest.raises(TransportError, match="not allowed"):
            DockerBackend(f"{guarded}/a/repo", shop.store, Cancel(), wrong).index(INDEX_NAME)


def test_logins_of_docker(guarded: str, shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docker").mkdir()
    login = base64.b64encode(b"me:secret").decode()
    (tmp_path / "docker/config.json").write_text(json.dumps({"auths": {guarded: {"auth": login}}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    shop.package("app/one", {"one": b"1"})
    publish(shop, guarded)
    with client(tmp_path, guarded) as found:
        assert content(found, "one") == {"one": b"1"}


def flip_a_byte(path: Path) -> None:
    """Twice is as before."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_flipped_byte_is_refused(shop: Workshop, tmp_path: Path) -> None:
    with stored(tmp_path / "registry") as (storage, address):
        shop.package("app/one", {"one": b"1" * 5000})
        publish(shop, address)
        with client(tmp_path, address) as found:
            artifact = found.artifacts[PackageId("app", "one", "1.0")]
            path = storage.path(str(artifact.sha256))
            flip_a_byte(path)
            with pytest.raises(IntegrityError):
                found.fetch(artifact)
            flip_a_byte(path)
            assert content(found, "one") == {"one": b"1" * 5000}


def test_what_is_damaged_in_a_registry_is_mended_by_force(shop: Workshop, tmp_path: Path) -> None:
    with stored(tmp_path / "registry") as (storage, address):
        large = os.urandom(200_000)
        shop.package("app/one", {"one": large})
        publish(shop, address)
        with client(tmp_path, address) as found:
            artifact = found.artifacts[PackageId("app", "one", "1.0")]
            path = storage.path(str(artifact.sha256))
            flip_a_byte(path)
            publish(shop, address)
            with pytest.raises(IntegrityError):
                found.fetch(artifact)
            publish(shop, address, force=True)
            assert content(found, "one") == {"one": large}


def test_the_next_mirror_is_asked(shop: Workshop, tmp_path: Path) -> None:
    shop.package("app/one", {"one": b"1"})
    with (
        stored(tmp_path / "one") as (storage, first),
        own_registry(tmp_path / "two") as second,
        closing(Store(tmp_path / "client")) as store,
    ):
        publish(shop, first)
        publish(shop, second)
        urls = (f"{first}/a/repo", f"{second}/a/repo")
        found = sync(RepositorySource("test", "docker", urls, trust=UNVERIFIED), store, Silent(), Cancel())
        artifact = found.artifacts[PackageId("app", "one", "1.0")]
        storage.path(str(artifact.sha256)).write_bytes(b"rot")
        assert content(found, "one") == {"one": b"1"}


def test_a_download_goes_on_in_the_next_run(counted: tuple[Counted, str], shop: Workshop, tmp_path: Path) -> None:
    site, address = counted
    shop.package("app/one", {"one": os.urandom(2 << 20)})
    publish(shop, address)
    with client(tmp_path, address) as found:
        artifact = found.artifacts[PackageId("app", "one", "1.0")]
        whole = found.fetch(artifact).read_bytes()
    store = Store(tmp_path / "killed")
    (store.folder / "partial").mkdir()
    (store.folder / "partial" / artifact.sha256.hex).write_bytes(whole[: 1 << 20])
    source = RepositorySource("test", "docker", (f"{address}/a/repo",), trust=UNVERIFIED)
    assert sync(source, store, Silent(), Cancel()).fetch(artifact).read_bytes() == whole
    assert site.ranges[-1] == f"bytes={1 << 20}-"
    store.close()


@pytest.mark.parametrize("layers", [0, 2])
def test_images_that_are_no_files_are_refused(address: str, shop: Workshop, layers: int) -> None:
    place = Repository(address, "a/repo", True, Cancel())
    config = place.push_small(b"{}")
    item = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": str(config), "size": 2}
    media = "application/vnd.oci.image.manifest.v1+json"
    value = {"schemaVersion": 2, "mediaType": media, "config": item, "layers": [item] * layers}
    place.put_manifest(INDEX_NAME, json.dumps(value).encode(), media)
    with pytest.raises(IntegrityError):
        DockerBackend(f"{address}/a/repo", shop.store, Cancel()).index(INDEX_NAME)


def test_a_layer_that_expands_a_thousandfold_is_refused(counted: tuple[Counted, str], shop: Workshop) -> None:
    _, address = counted
    backend = DockerBackend(f"{address}/a/repo", shop.store, Cancel())
    backend.put(INDEX_NAME, bytes(64 << 20))
    with pytest.raises(IntegrityError, match="unpacks to more than"):
        backend.index(INDEX_NAME)
    assert not list((shop.store.folder / "partial").glob("*"))


@pytest.mark.parametrize("requests", [3, 90, 200])
def test_a_killed_publisher_leaves_the_old_state(
    counted: tuple[Counted, str], shop: Workshop, tmp_path: Path, requests: int
) -> None:
    site, address = counted
    shop.package("app/old", {"old": b"old"})
    publish(shop, address)
    for number in range(30):
        shop.package(f"app/p{number}", {"file": os.urandom(100_000)})
    project = Project(tmp_path)
    words = ("--tree", str(shop.tree), "--packages", str(shop.build), "--name", "test", "--type", "docker")
    named = ("create-repo", *words, "--output", f"{address}/a/repo", "--push-images")
    before = len(site.asked)
    process = project.process(*named)
    while process.poll() is None and len(site.asked) < before + requests:
        time.sleep(0.001)
    process.kill()
    process.communicate()
    with client(tmp_path, address) as found:
        assert content(found, "old") == {"old": b"old"}
        assert len(found.packages()) in (1, 31)
    assert project.run(*named).code == 0
    with client(tmp_path, address) as found:
        assert len(found.packages()) == 31
        for number in range(30):
            assert len(content(found, f"p{number}")["file"]) == 100_000


class Tokens:
    """A registry whose tokens are for reading or for writing too, and count for a few requests."""

    def __init__(self, site: Registry) -> None:
        self.site = site
        self.address = ""
        self.left: dict[str, int] = {}
        self.given = 0
        self.lock = threading.Lock()

    def answer(self, exchange: Exchange) -> None:
        if exchange.path.startswith("/token"):
            with self.lock:
                self.given += 1
                name = f"{self.given}-{exchange.asked('scope').rpartition(':')[2]}"
                self.left[name] = 40
            exchange.json(200, {"token": name})
            return
        writes = exchange.method not in ("GET", "HEAD")
        token = (exchange.headers.get("Authorization") or "").removeprefix("Bearer ")
        with self.lock:
            if self.left.get(token, 0) < 1 or (writes and not token.endswith("push")):
                scope = f"repository:a/repo:{'pull,push' if writes else 'pull'}"
                challenge = f'Bearer realm="http://{self.address}/token",service="s",scope="{scope}"'
                raise RefusedError(401, "UNAUTHORIZED", "who are you?", {"Www-Authenticate": challenge})
            self.left[token] -= 1
        self.site.answer(exchange)


def test_tokens_that_expire_in_the_middle(shop: Workshop, tmp_path: Path) -> None:
    for number in range(30):
        shop.package(f"app/p{number}", {"file": os.urandom(70_000)})
    with served(tmp_path / "registry", Tokens) as (site, address):
        site.address = address
        publish(shop, address)
        assert site.given > 3
        with client(tmp_path, address) as found:
            for number in range(30):
                assert len(content(found, f"p{number}")["file"]) == 70_000


def test_a_mirror_whose_index_is_none_is_passed_over_with_a_word(address: str, shop: Workshop, tmp_path: Path) -> None:
    shop.package("app/one", {"one": b"1"})
    publish(shop, address)
    empty = b'{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}'
    place = Repository(address, "a/junk", True, Cancel())
    place.put_manifest("repository.yaml", empty, "application/vnd.oci.image.index.v1+json")
    events = Recorder()
    urls = ("127.0.0.1:9/a/repo", f"{address}/a/junk", f"{address}/a/repo")
    with closing(Store(tmp_path / "client")) as store:
        found = sync(RepositorySource("test", "docker", urls, trust=UNVERIFIED), store, events, Cancel())
        assert [str(package.id) for package in found.packages()] == ["app/one-1.0"]
        said = [event.message for event in events.events if isinstance(event, Warned)]
        assert len(said) == 2
        assert all(message.endswith("; the next mirror is asked") for message in said)
        assert "a/junk" in said[1]
        with pytest.raises(IntegrityError):
            sync(RepositorySource("test", "docker", urls[1:2], trust=UNVERIFIED), store, events, Cancel())


@pytest.mark.parametrize("when", ["before", "after"])
def test_two_publishers_at_once_do_not_both_succeed(tmp_path: Path, when: str) -> None:
    """The other one publishes while files are sent, or writes its index just after this one's."""

    class Site(Counted):
        def answer(self, exchange: Exchange) -> None:
            if other and exchange.method == "PUT" and exchange.path.endswith(f"/manifests/{trigger}"):
                publisher = other.pop()
                if when == "before":
                    publisher()
                    super().answer(exchange)
                else:
                    super().answer(exchange)
                    publisher()
                return
            super().answer(exchange)

    trigger = "x-app-1.0" if when == "before" else INDEX_NAME
    other: list[Callable[[], None]] = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with (
        served(tmp_path / "registry", Site) as (_, address),
        workshop(tmp_path / "one") as one,
        workshop(tmp_path / "two") as two,
    ):
        one.package("app/x", {"x": b"one"})
        two.package("app/y", {"y": b"two"})
        other.append(lambda: overwritten(two, address, when))
        with pytest.raises(IntegrityError, match="somebody else published") as caught:
            publish(one, address)
        assert caught.value.reason == "changed"
        with client(tmp_path, address) as found:
            assert [id.name for id in found.artifacts] == ["y"]


def overwritten(shop: Workshop, address: str, when: str) -> None:
    """Another publisher, who in the second case had read the index before."""
    if when == "after":
        repository = DockerBackend(f"{address}/a/repo", shop.store, Cancel()).place
        digest = repository.digest_of(INDEX_NAME)
        assert digest is not None
        repository.delete_manifest(INDEX_NAME)
    publish(shop, address)
