"""Our registry against clients that mean harm, full disks and damaged files."""

from __future__ import annotations

import errno
import http.client
import json
import os
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.registry_client import CONFIG, INDEX, MANIFEST, Client, code, sha
from tests.registries import own_registry, served, stored
from treebuilder.errors import ConfigError, NoSpace
from treebuilder.serve import server
from treebuilder.serve.exchange import Exchange
from treebuilder.serve.registry import Registry
from treebuilder.serve.server import Listening, read_users
from treebuilder.serve.storage import Storage


class Lab:
    """A registry, what it logs, and a client."""

    def __init__(self, storage: Storage, logged: list[str], address: str) -> None:
        self.folder, self.storage = storage.folder, storage
        self.logged, self.address = logged, address

    @property
    def client(self) -> Client:
        return Client(self.address)

    def errors(self) -> list[str]:
        return [line for line in self.logged if line.startswith("error")]

    def raw(self, text: str) -> bytes:
        """The whole answer to a request that is written by hand."""
        host, _, port = self.address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as made:
            made.sendall(text.encode())
            found = b""
            while data := made.recv(1 << 16):
                found += data
        return found


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    logged: list[str] = []
    with stored(tmp_path / "registry", Listening("127.0.0.1", 0, log=logged.append)) as (storage, address):
        yield Lab(storage, logged, address)


# headers -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "media",
    ["a/b\r\nX-Evil: 1", "a/→", "a/\ud800", ["x"], "x", "a/b/c", " a/b", "a/b; c=d", f"a/{'b' * 200}", 7, "a/é"],
)
@pytest.mark.parametrize("key", ["mediaType", "artifactType", "config"])
def test_what_is_no_media_type_is_no_manifest(lab: Lab, key: str, media: Any) -> None:
    value: dict[str, Any] = {"schemaVersion": 2, "layers": []}
    if key == "config":
        value["config"] = {"mediaType": media, "digest": lab.client.push("a", b"{}"), "size": 2}
    else:
        value[key] = media
    reply = lab.client.ask("PUT", "/v2/a/manifests/v1", json.dumps(value).encode())
    assert code(reply) == (400, "MANIFEST_INVALID")
    assert lab.client.ask("GET", "/v2/a/manifests/v1")[0] == 404
    assert lab.errors() == []


def test_layers_may_say_what_they_like(lab: Lab) -> None:
    """`oras push` takes any word for what a file is."""
    layer = {"mediaType": "text/plain; charset=utf-8", "digest": lab.client.push("a", b"x"), "size": 1}
    assert lab.client.put("a", "v1", {"schemaVersion": 2, "layers": [layer]})[0] == 201


@pytest.mark.parametrize("said", ["x", "a/b\x0bX", "a/é"])
def test_a_content_type_that_is_none(lab: Lab, said: str) -> None:
    data = b'{"schemaVersion": 2}'
    assert code(lab.client.ask("PUT", "/v2/a/manifests/v1", data, Content_Type=said)) == (400, "MANIFEST_INVALID")


@pytest.mark.parametrize("media", ["a/b\r\nX-Evil: 1", "a/→", "a/\x7f"])
def test_no_header_is_sent_that_is_none(lab: Lab, media: str) -> None:
    """Whatever an earlier version or another program let into the database."""
    lab.client.image("a", "v1", [b"x"])
    with sqlite3.connect(lab.folder / "registry.sqlite") as db:
        db.execute("UPDATE manifests SET media = ?", (media,))
    status, headers, data = lab.client.ask("GET", "/v2/a/manifests/v1")
    assert (status, json.loads(data)["errors"][0]["code"]) == (500, "UNKNOWN")
    assert "x-evil" not in headers
    assert len(lab.errors()) == 1


@pytest.mark.parametrize("value", [{"k": 1}, ["x"], "x", {"k": None}])
def test_annotations_are_texts(lab: Lab, value: Any) -> None:
    reply = lab.client.put("a", "v1", {"schemaVersion": 2, "annotations": value})
    assert code(reply) == (400, "MANIFEST_INVALID")


