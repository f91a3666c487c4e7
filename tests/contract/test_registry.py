"""Images of a registry: a real one on loopback, and one that lies."""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests import services
from tests.trees import Project, write_layout
from treebuilder.cli.main import main
from treebuilder.errors import IntegrityError, SpecError, TransportError, TreebuildError
from treebuilder.events import Finished, Progressed, Recorder, Started
from treebuilder.model.digest import Digest
from treebuilder.oci.layout import Layout
from treebuilder.oci.platform import architecture
from treebuilder.oci.registry import RegistryImages
from treebuilder.oci.store import Store
from treebuilder.system.process import Cancel

pytestmark = pytest.mark.usefixtures("no_logins")

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with services.registry() as address:
        yield address


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "store")
    yield made
    made.close()


def images(*insecure: str, events: Recorder | None = None) -> RegistryImages:
    return RegistryImages(events or Recorder(), Cancel(), insecure)


def push_blob(address: str, repository: str, data: bytes) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    begun = requests.post(f"http://{address}/v2/{repository}/blobs/uploads/", timeout=20)
    done = requests.put(
        begun.headers["Location"], params={"digest": digest}, data=data, timeout=60,
        headers={"Content-Type": "application/octet-stream"},
    )  # fmt: skip
    assert done.status_code == 201, done.text
    return {"digest": digest, "size": len(data)}


def push_manifest(address: str, repository: str, tag: str, value: dict[str, Any]) -> dict[str, Any]:
    data = json.dumps(value).encode()
    done = requests.put(
        f"http://{address}/v2/{repository}/manifests/{tag}", data=data, timeout=20,
        headers={"Content-Type": value["mediaType"]},
    )  # fmt: skip
    assert done.status_code == 201, done.text
    return {"mediaType": value["mediaType"], "digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}


def layout_parts(folder: Path) -> tuple[bytes, bytes]:
    """The configuration and the layer of a layout of one layer."""
    layout = Layout(folder)
    manifest = json.loads((folder / "blobs/sha256" / layout.resolve().hex).read_bytes())
    blobs = [manifest["config"], *manifest["layers"]]
    config, layer = ((folder / "blobs/sha256" / b["digest"].removeprefix("sha256:")).read_bytes() for b in blobs)
    return config, layer


def push_image(address: str, repository: str, tag: str, folder: Path, *, compress: bool = True) -> dict[str, Any]:
    config, layer = layout_parts(folder)
    described = push_blob(address, repository, config)
    pushed = push_blob(address, repository, gzip.compress(layer) if compress else layer)
    return push_manifest(address, repository, tag, {
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **described},
        "layers": [{"mediaType": f"{LAYER}+gzip" if compress else LAYER, **pushed}],
    })  # fmt: skip


def test_resolve_and_load(address: str, store: Store, tmp_path: Path) -> None:
    folder = write_layout(tmp_path / "layout", {"etc/hello": b"hi"})
    item = push_image(address, "team/base", "v1", folder)
    events = Recorder()
    source = images(events=events)
    reference = f"{address}/team/base:v1"
    digest = source.resolve(reference)
    assert str(digest) == item["digest"]
    state = source.load(reference, digest, store)
    assert (store.tree_path(state.layers[0]) / "etc/hello").read_bytes() == b"hi"
    assert state.config.env == (("BASE", "yes"), ("PATH", "/bin:/usr/bin"))
    assert state == Layout(folder).load(Layout(folder).resolve(), store)
    kinds = [type(event) for event in events.events]
    assert (kinds[0], kinds[-1]) == (Started, Finished)
    assert Progressed in kinds


def test_a_known_layer_is_not_fetched_again(address: str, store: Store, tmp_path: Path) -> None:
    folder = write_layout(tmp_path / "layout", {"etc/once": b"once"})
    push_image(address, "once/base", "v1", folder)
    first = images().load(f"{address}/once/base:v1", images().resolve(f"{address}/once/base:v1"), store)
    with services.registry() as other:
        config, layer = layout_parts(folder)
        packed = gzip.compress(layer)
        described = push_blob(other, "copy", config)
        pushed = push_blob(other, "copy", packed)
        tag = {
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **described},
            "layers": [{"mediaType": f"{LAYER}+gzip", **pushed}],
        }  # fmt: skip
        push_manifest(other, "copy", "v1", tag)
        events = Recorder()
        again = images(events=events).load(f"{other}/copy:v1", images().resolve(f"{other}/copy:v1"), store)
    assert again.layers == first.layers
    noted = store.index.note("unpacked", hashlib.sha256(packed).hexdigest())
    assert noted == first.layers[0].hex.encode()


