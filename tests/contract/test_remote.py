"""Pushing to registries: Debian's and ours, and what a network does on the way."""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.registries import registry_of, served
from treebuilder.errors import IntegrityError, TransportError
from treebuilder.events import Silent
from treebuilder.model.digest import Digest
from treebuilder.oci import connection, remote
from treebuilder.oci.remote import Repository
from treebuilder.serve.exchange import BodyError, Exchange, RefusedError
from treebuilder.serve.registry import Registry
from treebuilder.serve.server import Listening, serving
from treebuilder.system.process import Cancel

pytestmark = pytest.mark.usefixtures("no_logins")

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture(scope="module", params=["debian", "ours"])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with registry_of(request.param, tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_PART", 1000)
    monkeypatch.setattr(connection, "_FIRST_WAIT_S", 0.001)


def repository(address: str, name: str) -> Repository:
    return Repository(address, name, True, Cancel())


def push(place: Repository, data: bytes) -> Digest:
    digest = Digest.of(data)
    place.push_blob(digest, len(data), lambda: io.BytesIO(data))
    return digest


def manifest(place: Repository, layers: list[bytes]) -> bytes:
    items = [{"mediaType": "x/layer", "digest": str(push(place, d)), "size": len(d)} for d in layers]
    config = b"{}"
    described = {"mediaType": "x/config", "digest": str(push(place, config)), "size": len(config)}
    return json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": items}).encode()


def pulled(place: Repository, digest: Digest, size: int, tmp_path: Path) -> bytes:
    return place.blob(digest, size, tmp_path / "blob", remote.Progress("t", Silent())).read_bytes()


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 3500])
def test_a_blob_comes_back(address: str, tmp_path: Path, size: int) -> None:
    place, data = repository(address, "blobs/x"), os.urandom(size)
    digest = Digest.of(data)
    assert not place.has_blob(digest) or size == 0
    assert place.push_blob(digest, size, lambda: io.BytesIO(data)) or size == 0
    assert place.has_blob(digest)
    assert not place.push_blob(digest, size, lambda: io.BytesIO(b"not read"))
    assert pulled(place, digest, size, tmp_path) == data


def test_manifests_and_tags(address: str) -> None:
    place = repository(address, "tags/x")
    assert place.tags() == []
    assert place.digest_of("v1") is None
    data = manifest(place, [b"layer"])
    for tag in ("v1", "v2", "a"):
        assert place.put_manifest(tag, data, MANIFEST) == Digest.of(data)
    assert place.tags() == ["a", "v1", "v2"]
    assert place.digest_of("v1") == place.digest_of(str(Digest.of(data))) == Digest.of(data)
    assert place.manifest("v1", None)[0] == Digest.of(data)


def test_a_manifest_without_its_blobs_is_refused(address: str) -> None:
    place = repository(address, "bare/x")
    item = {"mediaType": "x/layer", "digest": str(Digest.of(b"nowhere")), "size": 7}
    value = {"schemaVersion": 2, "mediaType": MANIFEST, "config": item, "layers": [item]}
    with pytest.raises(TransportError):
        place.put_manifest("v1", json.dumps(value).encode(), MANIFEST)


def test_mounting(address: str, tmp_path: Path) -> None:
    one, two = repository(address, "mount/one"), repository(address, "mount/two")
    digest = push(one, b"shared")
    assert two.mount(digest, "mount/one")
    assert pulled(two, digest, 6, tmp_path) == b"shared"
    assert not two.mount(Digest.of(b"nowhere"), "mount/one")


def test_referrers_by_either_way(address: str) -> None:
    place = repository(address, "refs/x")
    base = manifest(place, [b"base"])
    place.put_manifest("v1", base, MANIFEST)
    subject = Digest.of(base)
    assert place.referrers(subject) == []
    described = {"mediaType": MANIFEST, "digest": str(subject), "size": len(base)}
    value = json.loads(manifest(place, [b"signature"])) | {"subject": described}
    data = json.dumps(value).encode()
    place.put_manifest(str(Digest.of(data)), data, MANIFEST)
    if not place.referrers(subject):  # a registry without the API: the tag tells
        item = {"mediaType": MANIFEST, "digest": str(Digest.of(data)), "size": len(data)}
        index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [item]}
        place.put_manifest(f"sha256-{subject.hex}", json.dumps(index).encode(), str(index["mediaType"]))
    assert [item["digest"] for item in place.referrers(subject)] == [str(Digest.of(data))]


class Endless:
    """A registry whose list of tags always goes on: `page` tags more each time, or the same ones again."""

    def __init__(self, page: int, *, same: bool) -> None:
        self.page, self.same, self.asked = page, same, 0

    def answer(self, exchange: Exchange) -> None:
        if exchange.path.endswith("/tags/list"):
            first = 0 if self.same else self.asked * self.page
            self.asked += 1
            tags = [f"t{number}" for number in range(first, first + self.page)]
            exchange.json(
                200, {"name": "a", "tags": tags}, link=f'</v2/a/tags/list?n=1000&last={self.asked}>; rel="next"'
            )
        else:
            exchange.json(200, {})


