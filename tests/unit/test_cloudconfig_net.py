"""What cloud-config fetches: keys and sources, and the limits of it."""

from __future__ import annotations

import base64
import io
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from time import sleep

import pytest

from tests.unit.cloud_parts import Web, web
from treebuilder.cloudconfig.ask import Ask, shown
from treebuilder.cloudconfig.command import main
from treebuilder.cloudconfig.net import fetch, fetch_into
from treebuilder.cloudconfig.stages import Runner, run_stage
from treebuilder.errors import ConfigError, TransportError


@pytest.fixture
def site() -> Iterator[Web]:
    with web() as made:
        yield made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    (made / "etc").mkdir(parents=True)
    (made / "etc/passwd").write_text(f"u:x:{os.getuid()}:{os.getgid()}::/home/u:/bin/sh\n")
    return made


# the client ---------------------------------------------------------------------------------------------------------
def test_a_body_and_what_was_asked(site: Web) -> None:
    site.pages = {"/a": b"text", "/b": (302, {"Location": "/a"}, b"")}
    assert fetch(Ask(site.url("/b"), headers={"X-Mine": "1"})) == b"text"
    assert site.headers["/a"]["x-mine"] == "1"
    assert "authorization" not in site.headers["/a"]
    assert fetch(Ask(site.url("/a").replace("//", "//ann:p%40ss@"))) == b"text"
    assert site.headers["/a"]["authorization"] == f"Basic {base64.b64encode(b'ann:p@ss').decode()}"
    assert site.asked == ["GET /b", "GET /a", "GET /a"]


def test_temporary_failures_are_tried_again_and_others_not(site: Web) -> None:
    site.pages = {"/a": [(503, {}, b""), (200, {}, b"late")], "/no": (403, {}, b"")}
    assert fetch(Ask(site.url("/a")), tries=2, pause_s=0) == b"late"
    with pytest.raises(TransportError) as caught:
        fetch(Ask(site.url("/no")), tries=3, pause_s=0)
    assert (caught.value.status, site.asked.count("GET /no")) == (403, 1)


def test_too_much_too_little_and_too_long(site: Web) -> None:
    site.pages = {"/big": b"x" * 100, "/cut": (200, {"Content-Length": "50"}, b"x")}
    with pytest.raises(TransportError, match="larger than 99 bytes"):
        fetch(Ask(site.url("/big"), limit_bytes=99))
    assert fetch(Ask(site.url("/big"), limit_bytes=100)) == b"x" * 100
    with pytest.raises(TransportError):
        fetch(Ask(site.url("/cut")))
    with pytest.raises(TransportError, match="took longer"):
        fetch(Ask(site.url("/big"), total_s=-1))


@contextmanager
def talker(first: bytes, again: bytes, pause_s: float) -> Iterator[str]:
    """A server that says `again` until nobody listens. Its URL."""
    server = socket.create_server(("127.0.0.1", 0))

    def talk() -> None:
        made, _ = server.accept()
        with made:
            made.recv(4096)
            try:
                made.sendall(first)
                while True:
                    made.sendall(again)
                    sleep(pause_s)
            except OSError:
                return

    thread = Thread(target=talk)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
    finally:
        thread.join()
        server.close()