def test_an_index_gives_this_platform(address: str, store: Store, tmp_path: Path) -> None:
    ours = push_image(address, "many", "ours", write_layout(tmp_path / "a", {"a": b"a"}))
    other = push_image(address, "many", "other", write_layout(tmp_path / "b", {"b": b"b"}))
    index = {
        "schemaVersion": 2, "mediaType": INDEX,
        "manifests": [
            {**other, "platform": {"architecture": "s390x", "os": "linux"}},
            {**ours, "platform": {"architecture": architecture(), "os": "linux"}},
        ],
    }  # fmt: skip
    whole = push_manifest(address, "many", "all", index)
    for reference in (f"{address}/many:all", f"{address}/many@{whole['digest']}"):
        assert str(images().resolve(reference)) == ours["digest"]
    words = ["util", "unpack", f"{address}/many:all", "--cache-dir", str(tmp_path / "cache")]
    assert main([*words, str(tmp_path / "laid"), "--platform", "linux/s390x"]) == 0
    assert (tmp_path / "laid/b").read_bytes() == b"b"
    assert main([*words, str(tmp_path / "none"), "--platform", "windows/amd64"]) == 2
    assert main([*words, str(tmp_path / "none"), "--platform", "s390x"]) == 1
    assert not (tmp_path / "none").exists()
    index["manifests"] = index["manifests"][:1]  # type: ignore[index]
    push_manifest(address, "many", "foreign", index)
    with pytest.raises(SpecError, match=f"no image for linux/{architecture()}"):
        images().resolve(f"{address}/many:foreign")


def test_what_is_not_there(address: str) -> None:
    for reference in (f"{address}/nobody/nothing:v1", f"{address}/nobody/nothing@{Digest.of(b'no')}"):
        with pytest.raises(TransportError, match="there is no such image") as caught:
            images().resolve(reference)
        assert caught.value.status == 404
        assert not caught.value.temporary


def test_a_package_on_an_image_of_a_registry(address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    push_image(address, "seed", "v1", write_layout(tmp_path / "layout"))
    project = Project(tmp_path)
    project.package("a/app", f"image: {address}/seed:v1\nsteps:\n- echo app > /app\n")
    lock = tmp_path / "lock"
    words = [
        "build", "a/app", "--tree", str(project.tree), "--cache-dir", str(tmp_path / "cache"), "--lock", str(lock),
        "--destination", str(project.build), "--json",
    ]  # fmt: skip
    assert main(words) == 0
    assert project.text("app-a-1.0", "app") == "app\n"
    locked = json.loads(lock.read_text())["images"]
    assert list(locked) == [f"{address}/seed:v1"]
    push_image(address, "seed", "v1", write_layout(tmp_path / "newer", {"etc/new": b"new"}))
    capsys.readouterr()
    assert main([*words, "--rebuild"]) == 0
    assert json.loads(lock.read_text())["images"] == locked


# a registry that lies ----------------------------------------------------------------------------------------------
Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture
def fake() -> Iterator[tuple[str, dict[str, Callable[[Any], Answer]], list[str]]]:
    """A server whose answers tests write: its address, answers by path, and the requests it got."""
    answers: dict[str, Callable[[Any], Answer]] = {}
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            asked.append(self.path)
            status, headers, data = answers.get(path, lambda _: (404, {}, b""))(self.headers)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}", answers, asked
        server.shutdown()
        thread.join()


def describe(data: bytes, **more: object) -> dict[str, Any]:
    return {"digest": str(Digest.of(data)), "size": len(data), **more}


def image_of(layer: bytes) -> tuple[bytes, bytes]:
    config = json.dumps({"config": {}}).encode()
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": describe(config), "layers": [describe(layer)]}
    return json.dumps(manifest).encode(), config


def always(data: bytes, status: int = 200, **headers: str) -> Callable[[Any], Answer]:
    return lambda _: (status, headers, data)


