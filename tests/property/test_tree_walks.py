"""A walk with the help of the last one finds what a walk without it finds, whatever happened in between."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.indexes import Damaged
from treebuilder.tree import MemoryIndex, walks
from treebuilder.tree.snapshot import Snapshot, fingerprint, scan
from treebuilder.tree.walks import rescan

_times = count(10**18, 10**9)


def do(root: Path, what: str, name: str, other: str) -> None:
    """One thing that people do to a tree; nothing if it cannot be done."""
    path, second = root / name, root / other
    try:
        if what == "write":
            path.write_bytes(os.fsencode(other))
        elif what == "folder":
            path.mkdir()
        elif what == "link":
            path.symlink_to(other)
        elif what == "chmod":
            path.chmod(0o600 if path.is_file() else 0o711)
        elif what == "rename":
            path.rename(second)
        elif what == "remove":
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        elif what == "fill":
            path.mkdir()
            (path / "a").write_text("")
            (path / "b").mkdir()
    except OSError:
        return
    for folder in (path.parent, second.parent):
        if folder.is_dir():  # later than all before it, as on a clock without a grain
            moment = next(_times)
            os.utime(folder, ns=(moment, moment))


def seen(found: Snapshot) -> object:
    return list(found.paths), found.stats.tobytes(), fingerprint([found])


NAMES = st.sampled_from(["a", "b", "a/a", "a/b", "a/b/c", "b/é", "a.", "a/b.x", "\udcff"])
STEPS = st.tuples(
    st.sampled_from(["write", "folder", "link", "chmod", "rename", "remove", "fill", "look"]), NAMES, NAMES
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=12))
def test_the_last_walk_is_no_lie(steps: list[tuple[str, str, str]]) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(walks, "_YOUNG_NS", -(10**19))  # nothing is young
        root, index = Path(name), MemoryIndex()
        for what, path, other in [("look", "", ""), *steps, ("look", "", "")]:
            if what == "look":
                assert seen(rescan(name, index)) == seen(scan(name))
            else:
                do(root, what, path, other)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(walks, "_YOUNG_NS", -(10**19))
    for name in ("x/y", "z"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_text("a")
    return tmp_path


def watched(real: Callable[[str], object], asked: list[str]) -> Callable[[str], object]:
    def call(path: str) -> object:
        asked.append(path)
        return real(path)

    return call


def listed(root: Path, index: MemoryIndex, patch: pytest.MonkeyPatch) -> list[str]:
    """The folders that a walk lists."""
    asked: list[str] = []
    with patch.context() as inner:
        for name in ("scandir", "listdir"):
            inner.setattr(os, name, watched(getattr(os, name), asked))
        rescan(str(root), index)
    return asked


def test_no_folder_is_listed_twice(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = MemoryIndex()
    assert len(listed(root, index, monkeypatch)) == 4
    assert listed(root, index, monkeypatch) == []
    (root / "z/file").write_text("other")
    assert listed(root, index, monkeypatch) == []
    (root / "z/new").write_text("b")
    (root / "z/new").rename(root / "z/file")  # as an editor saves it
    os.utime(root / "z", (1, 1))
    assert listed(root, index, monkeypatch) == [f"{root}/z"]
    assert listed(root, index, monkeypatch) == []


def test_young_folders_are_listed_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = MemoryIndex()
    monkeypatch.setattr(walks, "_YOUNG_NS", 10**12)
    assert len(listed(root, index, monkeypatch)) == 4
    assert len(listed(root, index, monkeypatch)) == 4


@pytest.mark.parametrize(
    ("mounts", "trusted"),
    [
        ("1 0 8:1 / / rw - ext4 /dev/a rw\n", True),
        ("1 0 8:1 / / rw shared:1 - ext4 /dev/a rw\n2 1 0:9 / {tree} rw - 9p host rw\n", False),
        ("1 0 8:1 / / rw - fuse.x y rw\n2 1 0:9 / {tree} rw - 9p host rw\n3 1 0:9 / {tree} rw - xfs /dev/b rw\n", True),
        ("1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:9 / {tree}/x rw - 9p host rw\n", False),
        ("", False),
    ],
)
def test_file_systems_that_keep_no_times(
    root: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, mounts: str, trusted: bool
) -> None:
    tree = root / "with space é"
    tree.mkdir()
    table = tmp_path_factory.mktemp("proc") / "mountinfo"
    table.write_text(mounts.replace("{tree}", str(tree).replace(" ", "\\040")))
    monkeypatch.setattr(walks, "_MOUNTS", str(table))
    index = MemoryIndex()
    rescan(str(tree), index)
    assert bool(index._known) == trusted


def test_a_damaged_record_is_none(root: Path) -> None:
    index = Damaged()
    for _ in range(2):
        assert seen(rescan(str(root), index)) == seen(scan(root))
    assert index._known
