"""Every repository backend, the same expectations: disk, http, and registries (Debian's and ours)."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.registries import registry_of
from treebuilder.errors import ConfigError, IntegrityError, TransportError
from treebuilder.model.digest import Digest
from treebuilder.oci.store import Store
from treebuilder.repository.api import RepositoryBackend
from treebuilder.repository.disk import DiskBackend
from treebuilder.repository.docker import DockerBackend
from treebuilder.repository.http import HttpBackend
from treebuilder.system.process import Cancel

_DATA = b"what a file holds" * 100


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        return


@dataclass
class Folder:
    """A repository that a folder is, whoever serves it."""

    path: Path

    def write(self, name: str, data: bytes) -> None:
        place = self.path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)

    def remove(self, name: str) -> None:
        (self.path / name).unlink()


@dataclass
class Tags:
    """A repository that is in a registry, written by somebody with a cache of their own."""

    address: str
    cache: Path

    def write(self, name: str, data: bytes) -> None:
        with opened(self.cache) as store:
            DockerBackend(f"{self.address}/a/repo", store, Cancel()).put(name, data)

    def remove(self, name: str) -> None:
        self.write(name, b"something else")  # not every registry deletes


@contextmanager
def opened(folder: Path) -> Iterator[Store]:
    made = Store(folder)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened(tmp_path / "cache") as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "repository"
    made.mkdir()
    return made


@contextmanager
def web(folder: Path) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(params=["disk", "http", "ours", "debian"])
def pair(
    request: pytest.FixtureRequest, folder: Path, store: Store, tmp_path: Path, no_logins: None
) -> Iterator[tuple[RepositoryBackend, Folder | Tags]]:
    if request.param == "disk":
        yield DiskBackend(folder, store, Cancel()), Folder(folder)
    elif request.param == "http":
        with web(folder) as url:
            yield HttpBackend(url, store, Cancel()), Folder(folder)
    else:
        with registry_of(request.param, tmp_path / "registry") as found:
            yield DockerBackend(f"{found}/a/repo", store, Cancel()), Tags(found, tmp_path / "other cache")


@pytest.fixture
def site(pair: tuple[RepositoryBackend, Folder | Tags]) -> Folder | Tags:
    """What is behind the backend, filled."""
    pair[1].write("repository.yaml", b"name: x\n")
    pair[1].write("below/a file+1", _DATA)
    return pair[1]


@pytest.fixture
def backend(pair: tuple[RepositoryBackend, Folder | Tags], site: Folder | Tags) -> RepositoryBackend:
    return pair[0]


def test_the_index_is_read_anew(backend: RepositoryBackend, site: Folder | Tags) -> None:
    assert backend.index("repository.yaml") == b"name: x\n"
    site.write("repository.yaml", b"name: y\n")
    assert backend.index("repository.yaml") == b"name: y\n"


def test_no_index_is_none(backend: RepositoryBackend) -> None:
    assert backend.index("other.yaml") is None


def test_an_endless_index_is_refused(backend: RepositoryBackend, site: Folder | Tags) -> None:
    site.write("repository.yaml", bytes(5 << 20))
    with pytest.raises((IntegrityError, TransportError)):
        backend.index("repository.yaml")


def test_a_file_is_checked_and_kept(backend: RepositoryBackend, site: Folder | Tags, store: Store) -> None:
    digest = Digest.of(_DATA)
    assert backend.open("below/a file+1", digest, 1 << 20).read_bytes() == _DATA
    assert store.has_blob(digest)
    site.remove("below/a file+1")
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


@contextmanager
def writer(kind: str, tmp_path: Path, store: Store) -> Iterator[RepositoryBackend]:
    if kind == "disk":
        yield DiskBackend(tmp_path / "new", store, Cancel())
        return
    with registry_of(kind, tmp_path / "registry") as found:
        yield DockerBackend(f"{found}/a/repo", store, Cancel())


@pytest.mark.parametrize("kind", ["disk", "ours", "debian"])
def test_writers_write_whole_files_index_last(kind: str, tmp_path: Path, store: Store) -> None:
    with writer(kind, tmp_path, store) as backend:
        backend.put("a", b"1")
        assert backend.index("repository.yaml") is None
        backend.commit("repository.yaml", b"i")
        assert backend.index("repository.yaml") == b"i"
        backend.copy("a", "b")
        assert backend.open("b", Digest.of(b"1"), 10).read_bytes() == b"1"
        backend.put("a", b"2")
        assert backend.open("a", Digest.of(b"2"), 10).read_bytes() == b"2"
        backend.commit("repository.yaml", b"j")
        assert backend.index("repository.yaml") == b"j"


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
