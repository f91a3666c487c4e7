"""After a power cut, which may leave files that were not synced empty under their names."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.trees import Project, requires
from treebuilder.model.digest import Digest
from treebuilder.oci.store import Store

pytestmark = pytest.mark.engine

STEPS = "steps:\n- zcat one-t-1.0.package.tar.gz > /dev/null && cat file > /o\n- echo NUMBER >> /o\n"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """The address of a file."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "file").write_text("fetched\n")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/file"
        server.shutdown()
        thread.join()


def emptied(cache: Path) -> int:
    """Empties every blob of a cache; how many had something in them."""
    found = [path for path in (cache / "blobs/sha256").iterdir() if path.stat().st_size]
    for path in found:
        path.write_bytes(b"")
    return len(found)


def test_a_build_goes_on_without_its_blobs(project: Project, site: str) -> None:
    project.package("t/one", requires("seed/base") + "steps:\n- echo 1 > /one\n")
    recipe = f"{requires('seed/base')}retrieve: [one-t-1.0.package.tar.gz, '{site}']\n{STEPS}"
    project.package("t/two", recipe.replace("NUMBER", "1"))
    assert project.building("t/two").code == 0
    assert emptied(project.top / project.cache) > 3
    project.package("t/two", recipe.replace("NUMBER", "2"))  # what it retrieves is as it was
    done = project.building("t/two")
    assert done.code == 0, done.stderr
    assert done.states()["t/two"] == "built"
    assert project.text("two-t-1.0", "o") == "fetched\n2\n"


@pytest.mark.parametrize("kind", ["registry", "folder"])
def test_what_is_pushed_is_packed_again(project: Project, address: str, kind: str) -> None:
    project.package("t/one", requires("seed/base") + "steps:\n- echo 1 > /one\n")
    assert project.building("t/one").code == 0
    assert emptied(project.top / project.cache) > 0
    to = ["--push", "--image-repository", f"{address}/cut/x"] if kind == "registry" else ["--cache-to", "shared"]
    done = project.building("t/one", *to)
    assert (done.code, "is built again" in done.stderr) == (0, True), done.stderr
    there = ["--pull", *to[1:]] if kind == "registry" else ["--cache-from", "shared"]
    project.cache = "two"
    other = project.run("build", "--tree", "packages", "t/one", "--destination", "other", *there)
    assert (other.code, other.states()["t/one"]) == (0, "pulled"), other.stderr


def test_a_blob_that_is_empty_is_written_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache")
    digest = store.add_blob(b"content")
    assert emptied(tmp_path / "cache") == 1
    assert store.add_blob(b"content") == digest == Digest.of(b"content")
    assert store.blob_path(digest).read_bytes() == b"content"
    store.close()
