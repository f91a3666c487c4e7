"""serve-repo: files with ranges, nothing from outside, and it stops."""

from __future__ import annotations

import http.client
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from treebuilder.errors import ConfigError
from treebuilder.serve.folder import Folder
from treebuilder.serve.server import Listening, Server, serving

_DATA = bytes(range(256)) * 40


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "served"
    (place / "below").mkdir(parents=True)
    (place / "below/a file+1").write_bytes(_DATA)
    (place / "repository.yaml").write_text("name: x\n")
    (tmp_path / "secret").write_text("secret")
    (place / "out").symlink_to("../secret")
    (place / "in").symlink_to("repository.yaml")
    os.mkfifo(place / "pipe")
    return place


@pytest.fixture
def server(folder: Path) -> Iterator[str]:
    with serving(Folder(folder), Listening("127.0.0.1", 0, headers={})) as address:
        yield address


def ask(address: str, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        reply = connection.getresponse()
        return reply.status, reply.read(), reply.headers
    finally:
        connection.close()


def test_a_file_is_served_whole(server: str) -> None:
    status, data, headers = ask(server, "/below/a%20file%2B1?x=1")
    assert (status, data) == (200, _DATA)
    assert headers["Accept-Ranges"] == "bytes"
    assert ask(server, "/in")[:2] == (200, b"name: x\n")
    status, data, headers = ask(server, "/below/a%20file+1", "HEAD")
    assert (status, data, headers["Content-Length"]) == (200, b"", str(len(_DATA)))


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("bytes=0-9", 0, 10), ("bytes=100-", 100, len(_DATA)), ("bytes=-7", len(_DATA) - 7, len(_DATA)),
     ("bytes=5-99999999", 5, len(_DATA))],
)  # fmt: skip
def test_a_range_is_served(server: str, asked: str, start: int, end: int) -> None:
    status, data, headers = ask(server, "/below/a%20file+1", Range=asked)
    assert (status, data) == (206, _DATA[start:end])
    assert headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(_DATA)}"


@pytest.mark.parametrize("asked", ["bytes=9-1", "lines=0-1", "bytes=x-", "bytes=-", "bytes=0-1,3-4"])
def test_a_range_that_means_nothing_is_ignored(server: str, asked: str) -> None:
    assert ask(server, "/below/a%20file+1", Range=asked)[:2] == (200, _DATA)


def test_a_range_behind_the_end_is_refused(server: str) -> None:
    status, _, headers = ask(server, "/repository.yaml", Range="bytes=8-")
    assert (status, headers["Content-Range"]) == (416, "bytes */8")


@pytest.mark.parametrize(
    "path", ["/../secret", "/%2e%2e/secret", "/below/../../secret", "/out", "/pipe", "/none", "/a%00"]
)
def test_nothing_else_is_served(server: str, path: str) -> None:
    assert ask(server, path)[0] == 404


def test_a_folder_lists_its_names(server: str) -> None:
    status, data, _ = ask(server, "/below/")
    assert status == 200
    assert b'href="./a%20file%2B1"' in data
    assert ask(server, "/below")[0] == 301


def test_other_methods_are_refused(server: str) -> None:
    for method in ("DELETE", "PUT", "POST"):
        status, _, headers = ask(server, "/repository.yaml", method)
        assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_a_taken_port_is_one_error(server: str, folder: Path) -> None:
    with pytest.raises(ConfigError, match="cannot listen"):
        Server(Folder(folder), Listening("127.0.0.1", int(server.rpartition(":")[2])))
    with pytest.raises(ConfigError, match="no folder"):
        Folder(folder / "none")
