"""Servers that never come to an end: each answer here goes on for a while and is a good one then, which is too late."""

from __future__ import annotations

import itertools
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from treebuilder.build import shared_listing
from treebuilder.build.shared_listing import Listings
from treebuilder.errors import TransportError
from treebuilder.oci import connection, session
from treebuilder.oci.download import Downloader
from treebuilder.oci.remote import Repository
from treebuilder.oci.store import Store
from treebuilder.repository.fetching import Fetcher
from treebuilder.serve.exchange import Exchange
from treebuilder.serve.server import Listening, serving
from treebuilder.system.process import Cancel

_LIMIT_S = 0.25
_TURNS, _TURN_S = 40, 0.05  # 2 seconds
_OK = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"
_SENT = Callable[[socket.socket], None]
_HERE = {
    "a header": ([_OK], b"X", b": y\r\nContent-Length: 2\r\n\r\n{}"),
    "a status": ([], b"H", b""),
    "go on": ([], b"HTTP/1.1 100 Continue\r\n\r\n", _OK + b"Content-Length: 2\r\n\r\n{}"),
    "a chunk's size": ([_CHUNKED], b"0", b"2\r\n{}\r\n0\r\n\r\n"),
    "what follows": ([_CHUNKED, b"2\r\n{}\r\n0\r\n"], b"X: y\r\n", b"\r\n"),
    "chunks": ([_CHUNKED], b"1\r\n \r\n", b"2\r\n{}\r\n0\r\n\r\n"),
    "a body": ([_OK + b"Content-Length: %d\r\n\r\n" % (_TURNS + 2)], b" ", b"{}"),
}  # fmt: skip


@contextmanager
def server(
    *, begin: list[bytes], again: bytes, end: bytes, turns: int = _TURNS, ended: threading.Event | None = None
) -> Iterator[str]:  # fmt: skip
    """Answers every request with `begin`, many times `again`, and `end`; sets `ended` when it has got there."""
    stop = threading.Event()

    def one(peer: socket.socket) -> None:
        with peer, suppress(OSError):
            peer.recv(1 << 16)
            for data in (*begin, *itertools.repeat(again, turns), end):
                peer.sendall(data)
                if data is again and stop.wait(_TURN_S):
                    return
        if ended is not None:
            ended.set()

    def accept() -> None:
        with suppress(OSError):
            while True:
                peers.append(threading.Thread(target=one, args=(listening.accept()[0],)))
                peers[-1].start()

    peers: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            stop.set()
            listening.shutdown(socket.SHUT_RDWR)
            accepting.join()
    for thread in peers:
        thread.join()


@pytest.fixture(autouse=True)
def short_limits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(connection, "TRIES", 1)
    monkeypatch.setattr(connection, "BRIEF_S", _LIMIT_S)
    monkeypatch.setattr(session, "TIMEOUT_S", (5.0, _LIMIT_S))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize("brief", [True, False])
@pytest.mark.parametrize("how", _HERE)
def test_a_registry_that_never_comes_to_the_end(how: str, brief: bool) -> None:
    begin, again, end = _HERE[how]
    with server(begin=begin, again=again, end=end) as address:
        place = Repository(address, "a/b", True, Cancel())
        with pytest.raises(TransportError) as caught:
            if brief:
                place.manifest_bytes("x", None, brief=True)
            else:
                with place._request("GET", "manifests/x") as reply:
                    place._document(reply, "it")
        assert caught.value.temporary


@pytest.mark.parametrize("how", ["a header", "go on", "what follows"])
def test_downloads_and_web_servers(tmp_path: Path, how: str) -> None:
    begin, again, end = _HERE[how]
    with server(begin=begin, again=again, end=end) as address:
        url = f"http://{address}/f"
        store = Store(tmp_path / "cache")
        with pytest.raises(TransportError):
            Downloader(store, Cancel())._once(url, None, None)
        with pytest.raises(TransportError):
            Fetcher(store, Cancel(), {}, silent_s=_LIMIT_S, brief=True).small(url, 100)


def test_a_redirect_with_a_body_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but its place counts: it is followed when the time for a piece is over."""
    monkeypatch.setattr(session, "TIMEOUT_S", (5.0, 3.0))  # the good server may be slow
    ended = threading.Event()
    with server(begin=[_OK + b"Content-Length: 2\r\n\r\n{}"], again=b"", end=b"") as good:
        begin = [b"HTTP/1.1 302 Found\r\nLocation: http://%s/f\r\n\r\n" % good.encode()]
        with server(begin=begin, again=b"x", end=b"", turns=400, ended=ended) as address:
            Downloader(Store(tmp_path / "cache"), Cancel())._once(f"http://{address}/f", None, None)
            assert not ended.is_set()


def test_redirects_in_a_circle() -> None:
    begin = [b"HTTP/1.1 302 Found\r\nLocation: /v2/\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"]
    with server(begin=begin, again=b"", end=b"") as address, pytest.raises(TransportError, match="10 redirects"):
        Repository(address, "a/b", True, Cancel()).manifest_bytes("x", None, brief=True)


def test_one_time_for_a_list_of_tags_and_where_it_leads() -> None:
    """Each redirect is answered well within the time."""
    head = b"HTTP/1.1 302 Found\r\nLocation: /v2/\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    with server(begin=[], again=b"", end=head, turns=3) as address:
        with pytest.raises(TransportError) as caught:
            Repository(address, "a/b", True, Cancel()).tags(parts=3, brief=True)
        assert caught.value.temporary


def test_one_time_for_all_parts_of_a_list_of_tags() -> None:
    asked: list[str] = []

    class Site:
        def answer(self, exchange: Exchange) -> None:
            asked.append(exchange.path)
            data = json.dumps({"tags": [f"v{len(asked)}"]}).encode()
            link = f'</v2/a/b/tags/list?last=v{len(asked)}>; rel="next"'
            threading.Event().wait(0.1)
            exchange._head(200, {"Content-Length": str(len(data)), "Link": link})
            exchange._handler.wfile.write(data)

    with serving(Site(), Listening("127.0.0.1", 0)) as address, pytest.raises(TransportError) as caught:
        Repository(address, "a/b", True, Cancel()).tags(parts=30, brief=True)
    assert caught.value.temporary
    assert len(asked) <= _LIMIT_S / 0.1 + 1


def test_nobody_waits_for_a_list_that_another_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, go = threading.Event(), threading.Event()

    class Site:
        def answer(self, exchange: Exchange) -> None:
            asked.set()
            assert go.wait(60)
            data = b'{"tags": ["there"]}'
            exchange._head(200, {"Content-Length": str(len(data))})
            exchange._handler.wfile.write(data)

    monkeypatch.setattr(connection, "BRIEF_S", 30.0)
    listings = Listings()
    with serving(Site(), Listening("127.0.0.1", 0)) as address, ThreadPoolExecutor(1) as pool:
        place = Repository(address, "a/b", True, Cancel())
        for _ in range(shared_listing._ASKED):
            listings.missed(place)
        first = pool.submit(listings.lacks, place, "gone")
        assert asked.wait(60)
        listings.missed("another")
        assert not listings.lacks(place, "gone"), "who comes meanwhile asks for it"
        go.set()
        assert first.result(60)
        assert (listings.lacks(place, "gone"), listings.lacks(place, "there")) == (True, False)
