"""Servers that say of files that they are compressed on their way, truly or not: what the digest names counts."""

from __future__ import annotations

import gzip
import http.server
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from treebuilder.errors import IntegrityError, TransportError
from treebuilder.model.digest import Digest
from treebuilder.oci.download import Downloader
from treebuilder.oci.store import Store
from treebuilder.repository.fetching import Fetcher
from treebuilder.repository.http import HttpBackend
from treebuilder.system.process import Cancel

_PLAIN = os.urandom(1 << 19) + bytes(1 << 19)
_GZ = gzip.compress(_PLAIN, mtime=0)
_FILES = {"/tree.tar.gz": _GZ, "/tree.tar": _PLAIN, "/other.tar.gz": gzip.compress(_GZ)[:-99], "/index.yaml": b"a: 1\n"}


class Labelled(http.server.ThreadingHTTPServer):
    """`.gz` has the content encoding that Apache gives it; with `packs` all else is compressed on its way, too. Each
    answer ends after `most` bytes."""

    daemon_threads = True
    packs = False
    most = 1 << 30
    label = "x-gzip"


class _Answers(http.server.BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        return

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Labelled)
        data, start = _FILES[self.path], int(self.headers.get("Range", "bytes=0-")[6:-1])
        if server.packs and not self.path.endswith(".gz"):
            data = gzip.compress(data, mtime=0)
        self.send_response(206 if start else 200)
        if server.packs or self.path.endswith(".gz"):
            self.send_header("Content-Encoding", server.label)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start : start + server.most])


@pytest.fixture
def server() -> Iterator[Labelled]:
    with Labelled(("127.0.0.1", 0), _Answers) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def backend(server: Labelled, tmp_path: Path) -> Iterator[HttpBackend]:
    store = Store(tmp_path / "store")
    yield HttpBackend(f"http://127.0.0.1:{server.server_address[1]}", store, Cancel())
    store.close()


@pytest.mark.parametrize("label", ["gzip", "x-gzip", "GZIP"])
@pytest.mark.parametrize("most", [1 << 30, 1 << 18])
def test_a_file_with_its_own_compression_for_a_label(
    server: Labelled, backend: HttpBackend, label: str, most: int
) -> None:
    server.label, server.most = label, most  # whole, and resumed
    assert backend.open("tree.tar.gz", Digest.of(_GZ), 1 << 30).read_bytes() == _GZ


def test_a_server_that_compresses_whatever_it_is_asked(server: Labelled, backend: HttpBackend) -> None:
    server.packs, server.most = True, 1 << 18
    assert backend.open("tree.tar", Digest.of(_PLAIN), 1 << 30).read_bytes() == _PLAIN
    server.most = 1 << 30
    assert backend.index("index.yaml") == b"a: 1\n"


@pytest.mark.parametrize(
    ("name", "wanted", "most"),
    [("tree.tar.gz", b"?", 1 << 30), ("other.tar.gz", _GZ, 1 << 30), ("tree.tar.gz", _PLAIN, len(_GZ))],
    ids=["something else", "cut", "too long"],
)
def test_what_is_neither_is_refused(backend: HttpBackend, tmp_path: Path, name: str, wanted: bytes, most: int) -> None:
    with pytest.raises(IntegrityError, match="not what its repository promises"):
        backend.open(name, Digest.of(wanted), most)
    assert list((tmp_path / "store/partial").iterdir()) == []


def test_what_a_build_downloads_is_the_file(server: Labelled, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{server.server_address[1]}/tree.tar.gz"
    store = Store(tmp_path / "store")
    assert Downloader(store, Cancel()).fetch(url, None) == Digest.of(_GZ)
    server.most = 1 << 10
    with pytest.raises(TransportError) as caught:
        Downloader(store, Cancel())._once(url, None, None)
    assert caught.value.temporary
    store.close()


def test_a_server_that_is_not_there_is_said_in_short(tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        store = Store(tmp_path / "store")
        with pytest.raises(TransportError) as caught:
            Fetcher(store, Cancel(), {}, brief=True).small(f"{url}/x", 1 << 20)
        store.close()
    assert caught.value.message == f"{url}/x: it cannot be reached: Connection refused"
