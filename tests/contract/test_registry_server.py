"""Our registry against the OCI distribution specification 1.1, request by request, and with the clients people use."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests import schemas
from tests.contract.registry_client import INDEX, MANIFEST, Client, code, sha
from tests.registries import own_registry, served
from tests.services import docker_daemon, program
from treebuilder.app.serving import ServeOptions, serve
from treebuilder.errors import ConfigError, StateCorrupt
from treebuilder.events import Silent
from treebuilder.oci.registry import RegistryImages
from treebuilder.oci.store import Store
from treebuilder.serve import server
from treebuilder.serve.exchange import Exchange
from treebuilder.serve.registry import Registry
from treebuilder.serve.server import Listening, read_users
from treebuilder.serve.storage import Storage
from treebuilder.system.process import Cancel


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "registry"


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    with own_registry(folder) as found:
        yield found


@pytest.fixture
def client(address: str) -> Client:
    return Client(address)


def test_it_says_what_it_is(client: Client) -> None:
    for path in ("/v2/", "/v2"):
        status, headers, data = client.ask("GET", path)
        assert (status, data) == (200, b"{}")
        assert headers["docker-distribution-api-version"] == "registry/2.0"


def test_what_is_not_there(client: Client) -> None:
    client.push("a/b", b"x")
    nowhere = f"sha256:{'0' * 64}"
    for method in ("GET", "HEAD", "DELETE"):
        assert client.ask(method, f"/v2/a/b/blobs/{nowhere}")[0] == 404
        assert client.ask(method, f"/v2/a/b/manifests/{nowhere}")[0] == 404
        assert client.ask(method, "/v2/a/b/manifests/v1")[0] == 404
    assert code(client.ask("GET", f"/v2/a/b/blobs/{nowhere}")) == (404, "BLOB_UNKNOWN")
    assert code(client.ask("GET", "/v2/a/b/manifests/v1")) == (404, "MANIFEST_UNKNOWN")
    assert code(client.ask("GET", "/v2/no/such/tags/list")) == (404, "NAME_UNKNOWN")
    assert client.ask("GET", "/elsewhere")[0] == 404


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/v2/A/blobs/sha256:00", "NAME_INVALID"), ("/v2/a/../b/tags/list", "NAME_INVALID"),
        ("/v2/a//b/tags/list", "NAME_INVALID"), ("/v2/a/blobs/sha256:00", "DIGEST_INVALID"),
        (f"/v2/a/blobs/md5:{'0' * 32}", "DIGEST_INVALID"),
        ("/v2/a/manifests/sha256:00", "DIGEST_INVALID"), ("/v2/a/referrers/x", "DIGEST_INVALID"),
        (f"/v2/{'a' * 300}/tags/list", "NAME_INVALID"),
    ],
)  # fmt: skip
def test_what_is_no_name(client: Client, path: str, said: str) -> None:
    assert code(client.ask("GET", path)) == (400, said)


def test_a_blob_in_two_requests(client: Client) -> None:
    status, headers, _ = client.ask("POST", "/v2/a/blobs/uploads/", b"")
    assert status == 202
    assert code(client.ask("PUT", f"{headers['location']}?digest={sha(b'other')}", b"data")) == (400, "DIGEST_INVALID")
    assert client.ask("GET", headers["location"])[0] == 404
    place = client.ask("POST", "/v2/a/blobs/uploads/", b"")[1]["location"]
    status, headers, _ = client.ask("PUT", f"{place}?digest={sha(b'data')}", b"data")
    assert (status, headers["location"]) == (201, f"/v2/a/blobs/{sha(b'data')}")
    assert client.ask("GET", headers["location"])[2] == b"data"
    assert client.ask("HEAD", headers["location"])[1]["content-length"] == "4"


def test_a_blob_in_chunks(client: Client) -> None:
    place = client.ask("POST", "/v2/a/blobs/uploads/")[1]["location"]
    status, headers, _ = client.ask("PATCH", place, b"abc", Content_Range="0-2")
    assert (status, headers["range"]) == (202, "0-2")
    for wrong in ("0-2", "5-7", "3-4", "x"):
        reply = client.ask("PATCH", place, b"def", Content_Range=wrong)
        assert (reply[0], reply[1]["range"]) == (416, "0-2"), wrong
    assert client.ask("GET", place)[0::2] == (204, b"")
    assert client.ask("GET", place)[1]["range"] == "0-2"
    assert client.ask("PATCH", place, iter([b"de", b"f"]))[1]["range"] == "0-5"
    whole = b"abcdefghi"
    assert client.ask("PUT", f"{place}?digest={sha(whole)}", b"ghi", Content_Range="6-8")[0] == 201
    assert client.ask("GET", f"/v2/a/blobs/{sha(whole)}")[2] == whole
    assert client.ask("PUT", f"{place}?digest={sha(whole)}", b"")[0] == 404


def test_a_blob_by_sha512(client: Client) -> None:
    digest = f"sha512:{hashlib.sha512(b'data').hexdigest()}"
    assert client.ask("POST", f"/v2/a/blobs/uploads/?digest={digest}", b"data")[0] == 201
    assert client.ask("GET", f"/v2/a/blobs/{digest}")[2] == b"data"
    assert client.ask("GET", f"/v2/a/blobs/{sha(b'data')}")[0] == 404


def test_an_upload_can_be_given_up(client: Client, folder: Path) -> None:
    place = client.ask("POST", "/v2/a/blobs/uploads/")[1]["location"]
    client.ask("PATCH", place, b"abc")
    assert len(list((folder / "uploads").iterdir())) == 1
    assert client.ask("DELETE", place)[0] == 204
    assert client.ask("GET", place)[0] == 404
    assert list((folder / "uploads").iterdir()) == []


def test_mounting(client: Client) -> None:
    digest = client.push("one", b"data")
    assert client.ask("HEAD", f"/v2/two/blobs/{digest}")[0] == 404
    status, headers, _ = client.ask("POST", f"/v2/two/blobs/uploads/?mount={digest}&from=one")
    assert (status, headers["location"]) == (201, f"/v2/two/blobs/{digest}")
    assert client.ask("GET", f"/v2/two/blobs/{digest}")[2] == b"data"
    for query in (f"mount={sha(b'none')}&from=one", f"mount={sha(b'none')}", f"mount={digest}&from=three"):
        status, headers, _ = client.ask("POST", f"/v2/four/blobs/uploads/?{query}")
        assert status == 202
        assert headers["location"].startswith("/v2/four/blobs/uploads/")
    assert client.ask("HEAD", f"/v2/four/blobs/{digest}")[0] == 404
    assert client.ask("POST", f"/v2/four/blobs/uploads/?mount={digest}")[0] == 201, "whoever has it"
    assert client.ask("GET", f"/v2/four/blobs/{digest}")[2] == b"data"


def test_ranges(client: Client) -> None:
    digest = client.push("a", b"0123456789")
    for asked, status, data, said in (
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"), ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"), ("bytes=0-99", 206, b"0123456789", "bytes 0-9/10"),
        ("lines=1-2", 200, b"0123456789", None), ("bytes=1-2,4-5", 200, b"0123456789", None),
    ):  # fmt: skip
        reply = client.ask("GET", f"/v2/a/blobs/{digest}", Range=asked)
        assert (reply[0], reply[2], reply[1].get("content-range")) == (status, data, said), asked
    assert client.ask("GET", f"/v2/a/blobs/{digest}", Range="bytes=10-")[0] == 416


def test_a_manifest(client: Client) -> None:
    data = client.image("a/b", "v1", [b"layer"])
    for reference in ("v1", sha(data)):
        status, headers, found = client.ask("GET", f"/v2/a/b/manifests/{reference}")
        assert (status, found, headers["content-type"]) == (200, data, MANIFEST)
        assert headers["docker-content-digest"] == sha(data)
        status, headers, found = client.ask("HEAD", f"/v2/a/b/manifests/{reference}")
        assert (status, found, headers["content-length"]) == (200, b"", str(len(data)))
    other = client.image("a/b", "v1", [b"other"])
    assert client.ask("GET", "/v2/a/b/manifests/v1")[2] == other
    assert client.ask("GET", f"/v2/a/b/manifests/{sha(data)}")[2] == data
    client.connection.request("PUT", f"/v2/a/b/manifests/{sha(data)}?tag=x&tag=y", data, {"Content-Type": MANIFEST})
    reply = client.connection.getresponse()
    assert (reply.status, reply.headers.get_all("OCI-Tag"), reply.read()) == (201, ["x", "y"], b"")
    assert client.ask("GET", "/v2/a/b/manifests/y")[2] == data


@pytest.mark.parametrize(
    ("value", "status", "said"),
    [
        (b"{", 400, "MANIFEST_INVALID"), ([], 400, "MANIFEST_INVALID"), ({"schemaVersion": 1}, 400, "MANIFEST_INVALID"),
        ({"schemaVersion": 2, "layers": 3}, 400, "MANIFEST_INVALID"),
        ({"schemaVersion": 2, "config": {"digest": "x", "size": 1}}, 400, "MANIFEST_INVALID"),
        ({"schemaVersion": 2, "config": {"digest": f"sha256:{'0' * 64}", "size": -1}}, 400, "MANIFEST_INVALID"),
        ({"schemaVersion": 2, "config": {"digest": f"sha256:{'0' * 64}", "size": 1}}, 404, "MANIFEST_BLOB_UNKNOWN"),
        ({"schemaVersion": 2, "mediaType": INDEX}, 400, "MANIFEST_INVALID"),
        (b"[" * 100_000, 400, "MANIFEST_INVALID"),
    ],
)  # fmt: skip
def test_what_is_no_manifest(client: Client, value: Any, status: int, said: str) -> None:
    assert code(client.put("a", "v1", value)) == (status, said)
    assert client.ask("GET", "/v2/a/manifests/v1")[0] == 404


def test_manifests_have_bounds(client: Client) -> None:
    assert client.put("a", sha(b"other"), b"{}")[0] == 400
    assert client.put("a", "v1", b" " * ((8 << 20) + 1))[0] == 413
    assert client.ask("GET", "/v2/")[0] == 200


def test_an_index_and_layers_that_are_elsewhere(client: Client) -> None:
    data = client.image("a", "one", [b"layer"])
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {"mediaType": MANIFEST, "digest": sha(data), "size": len(data)}]}  # fmt: skip
    assert client.put("a", "all", index, INDEX)[0] == 201
    assert client.ask("GET", "/v2/a/manifests/all")[1]["content-type"] == INDEX
    index["manifests"].append({"mediaType": MANIFEST, "digest": sha(b"none"), "size": 4})  # type: ignore[attr-defined]
    assert code(client.put("a", "all", index, INDEX)) == (404, "MANIFEST_BLOB_UNKNOWN")
    foreign = {"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar", "digest": sha(b"x"), "size": 1}
    assert client.put("a", "foreign", {"schemaVersion": 2, "layers": [foreign]})[0] == 201


def test_tags_in_pages(client: Client) -> None:
    tags = ["A", "a", "b", "v1", "v10", "v2"]
    for tag in reversed(tags):
        client.image("a", tag, [b"layer"])
    assert json.loads(client.ask("GET", "/v2/a/tags/list")[2]) == {"name": "a", "tags": tags}
    found, path = [], "/v2/a/tags/list?n=4"
    while path:
        _, headers, data = client.ask("GET", path)
        found.append(json.loads(data)["tags"])
        path = headers.get("link", "").partition(">")[0].lstrip("<")
    assert found == [tags[:4], tags[4:]]
    assert json.loads(client.ask("GET", "/v2/a/tags/list?n=0")[2])["tags"] == []
    assert json.loads(client.ask("GET", "/v2/a/tags/list?last=v1")[2])["tags"] == ["v10", "v2"]
    assert client.ask("GET", "/v2/a/tags/list?n=x")[0] == 400


def test_deleting(client: Client, folder: Path) -> None:
    data = client.image("a", "v1", [b"layer"])
    client.put("a", "v2", data)
    client.image("b", "v1", [b"layer"])
    assert client.ask("DELETE", "/v2/a/manifests/v1")[0] == 202
    assert client.ask("GET", "/v2/a/manifests/v1")[0] == 404
    assert client.ask("GET", "/v2/a/manifests/v2")[2] == data
    assert client.ask("DELETE", f"/v2/a/manifests/{sha(data)}")[0] == 202
    assert client.ask("GET", "/v2/a/manifests/v2")[0] == 404
    assert client.ask("DELETE", f"/v2/a/blobs/{sha(b'layer')}")[0] == 202
    assert client.ask("GET", f"/v2/a/blobs/{sha(b'layer')}")[0] == 404
    assert client.ask("GET", f"/v2/b/blobs/{sha(b'layer')}")[2] == b"layer"
    assert client.ask("DELETE", f"/v2/b/blobs/{sha(b'layer')}")[0] == 202
    assert not (folder / "blobs/sha256" / sha(b"layer").partition(":")[2]).exists()


def test_referrers(client: Client) -> None:
    base = client.image("a", "v1", [b"layer"])
    subject = {"mediaType": MANIFEST, "digest": sha(base), "size": len(base)}
    reply = client.ask("GET", f"/v2/a/referrers/{sha(b'nothing')}")
    assert (reply[0], reply[1]["content-type"], json.loads(reply[2])["manifests"]) == (200, INDEX, [])
    config = {"mediaType": "application/x.kind", "digest": client.push("a", b"{}"), "size": 2}
    made = []
    for more in ({"artifactType": "application/x.sbom", "annotations": {"k": "v"}}, {}):
        value = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [], "subject": subject, **more}
        data = json.dumps(value).encode()
        status, headers, _ = client.put("a", sha(data), data)
        assert (status, headers["oci-subject"]) == (201, sha(base))
        made.append({"mediaType": MANIFEST, "digest": sha(data), "size": len(data),
                     "artifactType": more.get("artifactType", "application/x.kind"),
                     **({"annotations": more["annotations"]} if more else {})})  # fmt: skip
    found = json.loads(client.ask("GET", f"/v2/a/referrers/{sha(base)}")[2])
    assert found["mediaType"] == INDEX
    assert sorted(found["manifests"], key=lambda m: str(m["digest"])) == sorted(made, key=lambda m: str(m["digest"]))
    reply = client.ask("GET", f"/v2/a/referrers/{sha(base)}?artifactType=application/x.sbom")
    assert reply[1]["oci-filters-applied"] == "artifactType"
    assert json.loads(reply[2])["manifests"] == [made[0]]
    early = {"schemaVersion": 2, "subject": {"mediaType": MANIFEST, "digest": sha(b"later"), "size": 5}}
    assert client.put("a", "early", early)[0] == 201


def test_methods_that_do_nothing(client: Client) -> None:
    for method, path in (("POST", "/v2/"), ("PATCH", "/v2/a/tags/list"), ("POST", "/v2/a/manifests/x")):
        assert client.ask(method, path, b"")[0] == 405


def test_a_body_that_ends_too_early_is_no_blob(address: str, folder: Path) -> None:
    client = Client(address)
    place = client.ask("POST", "/v2/a/blobs/uploads/")[1]["location"]
    for head in ("Content-Length: 100", "Transfer-Encoding: chunked"):
        raw = http.client.HTTPConnection(address, timeout=5)
        raw.connect()
        raw.sock.sendall(f"PUT {place}?digest={sha(b'x')} HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n5\r\nab".encode())
        raw.sock.close()
    assert client.ask("GET", f"/v2/a/blobs/{sha(b'x')}")[0] == 404
    assert list((folder / "blobs/sha256").iterdir()) == []


def test_an_upload_goes_on_after_a_restart(folder: Path) -> None:
    with own_registry(folder) as address:
        place = Client(address).ask("POST", "/v2/a/blobs/uploads/")[1]["location"]
        Client(address).ask("PATCH", place, b"abc")
    with own_registry(folder) as address:
        client = Client(address)
        assert client.ask("GET", place)[1]["range"] == "0-2"
        assert client.ask("PUT", f"{place}?digest={sha(b'abcdef')}", b"def")[0] == 201
        assert client.ask("GET", f"/v2/a/blobs/{sha(b'abcdef')}")[2] == b"abcdef"


def test_the_folder_is_a_layout(folder: Path, tmp_path: Path) -> None:
    with own_registry(folder) as address:
        data = Client(address).image("a/b", "v1", [b"layer"])
    index = json.loads((folder / "index.json").read_text())
    assert [item["digest"] for item in index["manifests"]] == [sha(data)]
    assert index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] == "a/b:v1"
    (folder / "registry.sqlite").unlink()
    with own_registry(folder) as address:
        assert Client(address).ask("GET", "/v2/a/b/manifests/v1")[2] == data
        assert Client(address).ask("GET", f"/v2/a/b/blobs/{sha(b'layer')}")[2] == b"layer"


def test_a_damaged_index_is_an_error(folder: Path) -> None:
    Storage(folder).close()
    (folder / "registry.sqlite").write_bytes(b"x" * 5000)
    with pytest.raises(StateCorrupt, match=r"registry\.sqlite cannot be read"):
        Storage(folder)


def test_many_at_once(address: str) -> None:
    def one(number: int) -> None:
        client = Client(address)
        for turn in range(5):
            client.image(f"r{number % 3}", f"t{number}-{turn}", [os.urandom(1000), b"shared"])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(16)))
    client = Client(address)
    tags = [json.loads(client.ask("GET", f"/v2/r{n}/tags/list")[2])["tags"] for n in range(3)]
    assert sum(map(len, tags)) == 80


def test_users_and_tls(folder: Path, tmp_path: Path) -> None:
    openssl = program("openssl", "openssl")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    made = subprocess.run([openssl, "passwd", "-6", "secret"], check=True, capture_output=True, text=True)
    (tmp_path / "users").write_text(f"# ours\nme:{made.stdout}")
    users = read_users(tmp_path / "users")
    with own_registry(folder, Listening("127.0.0.1", 0, cert, key, users)) as address:
        import requests

        def ask(*auth: str) -> requests.Response:
            given = (auth[0], auth[1]) if auth else None
            return requests.get(f"https://{address}/v2/", auth=given, verify=str(cert), timeout=10)

        assert ask().status_code == 401
        assert ask().headers["WWW-Authenticate"].startswith("Basic realm=")
        assert ask("me", "wrong").status_code == 401
        assert ask("you", "secret").status_code == 401
        assert ask("me", "secret").status_code == 200
        assert ask("me", "secret").status_code == 200
        plain = http.client.HTTPConnection(address, timeout=5)
        with pytest.raises((http.client.HTTPException, OSError)):
            plain.request("GET", "/v2/")
            plain.getresponse()
        assert ask("me", "secret").status_code == 200


@pytest.mark.parametrize("line", ["me", "me:plain", "me:$2y$05$x", ":$6$a$b"])
def test_a_bad_line_in_users_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "users").write_text(f"# a\n{line}\n")
    with pytest.raises(ConfigError, match="users:2: not NAME"):
        read_users(tmp_path / "users")


def test_a_silent_client_holds_nobody_up(address: str) -> None:
    silent = [http.client.HTTPConnection(address, timeout=5) for _ in range(20)]
    for connection in silent:
        connection.connect()
    assert Client(address).ask("GET", "/v2/")[0] == 200
    for connection in silent:
        connection.close()


def test_there_are_no_more_threads_than_slots(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes when all are taken waits, and is served when one is free."""
    monkeypatch.setattr(server, "_MAX_CONNECTIONS", 2)
    seen: list[int] = []

    class Site:
        def __init__(self, registry: Registry) -> None:
            self.registry = registry

        def answer(self, exchange: Exchange) -> None:
            seen.append(sum("process_request_thread" in thread.name for thread in threading.enumerate()))
            self.registry.answer(exchange)

    before = sum("process_request_thread" in thread.name for thread in threading.enumerate())
    with served(folder, Site) as (_, found), contextlib.ExitStack() as stack:
        host, port = found.split(":")
        silent = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(2)]
        asking = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(20)]
        for one in asking:
            one.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        for one in silent:
            one.close()
        for one in asking:
            assert one.recv(12) == b"HTTP/1.1 200"
    assert max(seen) <= before + 2


