"""Where encryption begins and ends: registries of this machine that want TLS, and redirects to plain HTTP."""

from __future__ import annotations

import os
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import services
from tests.registries import own_registry
from treebuilder.errors import TransportError
from treebuilder.events import Silent
from treebuilder.model.digest import Digest
from treebuilder.oci import connection
from treebuilder.oci.download import Downloader
from treebuilder.oci.remote import Progress, Repository
from treebuilder.oci.store import Store
from treebuilder.repository.http import HttpBackend
from treebuilder.serve.exchange import Exchange
from treebuilder.serve.server import Listening, serving
from treebuilder.system.pool import in_parallel
from treebuilder.system.process import Cancel

pytestmark = pytest.mark.usefixtures("no_logins")

PLAIN = ["http://192.0.2.1/x", "HTTP://192.0.2.1/x", "hTtP://registry.example/x"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [services.program("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key,
         "-out", cert, "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_FIRST_WAIT_S", 0.001)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "cache")
    yield made
    made.close()


@contextmanager
def debians(folder: Path, cert: Path, key: Path) -> Iterator[str]:
    """Debian's registry, which answers plain HTTP with 400 (Go does)."""
    address = f"127.0.0.1:{services.free_port()}"
    trusting = ssl.create_default_context(cafile=str(cert))

    def ready() -> bool:
        try:
            with urllib.request.urlopen(f"https://{address}/v2/", timeout=5, context=trusting) as reply:
                return bool(reply.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    (folder / "config.yml").write_text(
        f"version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\n"
        f"http: {{addr: '{address}', tls: {{certificate: {cert}, key: {key}}}}}\n"
    )
    server = services.program("docker-registry", "docker-registry")
    with services.running([server, "serve", str(folder / "config.yml")], folder / "log", ready):
        yield address


@contextmanager
def ours(folder: Path, cert: Path, key: Path) -> Iterator[str]:
    """Ours, which closes the connection when it is spoken to in plain HTTP."""
    with own_registry(folder / "data", Listening("127.0.0.1", 0, cert, key)) as address:
        yield address


@pytest.mark.parametrize("kind", ["debian", "ours"])
def test_a_registry_of_this_machine_may_want_tls(
    kind: str, certificate: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (debians if kind == "debian" else ours)(tmp_path, *certificate) as address:
        with pytest.raises(TransportError, match="certificate") as caught:
            Repository(address, "a/b", True, Cancel()).push_small(b"x")
        assert "REQUESTS_CA_BUNDLE" in str(caught.value.hint)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
        place, data = Repository(address, "a/b", True, Cancel()), os.urandom(3000)
        assert place.push_small(data) == Digest.of(data)
        again = Repository(address, "a/b", True, Cancel())
        assert again.digest_of("latest") is None
        found = again.blob(Digest.of(data), len(data), tmp_path / "blob", Progress("t", Silent()))
        assert found.read_bytes() == data


@pytest.mark.parametrize("kind", ["debian", "ours"])
def test_many_may_ask_it_first(
    kind: str, certificate: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
    with (debians if kind == "debian" else ours)(tmp_path, *certificate) as address:
        for _ in range(5):
            place = Repository(address, "a/b", True, Cancel())
            assert in_parallel([f"v{number}" for number in range(8)], place.digest_of, 8) == [None] * 8


def test_who_sees_that_it_wants_tls_has_the_address(
    certificate: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other threads look without a lock whether it is plain, and then ask at the address that stands there."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
    addresses: list[str] = []

    class Watched(Repository):
        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, value)
            if name == "_plain" and not value:
                addresses.append(self._url)

    with ours(tmp_path, *certificate) as address:
        assert Watched(address, "a/b", True, Cancel()).digest_of("latest") is None
        assert addresses == [f"https://{address}/v2/a/b"]


def test_a_registry_of_this_machine_that_is_not_there_is_said_to_be_so() -> None:
    address = f"127.0.0.1:{services.free_port()}"
    with pytest.raises(TransportError, match=r"[Cc]onnection refused"):
        Repository(address, "a/b", True, Cancel()).digest_of("latest")


class Redirecting:
    """Sends everybody elsewhere."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.asked: list[str] = []

    def answer(self, exchange: Exchange) -> None:
        self.asked.append(exchange.path)
        exchange.empty(307, location=self.place)


@pytest.mark.parametrize("encrypted", [True, False])
@pytest.mark.parametrize("place", [*PLAIN, "//192.0.2.1/x"])
def test_a_registry_cannot_send_us_to_plain_http(
    certificate: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encrypted: bool, place: str
) -> None:
    """Neither one with TLS nor one of this machine; `//…` is the scheme that was used."""
    if encrypted and place.startswith("//"):
        place = "http:" + place
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
    site = Redirecting(place)
    files = certificate if encrypted else (None, None)
    with serving(site, Listening("127.0.0.1", 0, *files)) as address:
        found = Repository(address, "a/b", not encrypted, Cancel())
        with pytest.raises(TransportError, match="without encryption: refused") as caught:
            found.manifest("latest", None)
        assert not caught.value.temporary
        with pytest.raises(TransportError, match="without encryption: refused"):
            found.blob(Digest.of(b""), 10, tmp_path / "blob", Progress("t", Silent()))
        with pytest.raises(TransportError, match="without encryption: refused"):
            found.push_blob(Digest.of(b""), 0, lambda: (tmp_path / "blob").open("rb"))
        assert len(site.asked) == 3


def test_redirects_within_this_machine_are_followed(tmp_path: Path) -> None:
    with own_registry(tmp_path / "data") as real:
        Repository(real, "a/b", True, Cancel()).push_small(b"data")
        with serving(Redirecting(f"http://{real}/v2/a/b/blobs/{Digest.of(b'data')}"), Listening("127.0.0.1", 0)) as at:
            place = Repository(at, "a/b", True, Cancel())
            found = place.blob(Digest.of(b"data"), 4, tmp_path / "blob", Progress("t", Silent()))
            assert found.read_bytes() == b"data"


@pytest.mark.parametrize("place", PLAIN)
def test_a_web_server_with_tls_cannot_send_us_to_plain_http(
    certificate: tuple[Path, Path], store: Store, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
    with serving(Redirecting(place), Listening("127.0.0.1", 0, *certificate)) as address:
        with pytest.raises(TransportError, match="without encryption: refused"):
            HttpBackend(f"https://{address}/os", store, Cancel()).index("repository.yaml")
        with pytest.raises(TransportError, match="without encryption: refused"):
            Downloader(store, Cancel()).fetch(f"https://{address}/file", None)