@pytest.mark.parametrize(("page", "same", "most"), [(1, True, 2), (30_000, False, 20), (1, False, 50)])
def test_a_list_of_tags_without_end(monkeypatch: pytest.MonkeyPatch, page: int, same: bool, most: int) -> None:
    monkeypatch.setattr(remote, "_MOST_PAGES", 50)
    site = Endless(page, same=same)
    with serving(site, Listening("127.0.0.1", 0)) as found, pytest.raises(IntegrityError, match="has no end"):
        repository(found, "a").tags()
    assert site.asked <= most


def test_a_list_of_what_is_too_long_for_tags(faulty: Any) -> None:
    site, address = faulty

    def strange(exchange: Exchange) -> None:
        exchange.json(200, {"tags": ["x" * 129]})
        raise RefusedError(500, "UNKNOWN", "already said")

    site.faults = [strange]
    with pytest.raises(IntegrityError, match="a list of tags that is none"):
        repository(address, "a").tags()


class Faulty:
    """A registry in front of which requests go wrong: `faults` are called in turn, None lets a request pass."""

    def __init__(self, site: Registry) -> None:
        self.site = site
        self.faults: list[Callable[[Exchange], None] | None] = []
        self.asked: list[str] = []

    def answer(self, exchange: Exchange) -> None:
        self.asked.append(exchange.method)
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            fault(exchange)
        self.site.answer(exchange)


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[tuple[Faulty, str]]:
    with served(tmp_path / "registry", Faulty) as (site, found):
        yield site, found


def reset(exchange: Exchange) -> None:
    raise BodyError("reset")


def busy(exchange: Exchange) -> None:
    b"".join(exchange.parts())
    raise RefusedError(429, "TOOMANYREQUESTS", "later", {"Retry-After": "0"})


def broken(exchange: Exchange) -> None:
    b"".join(exchange.parts())
    raise RefusedError(503, "UNKNOWN", "later")


def denied(exchange: Exchange) -> None:
    b"".join(exchange.parts())
    raise RefusedError(403, "DENIED", "never")


def broken_off(exchange: Exchange) -> None:
    """It says that all is well, and ends in the middle: nothing was done."""
    b"".join(exchange.parts())
    status = {"GET": 200, "POST": 202, "PATCH": 202, "PUT": 201}.get(exchange.method)
    if status is not None:
        exchange._head(status, {"Content-Length": "1000"})
        exchange._handler.wfile.write(b"too little")
    raise BodyError("broken off")


@pytest.mark.parametrize("fault", [reset, busy, broken, broken_off])
@pytest.mark.parametrize("at", range(9))
def test_a_push_goes_on_after_a_fault(faulty: Any, tmp_path: Path, fault: Any, at: int) -> None:
    site, address = faulty
    place, data = repository(address, "a"), os.urandom(5500)
    site.faults = [None] * at + [fault]
    assert push(place, data) == Digest.of(data)
    site.faults = []
    assert pulled(place, Digest.of(data), len(data), tmp_path) == data


@pytest.mark.parametrize("at", range(4))
def test_a_refusal_is_not_tried_again(faulty: Any, at: int) -> None:
    site, address = faulty
    data = os.urandom(2500)
    site.faults = [None] * at + [denied] * 50
    with pytest.raises(TransportError, match="not allowed"):
        push(repository(address, "a"), data)
    assert len(site.asked) <= at + 2


def test_faults_without_end_are_an_error(faulty: Any) -> None:
    site, address = faulty
    site.faults = [broken] * 100
    with pytest.raises(TransportError, match="503"):
        push(repository(address, "a"), b"data")
    assert len(site.asked) < 10


def test_other_bytes_than_were_said_are_refused(faulty: Any) -> None:
    _, address = faulty
    with pytest.raises(IntegrityError, match="refused"):
        repository(address, "a").push_blob(Digest.of(b"data"), 4, lambda: io.BytesIO(b"atad"))


def test_a_registry_that_lies_about_what_it_stored(faulty: Any) -> None:
    site, address = faulty
    place = repository(address, "a")
    data = manifest(place, [b"layer"])

    def lie(exchange: Exchange) -> None:
        exchange.body(1 << 20)
        exchange.empty(201, docker_content_digest=f"sha256:{hashlib.sha256(b'other').hexdigest()}")
        raise RefusedError(500, "UNKNOWN", "already said")

    site.faults = [lie]
    with pytest.raises(IntegrityError, match="was stored as"):
        place.put_manifest("v1", data, MANIFEST)


def test_an_upload_elsewhere_gets_no_password_and_no_plain_bytes(faulty: Any) -> None:
    site, address = faulty

    def elsewhere(exchange: Exchange) -> None:
        exchange.empty(202, location="http://192.0.2.1/upload")
        raise RefusedError(500, "UNKNOWN", "already said")

    site.faults = [None, elsewhere]
    place = Repository(address, "a", False, Cancel())
    place._url = place._url.replace("https://", "http://")
    with pytest.raises(TransportError, match="without encryption"):
        push(place, b"data")


