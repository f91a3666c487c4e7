"""Build contexts: what is listed, what changes the digest, what is refused, and what is not read twice."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from treebuilder.errors import Place, SpecError
from treebuilder.events import Silent
from treebuilder.model.digest import Digest
from treebuilder.tree import FileStamp, MemoryIndex, SpecIndex, load_tree
from treebuilder.tree.context import context_digest
from treebuilder.tree.snapshot import scan

DEFINITION = 'name: x\ncategory: app\nversion: "1"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A package's folder in a tree."""
    made = tmp_path / "tree/x"
    made.mkdir(parents=True)
    (made / "definition.yaml").write_text(DEFINITION)
    (made / "sub").mkdir()
    (made / "sub/file").write_text("content")
    (made / "link").symlink_to("sub/file")
    (made / "empty").mkdir()
    return made


def digest(folder: Path, index: SpecIndex | None = None) -> Digest:
    tree = load_tree([folder.parent], events=Silent(), index=index)
    return tree.context_digest(tree.packages[0])


def test_the_listing(folder: Path) -> None:
    (folder / "sub/file").chmod(0o4755)
    (folder / "Z").write_text("")
    tree = load_tree([folder.parent], events=Silent())
    files = tree.context_files(tree.packages[0])
    assert [(f.path, f.type, f.size, f.target) for f in files] == [
        ("Z", "file", 0, ""), ("definition.yaml", "file", len(DEFINITION), ""), ("empty", "dir", 0, ""),
        ("link", "link", 0, "sub/file"), ("sub", "dir", 0, ""), ("sub/file", "file", 7, ""),
    ]  # fmt: skip
    assert files[5].mode == 0o4755
    assert files[5].digest == Digest.of(b"content")
    assert files[3].digest is None


def test_names_of_every_kind(folder: Path) -> None:
    for name in (b"\xff\xfe", "é ü".encode(), b"new\nline", b"-dash", b"a\\b", b"$x"):
        with open(os.fsencode(folder) + b"/" + name, "wb") as file:
            file.write(name)
    tree = load_tree([folder.parent], events=Silent())
    paths = [os.fsencode(f.path) for f in tree.context_files(tree.packages[0])]
    assert paths == sorted(paths)
    assert {b"\xff\xfe", b"new\nline", b"a\\b"} <= set(paths)


def _replace_link(folder: Path, target: str | None) -> None:
    (folder / "link").unlink()
    if target is None:
        (folder / "link").write_text("sub/file")
    else:
        (folder / "link").symlink_to(target)


CHANGES: list[tuple[str, Callable[[Path], object]]] = [
    ("content", lambda f: (f / "sub/file").write_text("cONtent")),
    ("mode", lambda f: (f / "sub/file").chmod(0o755)),
    ("folder mode", lambda f: (f / "sub").chmod(0o700)),
    ("new file", lambda f: (f / "new").touch()),
    ("new folder", lambda f: (f / "sub/new").mkdir()),
    ("name", lambda f: (f / "sub/file").rename(f / "sub/File")),
    ("link target", lambda f: _replace_link(f, "sub")),
    ("link to file", lambda f: _replace_link(f, None)),
    ("folder gone", lambda f: (f / "empty").rmdir()),
    ("definition", lambda f: (f / "definition.yaml").write_text(DEFINITION + "more: 1\n")),
]


@pytest.mark.parametrize("change", [change for _, change in CHANGES], ids=[name for name, _ in CHANGES])
def test_what_commands_can_see_is_in_the_digest(folder: Path, change: Callable[[Path], object]) -> None:
    index = MemoryIndex()
    before = digest(folder, index)
    change(folder)
    assert digest(folder, index) != before
    assert digest(folder, index) == digest(folder)


def test_times_and_places_are_not_in_the_digest(folder: Path, tmp_path: Path) -> None:
    before = digest(folder)
    os.utime(folder / "sub/file", (1, 1))
    os.utime(folder, (1, 1))
    assert digest(folder) == before
    folder.parent.rename(tmp_path / "moved")
    assert digest(tmp_path / "moved/x") == before


@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside", "sub/../../..", "/nowhere"])
def test_a_link_that_leads_out(folder: Path, target: str) -> None:
    (folder / "sub/bad").symlink_to(target)
    with pytest.raises(SpecError) as caught:
        digest(folder)
    assert caught.value.reason == "context-escape"
    assert caught.value.where == Place(f"{folder}/sub/bad")
    assert target in caught.value.message