def test_wrong_bytes_are_refused_at_once(fake: Any, store: Store) -> None:
    address, answers, asked = fake
    manifest, config = image_of(b"the layer")
    digest = Digest.of(manifest)
    answers[f"/v2/app/manifests/{digest}"] = always(manifest)
    answers[f"/v2/app/blobs/{Digest.of(config)}"] = always(config)
    for lie, says in ((b"the lay3r", "reads as"), (b"the layer and more", "longer than")):
        answers[f"/v2/app/blobs/{Digest.of(b'the layer')}"] = always(lie)
        asked.clear()
        with pytest.raises(IntegrityError, match=says):
            images().load(f"{address}/app:v1", digest, store)
        assert len(asked) == 3
    store.close()
    assert list((store.folder / "tmp").iterdir()) == []


def test_a_manifest_that_is_not_what_was_asked_for(fake: Any) -> None:
    address, answers, _ = fake
    wanted = Digest.of(b"{}")
    answers[f"/v2/app/manifests/{wanted}"] = always(b'{"layers": []}')
    with pytest.raises(IntegrityError, match="reads as"):
        images().resolve(f"{address}/app@{wanted}")


DEEP = [b"[" * 200_000, b'{"a":' * 200_000, b'{"layers":' * 900 + b"1" + b"}" * 900]


@pytest.mark.parametrize("data", [*DEEP, b"no json", b"[]", b'{"manifests": []}', b'{"manifests": [{"digest": "x"}]}'])
def test_odd_documents(fake: Any, data: bytes) -> None:
    address, answers, _ = fake
    answers["/v2/app/manifests/latest"] = always(data)
    with pytest.raises(TreebuildError):
        images().resolve(f"{address}/app")


def test_odd_layouts(tmp_path: Path, store: Store) -> None:
    folder = write_layout(tmp_path / "layout")
    whole = (folder / "index.json").read_bytes()
    for data in (*DEEP[:2], b"{}", b'{"manifests": [' + b'{"a": 1},' * (1 << 20) + b"{}]}"):
        (folder / "index.json").write_bytes(data)
        with pytest.raises((IntegrityError, SpecError)):
            Layout(folder).resolve()
    for depth in (2, 2000):
        data = whole
        for _ in range(depth):
            blob = folder / "blobs/sha256" / Digest.of(data).hex
            blob.write_bytes(data)
            data = json.dumps({"manifests": [{**describe(data), "mediaType": INDEX}]}).encode()
        (folder / "index.json").write_bytes(data)
        if depth == 2:
            assert Layout(folder).load(Layout(folder).resolve(), store).layers
        else:
            with pytest.raises(IntegrityError, match="indexes of indexes"):
                Layout(folder).resolve()


def test_a_passing_fault_is_tried_again(fake: Any) -> None:
    address, answers, asked = fake
    manifest, _ = image_of(b"")
    faults = iter([503, 500, 200])
    answers["/v2/app/manifests/latest"] = lambda _: (next(faults), {}, manifest)
    assert images().resolve(f"{address}/app") == Digest.of(manifest)
    assert len(asked) == 3


def test_a_torn_body_is_tried_again(fake: Any) -> None:
    address, answers, asked = fake
    manifest, _ = image_of(b"")
    lengths = iter([len(manifest) + 10, len(manifest)])
    answers["/v2/app/manifests/latest"] = lambda _: (200, {"Content-Length": str(next(lengths))}, manifest)
    assert images().resolve(f"{address}/app") == Digest.of(manifest)
    assert len(asked) == 2


def test_a_refused_login_is_not_tried_again(fake: Any) -> None:
    address, answers, asked = fake
    challenge = {"Www-Authenticate": f'Bearer realm="http://{address}/token",service="s",scope="repository:app:pull"'}
    answers["/v2/app/manifests/latest"] = lambda _: (401, challenge, b"")
    answers["/token"] = always(b"{}", 403)
    with pytest.raises(TransportError, match="not allowed") as caught:
        images().resolve(f"{address}/app")
    assert not caught.value.temporary
    assert f"docker login {address}" in (caught.value.hint or "")
    assert sum("manifests" in path for path in asked) == 1


def test_an_anonymous_token(fake: Any) -> None:
    address, answers, asked = fake
    manifest, _ = image_of(b"")
    challenge = {"Www-Authenticate": f'Bearer realm="http://{address}/token",service="s",scope="repository:app:pull"'}

    def answer(headers: Any) -> Answer:
        return (200, {}, manifest) if headers["Authorization"] == "Bearer secret" else (401, challenge, b"")

    answers["/v2/app/manifests/latest"] = answer
    answers["/token"] = always(b'{"token": "secret"}')
    source = images()
    assert source.resolve(f"{address}/app") == source.resolve(f"{address}/app") == Digest.of(manifest)
    assert sum(path.startswith("/token") for path in asked) == 1


