"""What a change says came from repositories is what their server sent: of archives, of patches, and of rests."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cases.test_delta import SIZE, change, package, publish
from tests.trees import Project

pytestmark = pytest.mark.engine


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("HOME", str(tmp_path))
    made = Project(tmp_path)
    made.base()
    return made


class Sent(http.server.ThreadingHTTPServer):
    """A folder behind HTTP. `sent` are the bytes of each body, by path; files may be asked for from a byte on."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.sent = folder, dict[str, int]()
        super().__init__(("127.0.0.1", 0), Handler)

    def packages(self) -> int:
        """Of archives and patches, since it was last asked."""
        count = sum(size for path, size in self.sent.items() if ".package.tar" in path or path.endswith(".delta"))
        self.sent.clear()
        return count


class Handler(http.server.BaseHTTPRequestHandler):
    server: Sent

    def do_GET(self) -> None:
        path = self.server.folder / self.path.lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        data = path.read_bytes()
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        self.server.sent[self.path] = self.server.sent.get(self.path, 0) + len(data) - start
        self.wfile.write(data[start:])

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, Sent]]:
    with Sent(folder) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", server
        finally:
            server.shutdown()
            thread.join()


def test_archives_patches_and_rests_are_counted(project: Project) -> None:
    package(project, "1.0")
    publish(project, "build")
    with served(project.build) as (url, server):
        archive = (project.build / "app-t-1.0.package.tar.zst").read_bytes()
        planned = change(project, "http", url, "install", "t/app", "--dry-run")
        assert (planned.value["fetched_bytes"], server.packages()) == (0, 0)
        part = project.top / "client/partial" / hashlib.sha256(archive).hexdigest()
        part.parent.mkdir(exist_ok=True)
        part.write_bytes(archive[:100_000])
        loaded = change(project, "http", url, "install", "t/app", "--download-only")
        assert loaded.value["fetched_bytes"] == server.packages() == len(archive) - 100_000
        installed = change(project, "http", url, "install", "t/app")
        assert (installed.value["fetched_bytes"], server.packages()) == (0, 0)
        package(project, "1.1", 1000)
        publish(project, "build")
        upgraded = change(project, "http", url, "upgrade")
        assert (project.top / "root/data").stat().st_size == SIZE
        assert any(path.endswith(".delta") for path in server.sent)
        assert 0 < upgraded.value["fetched_bytes"] == server.packages() < 4000
        # A patch that is no good came all the same, and the archive after it.
        package(project, "1.2", 1000)
        publish(project, "build")
        for path in (project.build / "deltas").iterdir():
            path.write_bytes(path.read_bytes()[:-1] + b"!")
        again = change(project, "http", url, "upgrade")
        assert "is not used, all of it is fetched" in again.stderr
        assert again.value["fetched_bytes"] == server.packages() > len(archive) // 2


def test_a_part_that_is_none_is_counted_again(project: Project) -> None:
    package(project, "1.0")
    publish(project, "build")
    with served(project.build) as (url, server):
        archive = (project.build / "app-t-1.0.package.tar.zst").read_bytes()
        change(project, "http", url, "install", "t/app", "--dry-run")
        part = project.top / "client/partial" / hashlib.sha256(archive).hexdigest()
        part.parent.mkdir(exist_ok=True)
        part.write_bytes(b"?" * 100_000)
        done = change(project, "http", url, "install", "t/app")
        assert done.value["fetched_bytes"] == server.packages() == 2 * len(archive) - 100_000
