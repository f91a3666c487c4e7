"""Every repository backend, the same expectations: disk, and http against a real server."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from treebuilder.errors import ConfigError, IntegrityError, TransportError
from treebuilder.model.digest import Digest
from treebuilder.oci.store import Store
from treebuilder.repository import RepositoryBackend
from treebuilder.repository.disk import DiskBackend
from treebuilder.repository.http import HttpBackend
from treebuilder.system.process import Cancel

_DATA = b"what a file holds" * 100


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "repository"
    (place / "below").mkdir(parents=True)
    (place / "repository.yaml").write_bytes(b"name: x\n")
    (place / "below" / "a file+1").write_bytes(_DATA)
    return place


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "cache")
    yield made
    made.close()


@pytest.fixture(params=["disk", "http"])
def backend(request: pytest.FixtureRequest, folder: Path, store: Store) -> Iterator[RepositoryBackend]:
    if request.param == "disk":
        yield DiskBackend(folder, store, Cancel())
        return
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield HttpBackend(f"http://127.0.0.1:{server.server_address[1]}/", store, Cancel())
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_the_index_is_read_anew(backend: RepositoryBackend, folder: Path) -> None:
    assert backend.index("repository.yaml") == b"name: x\n"
    (folder / "repository.yaml").write_bytes(b"name: y\n")
    assert backend.index("repository.yaml") == b"name: y\n"


def test_no_index_is_none(backend: RepositoryBackend) -> None:
    assert backend.index("other.yaml") is None


def test_an_endless_index_is_refused(backend: RepositoryBackend, folder: Path) -> None:
    with (folder / "repository.yaml").open("wb") as out:
        out.truncate(5 << 20)
    with pytest.raises((IntegrityError, TransportError)):
        backend.index("repository.yaml")


def test_a_file_is_checked_and_kept(backend: RepositoryBackend, folder: Path, store: Store) -> None:
    digest = Digest.of(_DATA)
    assert backend.open("below/a file+1", digest, 1 << 20).read_bytes() == _DATA
    assert store.has_blob(digest)
    (folder / "below" / "a file+1").unlink()
    assert backend.open("below/a file+1", digest, 1 << 20).read_bytes() == _DATA


def test_a_damaged_blob_of_the_store_is_fetched_again(backend: RepositoryBackend, store: Store) -> None:
    digest = Digest.of(_DATA)
    backend.open("below/a file+1", digest, 1 << 20)
    store.blob_path(digest).write_bytes(b"rot")
    assert backend.open("below/a file+1", digest, 1 << 20).read_bytes() == _DATA


def test_other_bytes_are_refused(backend: RepositoryBackend, store: Store) -> None:
    wanted = Digest.of(b"something else")
    with pytest.raises(IntegrityError):
        backend.open("below/a file+1", wanted, 1 << 20)
    assert not store.has_blob(wanted)


def test_too_many_bytes_are_refused(backend: RepositoryBackend) -> None:
    with pytest.raises((IntegrityError, TransportError)):
        backend.open("below/a file+1", Digest.of(_DATA), 100)


def test_a_missing_file_is_a_transport_error(backend: RepositoryBackend) -> None:
    with pytest.raises(TransportError) as caught:
        backend.open("nothing", Digest.of(_DATA), 1 << 20)
    assert not caught.value.temporary


def test_disk_writes_whole_files_index_last(folder: Path, store: Store) -> None:
    backend = DiskBackend(folder / "new", store, Cancel())
    backend.put("a", b"1")
    assert backend.index("repository.yaml") is None
    backend.commit("repository.yaml", b"i")
    assert backend.index("repository.yaml") == b"i"
    backend.copy("a", "b")
    assert (folder / "new/b").read_bytes() == b"1"
    assert sorted(path.name for path in (folder / "new").iterdir()) == ["a", "b", "repository.yaml"]
    seen = backend.stat("b")
    assert seen is not None
    assert seen[0] == 1
    assert backend.stat("none") is None


def test_http_only_reads(store: Store) -> None:
    backend = HttpBackend("http://127.0.0.1:9", store, Cancel())
    with pytest.raises(ConfigError):
        backend.put("a", b"")
    with pytest.raises(ConfigError):
        backend.copy("a", "b")
    assert backend.stat("a") is None
    with pytest.raises(ConfigError):
        backend.commit("repository.yaml", b"")