def test_links_that_stay_inside(folder: Path) -> None:
    (folder / "sub/up").symlink_to("../link")
    (folder / "sub/self").symlink_to("../sub")
    (folder / "dangling").symlink_to("not/there")
    (folder / "loop").symlink_to("loop")
    tree = load_tree([folder.parent], events=Silent())
    targets = {f.path: f.target for f in tree.context_files(tree.packages[0]) if f.type == "link"}
    assert targets["sub/up"] == "../link"
    assert targets["dangling"] == "not/there"


def test_a_link_to_a_specfile_may_lead_anywhere_in_the_tree(folder: Path, tmp_path: Path) -> None:
    shared = folder.parent / "shared"
    shared.mkdir()
    (shared / "build.yaml").write_text("steps: [echo shared]\n")
    (folder / "build.yaml").symlink_to("../shared/build.yaml")
    tree = load_tree([folder.parent], events=Silent())
    found = next(package for package in tree.packages if package.folder == folder.name)
    assert [step.command for step in found.recipe.steps] == ["echo shared"]
    links = {f.path: f.target for f in tree.context_files(found) if f.type == "link"}
    assert links["build.yaml"] == "../shared/build.yaml"
    (tmp_path / "out.yaml").write_text("")
    for out in ("../../out.yaml", tmp_path / "out.yaml", shared / "build.yaml"):  # a tree may be moved
        (folder / "build.yaml").unlink()
        (folder / "build.yaml").symlink_to(out)
        with pytest.raises(SpecError) as caught:
            context_digest(scan(folder.parent), folder.name, None)
        assert caught.value.reason == "context-escape"


def test_what_a_linked_specfile_says_is_in_the_digest(folder: Path) -> None:
    index = MemoryIndex()
    shared = folder.parent / "shared.yaml"
    shared.write_text("description: one\n")
    (folder / "finalize.yaml").symlink_to("../shared.yaml")
    before = context_digest(scan(folder.parent), folder.name, index)
    assert context_digest(scan(folder.parent), folder.name, index) == before
    shared.write_text("description: two\n")
    after = context_digest(scan(folder.parent), folder.name, index)
    assert after != before
    assert context_digest(scan(folder.parent), folder.name, None) == after


def test_a_link_through_a_link_cannot_lead_out(folder: Path) -> None:
    (folder / "a").mkdir()
    (folder / "a/root").symlink_to("..")
    (folder / "a/out").symlink_to("root/../other")
    with pytest.raises(SpecError) as caught:
        digest(folder)
    assert caught.value.where == Place(f"{folder}/a/out")


def test_devices_pipes_and_sockets_are_refused(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(SpecError) as caught:
        digest(folder)
    assert (caught.value.reason, caught.value.where) == ("context-type", Place(f"{folder}/pipe"))
    (folder / "pipe").unlink()
    here = os.getcwd()
    os.chdir(folder)  # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("sock")
    finally:
        os.chdir(here)
    with pytest.raises(SpecError):
        digest(folder)


class _Counting:
    """An index that counts what was asked and found."""

    def __init__(self) -> None:
        self.known: dict[FileStamp, bytes] = {}
        self.hits: list[str] = []

    def get(self, stamp: FileStamp) -> bytes | None:
        found = self.known.get(stamp)
        if found is not None:
            self.hits.append(stamp.path)
        return found

    def put(self, stamp: FileStamp, data: bytes) -> None:
        self.known[stamp] = data


def age(folder: Path) -> None:
    """Makes the files look as if they had been there for long; their change time cannot be set."""
    for path in (*folder.rglob("*"), folder):
        os.utime(path, (1, 1), follow_symlinks=False)


def test_an_unchanged_folder_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from treebuilder.tree import snapshot

    age(folder)
    monkeypatch.setattr(snapshot, "_YOUNG_NS", -(10**18))  # nothing is young
    index = _Counting()
    first = digest(folder, index)
    assert [hit for hit in index.hits if "//" not in hit[:7]] == []
    assert digest(folder, index) == first
    assert len([hit for hit in index.hits if "//" not in hit[:7]]) == 1
    (folder / "sub/file").write_text("other")
    index.hits.clear()
    assert digest(folder, index) != first
    assert [hit for hit in index.hits if "//" not in hit[:7]] == [f"{folder}/definition.yaml"]


def test_young_files_are_read_again(folder: Path) -> None:
    """A file written a moment ago may be written again within the clock's grain."""
    index = _Counting()
    (folder / "sub/file").write_text("now")
    digest(folder, index)
    assert not any(stamp.path.endswith("sub/file") for stamp in index.known)


def test_an_index_with_nonsense_is_no_harm(folder: Path) -> None:
    class Nonsense:
        def get(self, stamp: FileStamp) -> bytes | None:
            return b"short"

        def put(self, stamp: FileStamp, data: bytes) -> None:
            return

    assert digest(folder, Nonsense()) == digest(folder)