def test_a_server_with_all_slots_taken_stops(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_MAX_CONNECTIONS", 1)
    with contextlib.ExitStack() as stack, own_registry(folder) as found:
        host, port = found.split(":")
        for _ in range(3):
            stack.enter_context(socket.create_connection((host, int(port))))


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/letter.txt").write_text("dear")
    options = ServeOptions(tmp_path / "home", "127.0.0.1:0")
    with pytest.raises(ConfigError, match="no folder of a registry"):
        serve(options, print, print, Cancel())
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["letter.txt"]


def test_our_own_client_pulls(address: str, tmp_path: Path) -> None:
    import io
    import tarfile

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("hello")
        info.size = 2
        tar.addfile(info, io.BytesIO(b"hi"))
    Client(address).image("app", "v1", [out.getvalue()])
    store = Store(tmp_path / "store")
    images = RegistryImages(Silent(), Cancel())
    state = images.load(f"{address}/app:v1", images.resolve(f"{address}/app:v1"), store)
    assert (store.tree_path(state.layers[0]) / "hello").read_bytes() == b"hi"
    store.close()


@pytest.mark.docker
def test_docker_pushes_and_pulls(address: str) -> None:
    import docker

    with docker_daemon() as url:
        api = docker.APIClient(base_url=url, version="auto")
        try:
            import io
            import tarfile

            out = io.BytesIO()
            with tarfile.open(fileobj=out, mode="w") as tar:
                info = tarfile.TarInfo("big")
                info.size = 3 << 20
                tar.addfile(info, io.BytesIO(os.urandom(3 << 20)))
            api.import_image_from_data(out.getvalue(), f"{address}/deep/er/app", "v1")
            inspect: Any = api.inspect_image
            before = inspect(f"{address}/deep/er/app:v1")
            for line in api.push(f"{address}/deep/er/app", "v1", stream=True, decode=True):
                assert "error" not in line, line
            api.remove_image(f"{address}/deep/er/app:v1")
            for line in api.pull(f"{address}/deep/er/app", "v1", stream=True, decode=True):
                assert "error" not in line, line
            after = inspect(f"{address}/deep/er/app:v1")
            assert after["RootFS"] == before["RootFS"]
        finally:
            api.close()


def test_the_command(tmp_path: Path) -> None:
    words = ["registry", "serve", str(tmp_path / "r"), "--address", "127.0.0.1:0", "--json"]
    from tests.trees import Project

    project = Project(tmp_path)
    process = project.process(*words)
    try:
        assert process.stdout is not None
        value = json.loads(process.stdout.readline())
        assert schemas.faults(value, schemas.load("registry")) == []
        Client(value["address"]).image("a", "v1", [b"layer"])
        second = project.run("registry", "serve", str(tmp_path / "r"), "--address", "127.0.0.1:0")
        assert second.code == 1
        assert "in use" in second.stderr
    finally:
        process.send_signal(2)
        process.wait(20)
    assert process.returncode == 0
    assert (tmp_path / "r/index.json").is_file()