def test_annotations_of_any_text_come_back(lab: Lab) -> None:
    base = lab.client.image("a", "v1", [b"x"])
    subject = {"mediaType": MANIFEST, "digest": sha(base), "size": len(base)}
    notes = {"a": "\ud800\r\n→"}
    assert lab.client.put("a", "s", {"schemaVersion": 2, "subject": subject, "annotations": notes})[0] == 201
    found = json.loads(lab.client.ask("GET", f"/v2/a/referrers/{sha(base)}")[2])
    assert found["manifests"][0]["annotations"] == notes


# requests ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("request_line", "head", "status"),
    [
        ("GET /v2/", "Content-Length: -5", 200), ("POST /v2/a/blobs/uploads/", "Content-Length: -5", 202),
        ("PUT /v2/a/manifests/x", "Content-Length: -5", 400), ("GET http://[", "X: y", 404),
        ("GET http://host/v2/", "X: y", 200), ("OPTIONS /v2/", "X: y", 405), ("FETCH /v2/", "X: y", 501),
        ("PUT /v2/a/manifests/x", "Content-Length: 2\r\nContent-Length: 3", 400), ("GET //[/v2/", "X: y", 404),
        ("OPTIONS *", "X: y", 404),
    ],
)  # fmt: skip
def test_every_request_has_a_reply(lab: Lab, request_line: str, head: str, status: int) -> None:
    found = lab.raw(f"{request_line} HTTP/1.1\r\nHost: x\r\n{head}\r\nConnection: close\r\n\r\n")
    assert found.split(b" ", 2)[1] == str(status).encode(), found
    assert b"<" not in found


def test_a_request_line_that_is_none(lab: Lab) -> None:
    found = lab.raw("GET\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 400 ") or b'"errors"' in found
    assert b"<" not in found


def test_the_catalog_comes_in_pages(lab: Lab) -> None:
    for name in ("a", "b/c", "d"):
        lab.client.image(name, "v1", [b"x"])
    found, path = [], "/v2/_catalog?n=2"
    while path:
        _, headers, data = lab.client.ask("GET", path)
        found.append(json.loads(data)["repositories"])
        path = headers.get("link", "").partition(">")[0].lstrip("<")
    assert found == [["a", "b/c"], ["d"]]
    assert json.loads(lab.client.ask("GET", "/v2/_catalog?last=a")[2]) == {"repositories": ["b/c", "d"]}
    assert lab.client.ask("GET", "/v2/_catalog?n=x")[0] == 400
    assert lab.client.ask("DELETE", "/v2/_catalog")[0] == 405


def test_sizes_are_compared(lab: Lab) -> None:
    config = {"mediaType": CONFIG, "digest": lab.client.push("a", b"{}"), "size": 3}
    assert code(lab.client.put("a", "v1", {"schemaVersion": 2, "config": config})) == (400, "MANIFEST_INVALID")
    child = lab.client.image("a", "one", [b"x"])
    item = {"mediaType": MANIFEST, "digest": sha(child), "size": len(child) + 1}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [item]}
    assert code(lab.client.put("a", "all", index, INDEX)) == (400, "MANIFEST_INVALID")
    item["size"] = 1 << 70
    assert code(lab.client.put("a", "all", index, INDEX)) == (400, "MANIFEST_INVALID")


# users ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("text", ["", "\n\n", "# nobody\n", "  \n # me:$6$a$b\n"])
def test_a_file_without_users_lets_nobody_in(tmp_path: Path, text: str) -> None:
    (tmp_path / "users").write_text(text)
    with pytest.raises(ConfigError, match="names no user"):
        read_users(tmp_path / "users")


# damage --------------------------------------------------------------------------------------------------------------
def test_a_blob_that_was_cut_is_not_served_and_can_be_pushed_again(lab: Lab) -> None:
    digest = lab.client.push("a", b"0123456789")
    lab.storage.path(digest).write_bytes(b"01234")
    assert lab.client.ask("GET", f"/v2/a/blobs/{digest}")[0] == 500
    assert "damaged" in lab.errors()[0]
    assert lab.client.ask("HEAD", f"/v2/a/blobs/{digest}")[0] == 404
    assert lab.client.ask("POST", f"/v2/b/blobs/uploads/?mount={digest}&from=a")[0] == 202
    layer = {"mediaType": "a/b", "digest": digest, "size": 10}
    assert code(lab.client.put("a", "v1", {"schemaVersion": 2, "layers": [layer]})) == (404, "MANIFEST_BLOB_UNKNOWN")
    lab.client.push("a", b"0123456789")
    assert lab.client.ask("GET", f"/v2/a/blobs/{digest}")[2] == b"0123456789"


