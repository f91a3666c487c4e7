"""What a web server can do to a client: one clear error each, nothing half written, what broke off is resumed."""

from __future__ import annotations

import base64
import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from treebuilder.errors import ConfigError, IntegrityError, NoSpace, TransportError
from treebuilder.events import Recorder, Warned
from treebuilder.model.digest import Digest
from treebuilder.oci.arriving import Total
from treebuilder.oci.store import Store
from treebuilder.records import replace
from treebuilder.repository import RepositorySource, sync
from treebuilder.repository.fetching import Fetcher, authorization
from treebuilder.repository.http import HttpBackend
from treebuilder.system.process import Cancel
from treebuilder.trust.index import Signing, Statement, signature_document
from treebuilder.trust.keys import new_key
from treebuilder.trust.policy import UNVERIFIED, Trust, Unsigned

_DATA = bytes(range(256)) * 4096
_DIGEST = Digest.of(_DATA)
_INDEX = f"""name: x
type: http
revision: 3
repo_files:
  tree: {{filename: t, checksums: {{sha256: {_DIGEST.hex}}}, compressiontype: none}}
  meta: {{filename: m, checksums: {{sha256: {_DIGEST.hex}}}, compressiontype: none}}
""".encode()


class Script(http.server.ThreadingHTTPServer):
    """Answers as its `way` says, and writes down what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.way = "plain"
        self.asked: list[tuple[str, str, str]] = []
        self.signature = b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Answers(http.server.BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        return

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Script)
        asked = self.headers.get("Range", "")
        server.asked.append((self.path, asked, self.headers.get("Authorization", "")))
        data = _INDEX if self.path.endswith(".yaml") else _DATA
        if self.path.endswith(".sig"):
            if not server.signature:
                self._missing(b"", 0)
                return
            data = server.signature
        getattr(self, f"_{server.way}")(data, int(asked[6:-1]) if asked else 0)

    def _head(self, status: int, size: int, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(size))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def _plain(self, data: bytes, start: int) -> None:
        self._head(200, len(data))
        self.wfile.write(data)

    def _breaks(self, data: bytes, start: int) -> None:
        """A quarter of the whole with each answer."""
        rest = data[start:]
        self._head(206 if start else 200, len(rest))
        self.wfile.write(rest[: len(data) // 4])

    def _stalls(self, data: bytes, start: int) -> None:
        self._head(200, len(data))
        self.wfile.write(data[:10])
        self.wfile.flush()
        time.sleep(1.5)

    def _redirects(self, data: bytes, start: int) -> None:
        self._head(302, 0, Location="file:///etc/passwd")

    def _missing(self, data: bytes, start: int) -> None:
        self._head(404, 0)

    def _endless(self, data: bytes, start: int) -> None:
        self._head(200, 1 << 40)
        for _ in range(40):
            self.wfile.write(data)

    def _unsaid(self, data: bytes, start: int) -> None:
        """Without a length, and without an end."""
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(1000):
                self.wfile.write(data)
        except OSError:  # nobody listens on
            return

    def _other(self, data: bytes, start: int) -> None:
        self._head(206 if start else 200, len(data) - start)
        self.wfile.write(b"x" * (len(data) - start))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "cache")
    yield made
    made.close()


@pytest.fixture
def server() -> Iterator[Script]:
    made = Script()
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def parts(store: Store) -> list[Path]:
    folder = store.folder / "partial"
    return list(folder.iterdir()) if folder.is_dir() else []


def test_what_breaks_off_is_resumed(server: Script, store: Store) -> None:
    server.way = "breaks"
    path = HttpBackend(server.url, store, Cancel()).open("f", _DIGEST, 1 << 30)
    assert path.read_bytes() == _DATA
    step = len(_DATA) // 4
    assert [asked for _, asked, _ in server.asked] == ["", *(f"bytes={step * n}-" for n in (1, 2, 3))]
    assert parts(store) == []


def test_another_run_goes_on_where_one_was_killed(server: Script, store: Store) -> None:
    (store.folder / "partial").mkdir()
    (store.folder / "partial" / _DIGEST.hex).write_bytes(_DATA[: len(_DATA) - 9])
    server.way = "breaks"
    HttpBackend(server.url, store, Cancel()).open("f", _DIGEST, 1 << 30)
    assert [asked for _, asked, _ in server.asked] == [f"bytes={len(_DATA) - 9}-"]


def test_a_beginning_of_something_else_is_thrown_away(server: Script, store: Store) -> None:
    (store.folder / "partial").mkdir()
    (store.folder / "partial" / _DIGEST.hex).write_bytes(b"other")
    assert HttpBackend(server.url, store, Cancel()).open("f", _DIGEST, 1 << 30).read_bytes() == _DATA


@pytest.mark.parametrize(("way", "there"), [("plain", b""), ("breaks", b""), ("breaks", None), ("other", b"else")])
def test_who_waits_sees_the_bytes_come(server: Script, store: Store, way: str, there: bytes | None) -> None:
    (store.folder / "partial").mkdir()
    beginning = _DATA[:-9] if there is None else there
    if beginning:
        (store.folder / "partial" / _DIGEST.hex).write_bytes(beginning)
    server.way = "plain" if way == "other" else way
    seen: list[tuple[int, int]] = []
    total = Total(lambda done, expected: seen.append((done, expected)))
    HttpBackend(server.url, store, Cancel()).open("f", _DIGEST, 1 << 30, total.file())
    assert seen[-1] == (len(_DATA), len(_DATA))
    assert all(done <= len(_DATA) for done, _ in seen)
    assert len(seen) > 2 or there is None


@pytest.mark.parametrize(
    ("way", "kind"),
    [
        ("redirects", TransportError),
        ("missing", TransportError),
        ("endless", TransportError),
        ("other", IntegrityError),
    ],
)
def test_bad_servers_leave_nothing(server: Script, store: Store, way: str, kind: type[Exception]) -> None:
    server.way = way
    with pytest.raises(kind):
        HttpBackend(server.url, store, Cancel()).open("f", _DIGEST, 2 * len(_DATA))
    assert parts(store) == []
    assert not store.has_blob(_DIGEST)
    assert len(server.asked) == 1


def test_an_answer_without_a_length_has_a_bound(
    server: Script, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr("treebuilder.repository.fetching._UNSAID_BYTES", 3 * len(_DATA))
    server.way = "unsaid"
    with pytest.raises(TransportError, match=f"longer than {3 * len(_DATA)} bytes"):
        HttpBackend(server.url, store, Cancel()).open("f", _DIGEST, 1 << 40)
    assert parts(store) == []


def test_a_file_that_the_disk_cannot_hold_is_not_begun(server: Script, store: Store) -> None:
    server.way = "endless"
    with pytest.raises(NoSpace, match=f"{1 << 40} bytes more"):
        HttpBackend(server.url, store, Cancel()).open("f", _DIGEST, 1 << 50)
    assert parts(store) == []


def test_a_file_for_which_no_room_is_left_on_the_way_goes(
    server: Script, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr("treebuilder.repository.fetching._LOOK_BYTES", len(_DATA))
    monkeypatch.setattr("treebuilder.repository.fetching._SPARE_BYTES", 1 << 60)
    server.way = "unsaid"
    with pytest.raises(NoSpace, match="no space left"):
        HttpBackend(server.url, store, Cancel()).open("f", _DIGEST, 1 << 40)
    assert parts(store) == []


def test_a_server_that_says_nothing_is_given_up(server: Script, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    server.way = "stalls"
    monkeypatch.setattr("treebuilder.repository.fetching._TRIES", 1)
    with pytest.raises(TransportError) as caught:
        Fetcher(store, Cancel(), {}, silent_s=0.2).fetch(f"{server.url}/f", _DIGEST, 1 << 30)
    assert "said nothing" in caught.value.message
    assert not store.has_blob(_DIGEST)


def test_the_repositorys_login_is_sent(server: Script, store: Store) -> None:
    pair = base64.b64encode(b"me:pass").decode()
    for auth, sent in (
        ({"token": "t"}, "token t"), ({"basic": "abc"}, "Basic abc"),
        ({"username": "me", "password": "pass"}, f"Basic {pair}"), ({}, ""),
    ):  # fmt: skip
        assert authorization(auth).get("Authorization", "") == sent
        HttpBackend(server.url, store, Cancel(), auth).index("repository.yaml")
        assert server.asked[-1][2] == sent


def test_a_cached_repository_outlives_its_server(server: Script, store: Store) -> None:
    events = Recorder()
    source = RepositorySource("x", "http", (server.url,), auth=(("token", "t"),), cached=True, trust=UNVERIFIED)
    assert sync(source, store, events, Cancel()).index.revision == 3
    server.way = "redirects"
    assert sync(source, store, events, Cancel()).index.revision == 3
    assert any("last read" in event.message for event in events.events if isinstance(event, Warned))
    with pytest.raises(TransportError):
        sync(RepositorySource("x", "http", (server.url,), trust=UNVERIFIED), store, events, Cancel())


_KEY = new_key()
_TRUST = Trust((_KEY.public,))


def signed(revision: int = 3, expires_s: int = 1000, index: bytes = _INDEX) -> bytes:
    said = Statement("x", "repository.yaml", Digest.of(index), revision, expires_s)
    return signature_document(said, Signing((_KEY,), expires_s))


def test_a_repository_without_keys_is_refused_before_anything_is_asked(server: Script, store: Store) -> None:
    with pytest.raises(ConfigError) as caught:
        sync(RepositorySource("x", "http", (server.url,)), store, Recorder(), Cancel())
    assert caught.value.reason == "no-keys"
    assert server.asked == []


@pytest.mark.parametrize(("unsigned", "said"), [("warn", "no keys"), ("insecure", "--insecure"), ("accept", "")])
def test_or_it_is_used_with_a_warning_or_without(
    server: Script, store: Store, unsigned: Unsigned, said: str
) -> None:  # fmt: skip
    events = Recorder()
    source = RepositorySource("x", "http", (server.url,), trust=Trust(unsigned=unsigned))
    assert sync(source, store, events, Cancel()).index.revision == 3
    told = [event.message for event in events.events if isinstance(event, Warned)]
    assert [said in message for message in told] == ([True] if said else [])


def test_a_signed_repository_outlives_its_server_until_it_expires(server: Script, store: Store) -> None:
    source = RepositorySource("x", "http", (server.url,), cached=True, trust=_TRUST)
    with pytest.raises(IntegrityError) as caught:
        sync(source, store, Recorder(), Cancel(), now_s=999)
    assert caught.value.reason == "unsigned"
    server.signature = signed()
    assert sync(source, store, Recorder(), Cancel(), now_s=999).index.revision == 3
    server.way = "redirects"
    assert sync(source, store, Recorder(), Cancel(), now_s=999).index.revision == 3
    with pytest.raises(IntegrityError) as caught:
        sync(source, store, Recorder(), Cancel(), now_s=1000)
    assert caught.value.reason == "expired"


def test_what_was_read_without_keys_does_not_stand_in_for_what_is_signed(server: Script, store: Store) -> None:
    source = RepositorySource("x", "http", (server.url,), cached=True, trust=UNVERIFIED)
    sync(source, store, Recorder(), Cancel())
    server.way = "redirects"
    with pytest.raises(IntegrityError) as caught:
        sync(replace(source, trust=_TRUST), store, Recorder(), Cancel(), now_s=1)
    assert caught.value.reason == "unsigned"


def test_a_refused_index_leaves_what_was_read_last(server: Script, store: Store) -> None:
    source = RepositorySource("x", "http", (server.url,), cached=True, trust=_TRUST)
    server.signature = signed()
    sync(source, store, Recorder(), Cancel(), now_s=1)
    server.signature = signed(revision=2)
    with pytest.raises(IntegrityError) as caught:
        sync(source, store, Recorder(), Cancel(), now_s=1)
    assert caught.value.reason == "rolled-back"
    server.way = "redirects"
    assert sync(source, store, Recorder(), Cancel(), now_s=1).index.revision == 3


def test_an_endless_signature_is_refused(server: Script, store: Store) -> None:
    server.signature = b"x" * (5 << 20)
    source = RepositorySource("x", "http", (server.url,), trust=_TRUST)
    with pytest.raises((IntegrityError, TransportError)):
        sync(source, store, Recorder(), Cancel(), now_s=1)