@pytest.mark.parametrize("there", [0, 1, 1234, 5000])
def test_a_pull_goes_on_where_it_stood(address: str, tmp_path: Path, there: int) -> None:
    place, data = repository(address, "resume/x"), os.urandom(5000)
    digest = push(place, data)
    (tmp_path / "blob").write_bytes(data[:there])
    assert pulled(place, digest, len(data), tmp_path) == data


def test_a_wrong_beginning_is_replaced(address: str, tmp_path: Path) -> None:
    place, data = repository(address, "resume/x"), os.urandom(5000)
    digest = push(place, data)
    for wrong in (b"something else", os.urandom(5000), os.urandom(6000)):
        (tmp_path / "blob").write_bytes(wrong)
        assert pulled(place, digest, len(data), tmp_path) == data


def test_a_beginning_that_belongs_to_something_else_is_replaced(faulty: Any, tmp_path: Path) -> None:
    """A page that breaks off, and then the rest of the blob: together they are nothing."""
    site, address = faulty
    place, data = repository(address, "a"), os.urandom(3500)
    digest = push(place, data)
    site.faults = [broken_off]
    site.asked.clear()
    assert pulled(place, digest, len(data), tmp_path) == data
    assert len(site.asked) == 3


def test_other_bytes_are_not_asked_for_again(faulty: Any, tmp_path: Path) -> None:
    site, address = faulty
    place = repository(address, "a")
    digest = push(place, b"data")

    def other(exchange: Exchange) -> None:
        exchange.bytes(200, b"atad", "application/octet-stream")
        raise RefusedError(500, "UNKNOWN", "already said")

    site.faults = [other]
    site.asked.clear()
    with pytest.raises(IntegrityError, match="reads as"):
        pulled(place, digest, 4, tmp_path)
    assert len(site.asked) == 1


def test_a_pull_asks_only_for_what_is_missing(faulty: Any, tmp_path: Path) -> None:
    site, address = faulty
    place, data = repository(address, "a"), os.urandom(1 << 20)
    digest = push(place, data)
    seen: list[str | None] = []

    def note(exchange: Exchange) -> None:
        seen.append(exchange.headers.get("Range"))

    (tmp_path / "blob").write_bytes(data[:700_000])
    site.faults = [note]
    assert pulled(place, digest, len(data), tmp_path) == data
    assert seen == ["bytes=700000-"]


def test_more_bytes_than_promised_are_refused(address: str, tmp_path: Path) -> None:
    place, data = repository(address, "resume/x"), os.urandom(5000)
    digest = push(place, data)
    with pytest.raises(IntegrityError, match="longer"):
        pulled(place, digest, 4000, tmp_path)
    assert (tmp_path / "blob").read_bytes() == b""


@pytest.mark.parametrize("size", [0, 1, 3000])
def test_a_small_blob(address: str, tmp_path: Path, size: int) -> None:
    place, data = repository(address, "small/x"), os.urandom(size)
    for _ in range(2):
        assert place.push_small(data) == Digest.of(data)
    assert pulled(place, Digest.of(data), size, tmp_path) == data


@pytest.mark.parametrize("fault", [reset, busy, broken])
def test_a_small_blob_goes_on_after_a_fault(faulty: Any, tmp_path: Path, fault: Any) -> None:
    site, address = faulty
    place = repository(address, "a")
    site.faults = [fault, None]
    assert place.push_small(b"small") == Digest.of(b"small")
    assert site.asked == ["POST", "POST"]
    assert pulled(place, Digest.of(b"small"), 5, tmp_path) == b"small"


def test_a_small_blob_that_many_share_is_sent_once(faulty: Any) -> None:
    """By threads at the same time too; what failed is sent again."""
    site, address = faulty
    place = repository(address, "a")
    site.faults = [reset, reset, reset, reset]
    with pytest.raises(TransportError):
        place.push_small(b"{}")
    site.asked.clear()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: place.push_small(b"{}"), range(40)))
    assert site.asked == ["POST"]


@pytest.mark.parametrize("ask", ["digest_of", "referrers", "manifest", "blob"])
def test_what_nobody_has_to_have_is_asked_for_once(
    faulty: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: str
) -> None:
    """A registry that takes the question and says nothing; or answers that it is busy."""
    monkeypatch.setattr(connection, "BRIEF_S", 0.3)
    site, address = faulty
    place, digest, over = repository(address, "a"), Digest.of(b"x"), threading.Event()

    def stalled(exchange: Exchange) -> None:
        over.wait(30)

    asks: dict[str, Callable[[], object]] = {
        "digest_of": lambda: place.digest_of("v1", brief=True),
        "referrers": lambda: place.referrers(digest, brief=True),
        "manifest": lambda: place.manifest("v1", None, brief=True),
        "blob": lambda: place.blob(digest, 1, tmp_path / "x", remote.Progress("t", Silent()), brief=True),
    }
    for fault in (stalled, busy):
        site.asked.clear()
        site.faults = [fault] * 4
        with pytest.raises(TransportError) as caught:
            asks[ask]()
        assert caught.value.temporary
        assert len(site.asked) == 1
    over.set()