@pytest.mark.parametrize("data", [*DEEP, b"[]", b"{}", b'{"token": ["x"]}', b"x", b" " * (2 << 20)])
def test_an_odd_token(fake: Any, data: bytes) -> None:
    address, answers, _ = fake
    challenge = {"Www-Authenticate": f'Bearer realm="http://{address}/token",service="s",scope="repository:app:pull"'}
    answers["/v2/app/manifests/latest"] = lambda _: (401, challenge, b"")
    answers["/token"] = always(data)
    with pytest.raises(TransportError) as caught:
        images().resolve(f"{address}/app")
    assert caught.value.status == 401


@pytest.mark.parametrize("kind", ["Basic", "Bearer"])
def test_a_login_of_dockers_configuration(
    fake: Any, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, answers, _ = fake
    word = base64.b64encode(b"user:password").decode()
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/config.json").write_text(json.dumps({"auths": {address: {"auth": word}}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    manifest, _ = image_of(b"")
    wanted = f"Basic {word}" if kind == "Basic" else "Bearer t"
    challenge = {"Www-Authenticate": f'{kind} realm="http://{address}/token",service="s"'}

    def answer(headers: Any) -> Answer:
        return (200, {}, manifest) if headers["Authorization"] == wanted else (401, challenge, b"")

    def token(headers: Any) -> Answer:
        return (200, {}, b'{"token": "t"}') if headers["Authorization"] == f"Basic {word}" else (401, {}, b"")

    answers["/v2/app/manifests/latest"] = answer
    answers["/token"] = token
    assert images().resolve(f"{address}/app") == Digest.of(manifest)


def test_a_password_is_not_sent_to_a_plain_place(fake: Any) -> None:
    address, answers, asked = fake
    challenge = {"Www-Authenticate": 'Bearer realm="http://elsewhere.example/token",service="s"'}
    answers["/v2/app/manifests/latest"] = lambda _: (401, challenge, b"")
    with pytest.raises(TransportError, match="refused"):
        images().resolve(f"{address}/app")
    assert len(asked) == 1


def test_nobody_is_spoken_to_without_encryption(fake: Any) -> None:
    address, answers, asked = fake
    manifest, _ = image_of(b"")
    answers["/v2/app/manifests/latest"] = always(manifest)
    port = address.rpartition(":")[2]
    other = f"localhost.localdomain:{port}"  # this machine by a name that does not say so
    source = images(other)
    assert source._repository(_parsed(f"{other}/app"))._url.startswith("http://")
    plain = images()
    assert plain._repository(_parsed(f"{other}/app"))._url.startswith("https://")
    assert images().resolve(f"{address}/app") == Digest.of(manifest)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("said", "host", "plain"),
    [
        ("a.example:5000", "a.example:5000", True), ("a.example", "a.example:5000", True),
        ("a.example", "a.example", True),
        ("http://a.example:5000/", "a.example:5000", True), ("a.example:5000", "a.example:5001", False),
        ("a.example:5000", "a.example", False), ("example", "a.example", False), ("", "127.0.0.1:1", True),
        ("[2001:db8::1]", "[2001:db8::1]:5000", True),
    ],
)  # fmt: skip
def test_whom_we_may_speak_to_without_encryption(said: str, host: str, plain: bool) -> None:
    assert images(said)._repository(_parsed(f"{host}/app"))._url.startswith("http:") == plain


@pytest.mark.parametrize("host", ["127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:99999", "a.example:1000000000001"])
def test_a_port_that_there_cannot_be(host: str) -> None:
    with pytest.raises(SpecError, match="is no name of an image"):
        _parsed(f"{host}/app")


def _parsed(text: str) -> Any:
    from treebuilder.oci.reference import parse_reference

    return parse_reference(text)


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"auths": [1]}', '{"auths": {"HOST": [1]}}', '{"auths": {"HOST": {"auth": [1]}}}', "[" * 200_000],
)
def test_a_broken_configuration_of_docker(
    fake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "config.json").write_text(text.replace("HOST", fake[0]))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with pytest.raises(TreebuildError, match=r"config\.json"):
        images().resolve(f"{fake[0]}/app")
