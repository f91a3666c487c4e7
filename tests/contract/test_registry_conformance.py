"""What the conformance suite of the distribution specification 1.1 walks through, with both algorithms of digests, and
how requests are spelled by who pushes and pulls."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.registry_client import CONFIG, INDEX, LAYER, MANIFEST, Client, code, sha
from tests.registries import own_registry

REPO = "/v2/org/repo"
Digester = Callable[[bytes], str]


def sha512(data: bytes) -> str:
    return f"sha512:{hashlib.sha512(data).hexdigest()}"


@pytest.fixture(params=[sha, sha512])
def digest(request: pytest.FixtureRequest) -> Digester:
    found: Digester = request.param
    return found


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with own_registry(tmp_path / "registry") as found:
        yield found


@pytest.fixture
def client(address: str) -> Client:
    return Client(address)


def begun(client: Client) -> str:
    status, headers, _ = client.ask("POST", f"{REPO}/blobs/uploads/", b"", Content_Length="0")
    assert status == 202
    return headers["location"]


def image(client: Client, digest: Digester, **more: Any) -> bytes:
    """A manifest whose blobs are there."""
    items = []
    for media, data in ((CONFIG, b"{}"), (LAYER, b"a layer")):
        assert client.ask("POST", f"{REPO}/blobs/uploads/?digest={digest(data)}", data)[0] == 201
        items.append({"mediaType": media, "digest": digest(data), "size": len(data)})
    value = {"schemaVersion": 2, "mediaType": MANIFEST, "config": items[0], "layers": items[1:], **more}
    return json.dumps(value).encode()


def test_blobs_are_pushed_in_every_way(client: Client, digest: Digester) -> None:
    whole = b"the first part, the second"
    first, second = whole[:15], whole[15:]
    named = digest(whole)

    def stored(reply: tuple[int, dict[str, str], bytes]) -> None:
        assert (reply[0], reply[1]["docker-content-digest"]) == (201, named)
        assert client.ask("GET", reply[1]["location"])[2] == whole
        assert client.ask("HEAD", f"{REPO}/blobs/{named}")[1]["content-length"] == str(len(whole))
        assert client.ask("DELETE", f"{REPO}/blobs/{named}")[0] == 202
        assert code(client.ask("GET", f"{REPO}/blobs/{named}")) == (404, "BLOB_UNKNOWN")

    stored(client.ask("POST", f"{REPO}/blobs/uploads/?digest={named}", whole))
    stored(client.ask("PUT", f"{begun(client)}?digest={named}", whole))
    streamed = client.ask("PATCH", begun(client), iter([first, second]))
    stored(client.ask("PUT", f"{streamed[1]['location']}?digest={named}", b""))
    place = begun(client)
    assert client.ask("PATCH", place, second, Content_Range=f"15-{len(whole) - 1}")[0] == 416
    assert client.ask("PATCH", place, first, Content_Range="0-14")[1]["range"] == "0-14"
    assert client.ask("PATCH", place, first, Content_Range="0-14")[0] == 416
    state = client.ask("GET", place)
    assert (state[0], state[1]["range"], bool(state[1]["location"])) == (204, "0-14", True)
    last = client.ask("PUT", f"{place}?digest={named}", second, Content_Range=f"15-{len(whole) - 1}")
    stored(last)
    assert code(client.ask("PUT", f"{begun(client)}?digest={digest(b'other')}", whole)) == (400, "DIGEST_INVALID")
    stored(client.ask("PUT", f"{begun(client)}?digest={named}", whole))


def test_an_empty_blob(client: Client, digest: Digester) -> None:
    place = f"{REPO}/blobs/{digest(b'')}"
    assert client.ask("PUT", f"{begun(client)}?digest={digest(b'')}", b"")[0] == 201
    assert client.ask("GET", place)[0::2] == (200, b"")
    assert client.ask("HEAD", place)[1]["content-length"] == "0"


def test_manifests_by_both_algorithms(client: Client, digest: Digester) -> None:
    data = image(client, digest)
    named = digest(data)
    assert code(client.ask("GET", f"{REPO}/manifests/{named}")) == (404, "MANIFEST_UNKNOWN")
    assert client.put("org/repo", named, data)[1]["docker-content-digest"] == named
    assert code(client.put("org/repo", digest(b"other"), data)) == (400, "DIGEST_INVALID")
    for method in ("GET", "HEAD"):
        reply = client.ask(method, f"{REPO}/manifests/{named}", Accept=MANIFEST)
        assert (reply[0], reply[1]["content-type"], reply[1]["docker-content-digest"]) == (200, MANIFEST, named)
    nested = {"mediaType": MANIFEST, "digest": named, "size": len(data)}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [nested]}
    assert client.put("org/repo", "all", index, INDEX)[0] == 201
    gone = {"mediaType": LAYER, "digest": digest(b"gone"), "size": 4}
    assert code(client.put("org/repo", "x", image(client, digest, layers=[gone]))) == (404, "MANIFEST_BLOB_UNKNOWN")
    assert client.ask("DELETE", f"{REPO}/manifests/{named}")[0] == 202
    assert client.ask("DELETE", f"{REPO}/manifests/{named}")[0] == 404


def test_nothing_has_a_name_that_is_none(client: Client) -> None:
    """The suite asks for `.INVALID_MANIFEST_NAME` where it wants what is not there."""
    assert client.put("org/repo", "v1", image(client, sha))[0] == 201
    for reference in (".INVALID_MANIFEST_NAME", "a" * 129):
        assert client.ask("HEAD", f"{REPO}/manifests/{reference}")[0] == 404
        assert code(client.ask("GET", f"{REPO}/manifests/{reference}")) == (404, "MANIFEST_UNKNOWN")
    said = code(client.ask("PUT", f"{REPO}/manifests/sha256:totallywrong", b"blablabla", Content_Type=MANIFEST))
    assert said == (400, "DIGEST_INVALID")


def test_what_refers_to_what_is_not_there_yet(client: Client, digest: Digester) -> None:
    base = image(client, digest)
    subject = {"mediaType": MANIFEST, "digest": digest(base), "size": len(base)}
    made = {}
    for kind, more in (("application/x.a", {"annotations": {"k": "v"}}), ("application/x.b+json", {})):
        data = image(client, digest, artifactType=kind, subject=subject, **more)
        assert client.put("org/repo", digest(data), data)[1]["oci-subject"] == digest(base)
        made[kind] = digest(data)
    listed = client.ask("GET", f"{REPO}/referrers/{digest(base)}")
    assert (listed[0], listed[1]["content-type"]) == (200, INDEX)
    assert {item["digest"] for item in json.loads(listed[2])["manifests"]} == {*made.values()}
    some = client.ask("GET", f"{REPO}/referrers/{digest(base)}?artifactType=application%2Fx.b%2Bjson")
    assert some[1]["oci-filters-applied"] == "artifactType"
    assert [item["digest"] for item in json.loads(some[2])["manifests"]] == [made["application/x.b+json"]]
    assert client.ask("DELETE", f"{REPO}/manifests/{made['application/x.a']}")[0] == 202
    assert len(json.loads(client.ask("GET", f"{REPO}/referrers/{digest(base)}")[2])["manifests"]) == 1
    assert json.loads(client.ask("GET", f"/v2/no/such/referrers/{digest(base)}")[2])["manifests"] == []


def test_tags_come_in_order_and_in_parts(client: Client) -> None:
    data = image(client, sha)
    names = ["10", "2", "B", "_x", "a", "a-1", "a.1", "a1"]
    for name in reversed(names):
        client.put("org/repo", name, data)
    assert json.loads(client.ask("GET", f"{REPO}/tags/list")[2]) == {"name": "org/repo", "tags": sorted(names)}
    found: list[str] = []
    place = f"{REPO}/tags/list?n=3"
    while place:
        reply = client.ask("GET", place)
        found += json.loads(reply[2])["tags"]
        place = reply[1].get("link", "").partition(">")[0].lstrip("<")
    assert found == sorted(names)
    nothing = client.ask("GET", f"{REPO}/tags/list?n=0")
    assert (json.loads(nothing[2])["tags"], "link" in nothing[1]) == ([], False)
    for name in names:
        assert client.ask("DELETE", f"{REPO}/manifests/{name}")[0] == 202
    assert json.loads(client.ask("GET", f"{REPO}/tags/list")[2])["tags"] == []
    assert client.ask("GET", f"{REPO}/manifests/{sha(data)}")[0] == 200


def test_a_colon_may_be_written_in_hexadecimal(client: Client) -> None:
    named = client.push("org/repo", b"data")
    assert client.ask("GET", f"{REPO}/blobs/{named.replace(':', '%3A')}")[2] == b"data"


def test_an_upload_begins_without_a_slash_too(client: Client) -> None:
    assert client.ask("POST", f"{REPO}/blobs/uploads")[0] == 202


@pytest.mark.parametrize("size", [1000, 3_000_000, 20_000_000])
@pytest.mark.parametrize(("method", "path", "said"), [
    ("PATCH", f"{REPO}/blobs/uploads/{'0' * 32}", (404, "BLOB_UPLOAD_UNKNOWN")),
    ("PUT", f"{REPO}/manifests/.none", (400, "MANIFEST_INVALID")), ("PUT", f"{REPO}/manifests/v1", None),
])  # fmt: skip
def test_who_is_refused_in_the_middle_of_a_body_learns_why(
    address: str, method: str, path: str, said: tuple[int, str] | None, size: int
) -> None:
    """Many clients read the reply when all is sent, as this one does."""
    said = said or ((413, "SIZE_INVALID") if size > 8 << 20 else (400, "MANIFEST_INVALID"))
    assert code(Client(address).ask(method, path, bytes(size), Content_Type=MANIFEST)) == said


def test_who_waits_until_it_may_go_on_is_told(address: str) -> None:
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as raw:
        head = f"PUT {REPO}/manifests/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        raw.sendall(head.encode())
        said = b""
        while not said.endswith(b"\r\n\r\n"):
            data = raw.recv(1000)
            assert data, said
            said += data
        assert said.startswith(b"HTTP/1.1 100 ")
        raw.sendall(b"ab")
        reply = http.client.HTTPResponse(raw)
        reply.begin()
        assert reply.status == 400


def test_who_hangs_up_in_the_middle_holds_nobody_up(address: str) -> None:
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as raw:
        raw.sendall(f"PUT {REPO}/manifests/.none HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nab".encode())
        reply = http.client.HTTPResponse(raw)
        reply.begin()
        assert reply.status == 400
        assert reply.read()
    assert Client(address).ask("GET", "/v2/")[0] == 200