@pytest.mark.parametrize(
    ("first", "again", "pause_s"),
    [(b"HTTP/1.1 200 OK\r\n", b"X", 0.05), (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 50, 0.0),
     (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", b"a: b\r\n" * 50, 0.0),
     (b"HTTP/1.1 200 OK\r\n\r\n", b"x", 0.05)],
)  # fmt: skip
def test_nobody_is_listened_to_for_ever(first: bytes, again: bytes, pause_s: float) -> None:
    with (
        talker(first, again, pause_s) as url,
        pytest.raises(TransportError, match=r"took longer than 0\.3 s") as caught,
    ):
        fetch(Ask(url, socket_s=5, total_s=0.3))
    assert caught.value.temporary


def test_the_body_of_a_redirect_is_not_read(site: Web) -> None:
    site.pages = {"/a": b"text"}
    head = f"HTTP/1.1 302 Found\r\nLocation: {site.url('/a')}\r\n\r\n".encode()
    with talker(head, b"x" * 1000, 0.0) as url:
        assert fetch(Ask(url, total_s=20)) == b"text"


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x/"])
def test_a_redirect_leads_to_http_only(site: Web, place: str) -> None:
    site.pages = {"/a": (302, {"Location": place}, b"")}
    with pytest.raises(TransportError):
        fetch(Ask(site.url("/a")))


def test_a_password_is_not_taken_to_another_server(site: Web) -> None:
    with web() as other:
        other.pages = {"/b": b"there"}
        site.pages = {"/a": (302, {"Location": other.url("/b")}, b"")}
        assert fetch(Ask(site.url("/a"), headers={"Authorization": "secret", "X-Mine": "1"})) == b"there"
        assert "authorization" not in other.headers["/b"]
        assert site.headers["/a"]["authorization"] == "secret"


@pytest.mark.parametrize("url", ["file:///x", "http://", "http://[x", "http://h:port/", "http://127.0.0.1:1/a\nb"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises((ConfigError, TransportError)):
        fetch_into(Ask(url), io.BytesIO())


def test_nobody_there() -> None:
    with pytest.raises(TransportError) as caught:
        fetch(Ask("http://name:word@127.0.0.1:1/"))
    assert caught.value.temporary
    assert "word" not in caught.value.message
    assert shown("http://name:word@host/p@th") == "http://host/p@th"


def test_a_proxy_of_the_environment_is_used_unless_told_not_to(site: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", site.url(""))
    monkeypatch.delenv("no_proxy", raising=False)
    site.pages = {"http://there.invalid/x": b"by proxy"}
    assert fetch(Ask("http://there.invalid/x")) == b"by proxy"
    with pytest.raises(TransportError):
        fetch(Ask("http://there.invalid/x", proxied=False))


# keys ---------------------------------------------------------------------------------------------------------------
def test_keys_of_forges_are_asked_for_there(root: Path, site: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", site.url(""))
    monkeypatch.delenv("no_proxy", raising=False)
    runner = Runner(root)
    runner.read(["stages: {default: [{authorized_keys: {u: ['github:some-one', 'gitlab:x']}}]}"])
    runner.run("default")
    assert set(site.asked) == {"CONNECT github.com:443", "CONNECT gitlab.com:443"}
    assert [str(err.where) for err in runner.errors] == ["<argument>:1"] * 2


def test_keys_behind_a_url(root: Path, site: Web) -> None:
    site.pages = {"/k": b"# mine\nssh-ed25519 AAAA me\n\necdsa-sha2-nistp256 BBBB=\n", "/page": b"<html>\nssh-rsa AA\n"}
    for _ in range(2):
        runner = Runner(root)
        urls = f"['{site.url('/page')}', '{site.url('/k')}', 'ssh-rsa ZZ own']"
        runner.read([f"stages: {{default: [{{authorized_keys: {{u: {urls}}}}}]}}"])
        runner.run("default")
        assert [err.reason for err in runner.errors] == ["keys"]
    found = (root / "home/u/.ssh/authorized_keys").read_text()
    assert found == "ssh-ed25519 AAAA me\necdsa-sha2-nistp256 BBBB=\nssh-rsa ZZ own\n"


# sources ------------------------------------------------------------------------------------------------------------
def test_a_url_is_a_source(root: Path, site: Web) -> None:
    site.pages = {"/c.yaml": b"stages: {boot: [{hostname: far}]}", "/bad": b"\xff\xfe"}
    errors = run_stage("boot", [site.url("/c.yaml"), site.url("/bad"), str(root / "none")], root=root)
    assert (root / "etc/hostname").read_text() == "far\n"
    assert [err.reason for err in errors] == ["encoding"]


def test_urls_are_kept_for_later(tmp_path: Path, site: Web, capsys: pytest.CaptureFixture[str]) -> None:
    site.pages = {"/b.yaml": b"stages: {}\n", "/a.yaml": b"name: a\n"}
    kept = tmp_path / "kept"
    urls = [site.url("/b.yaml"), site.url("/none"), site.url("/a.yaml")]
    assert main(["--save", str(kept), *urls]) == 1
    assert "/none" in capsys.readouterr().err
    assert {path.name: path.read_text() for path in kept.iterdir()} == {
        "000.yaml": "stages: {}\n", "002.yaml": "name: a\n"
    }  # fmt: skip
    assert {path.stat().st_mode & 0o777 for path in (kept, *kept.iterdir())} == {0o700, 0o600}
    assert site.asked == ["GET /b.yaml", "GET /none", "GET /a.yaml"]
    assert main(["--save", str(tmp_path / "other"), "boot"]) == 1
    assert not any((tmp_path / "other").iterdir())