def test_a_manifest_that_was_changed_is_not_served(lab: Lab) -> None:
    data = lab.client.image("a", "v1", [b"x"])
    path = lab.storage.path(sha(data))
    path.write_bytes(data.replace(b"amd64", b"arm64") + b" ")
    assert lab.client.ask("GET", "/v2/a/manifests/v1")[0] == 500


# full disks ----------------------------------------------------------------------------------------------------------
class FullDisk:
    """A registry whose disk has room for 1000 bytes of each request."""

    def __init__(self, inner: Registry) -> None:
        self._inner = inner

    def answer(self, exchange: Exchange) -> None:
        self._inner.answer(_Short(exchange._handler))


class _Short(Exchange):
    def parts(self) -> Iterator[bytes]:
        for part in super().parts():
            yield part[:1000]
            if len(part) > 1000:
                raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_full_disk_is_not_kept_full(tmp_path: Path, method: str) -> None:
    with served(tmp_path / "registry", FullDisk) as (_, address):
        data = os.urandom(5000)
        place = "/v2/a/blobs/uploads/" if method == "POST" else Client(address).ask("POST", "/v2/a/blobs/uploads/")[1][
            "location"
        ]  # fmt: skip
        query = "" if method == "PATCH" else f"?digest={sha(data)}"
        assert Client(address).ask(method, place + query, data)[0] == 507
        assert list((tmp_path / "registry/uploads").iterdir()) == []
        assert Client(address).push("a", b"small")


def test_a_single_request_that_breaks_off_leaves_nothing(lab: Lab) -> None:
    made = http.client.HTTPConnection(lab.address, timeout=5)
    made.connect()
    head = f"POST /v2/a/blobs/uploads/?digest={sha(b'x')} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nab"
    made.sock.sendall(head.encode())
    made.sock.shutdown(socket.SHUT_WR)
    while made.sock.recv(1 << 16):
        pass
    assert list((lab.folder / "uploads").iterdir()) == []
    made.close()


def test_a_full_database_is_no_space(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "registry")
    pages = storage._db.rows("PRAGMA page_count")[0][0]
    storage._db.rows(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(NoSpace):
        for number in range(10_000):
            storage._db.do("INSERT INTO tags VALUES ('a', ?, 'x')", f"{number}-{'x' * 100}")
    with pytest.raises(NoSpace), storage._db.changing():
        for number in range(10_000):
            storage._db.do("INSERT INTO tags VALUES ('b', ?, 'x')", f"{number}-{'x' * 100}")
    assert storage.tags("b") == []
    storage._db.close()


def test_who_begins_with_tls_learns_that_this_is_http(lab: Lab) -> None:
    """Docker, podman and all that is written in Go go on in plain HTTP then, and only then."""
    assert lab.raw("\x16\x03\x01\x00\x05\x01\x00\x00\n").startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "head", ["GET /v2/ HTTP/1.1\r\n", "PUT /v2/a/manifests/v1 HTTP/1.1\r\nContent-Length: 9999\r\n\r\n"]
)
def test_who_sends_a_byte_now_and_then_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str
) -> None:
    monkeypatch.setattr(server, "_TIMEOUT_S", 0.5)
    with own_registry(tmp_path) as found:
        host, port = found.split(":")
        with socket.create_connection((host, int(port)), timeout=0.05) as slow:
            slow.sendall(head.encode())
            ended = False
            for _ in range(400):
                try:
                    slow.sendall(b"x")
                    ended = not slow.recv(1)
                except TimeoutError:
                    continue
                except ConnectionError:
                    ended = True
                if ended:
                    break
            assert ended
