"""What stays open between neighbours of an archive never changes where they come to lie."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from treebuilder.archive.entry import Entry
from treebuilder.archive.extract import Writer
from treebuilder.errors import TreebuildError

pytestmark = pytest.mark.engine  # owners need root

_NAMES = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join)
_ENTRIES = st.one_of(
    st.builds(lambda path, text: Entry(path, "f", 0o644, 0, 0, len(text), 0), _NAMES, st.sampled_from(["", "x", "yy"])),
    st.builds(lambda path: Entry(path, "d", 0o755, 0, 0, 0, 7), _NAMES),
    st.builds(
        lambda path, to: Entry(path, "l", 0o777, 0, 0, 0, 0, to), _NAMES,
        st.sampled_from(["a", "../b", "/c", "a/b", "..", ".", "/", "../../../a", "b/../c", "missing"]),
    ),
    st.builds(lambda path: Entry(path, "w", 0, 0, 0, 0, 0), _NAMES),
)  # fmt: skip


def unpacked(root: Path, entries: list[Entry], *, follow: bool, anew: bool) -> list[str]:
    said = []
    with Writer(str(root), follow=follow) as writer:
        for entry in entries:
            if anew:
                writer._folders.forget()
                os.close(writer._cached[1])
                writer._cached = ("", os.dup(writer._root), "")
            try:
                writer.add(entry, io.BytesIO(b"z" * entry.size))
                said.append(writer.place(entry.path))
            except (TreebuildError, OSError) as err:
                said.append(str(err))
    return said


def listed(root: Path) -> list[tuple[str, int, float]]:
    found = []
    for folder, names, files in os.walk(root):
        for name in names + files:
            path = Path(folder, name)
            info = path.lstat()
            found.append((str(path.relative_to(root)), info.st_mode, info.st_size if path.is_file() else 0))
    return sorted(found)


@settings(max_examples=300)
@given(entries=st.lists(_ENTRIES, max_size=14), follow=st.booleans())
def test_the_same_as_if_each_folder_were_opened_anew(entries: list[Entry], follow: bool) -> None:
    with tempfile.TemporaryDirectory() as work:
        open_before = len(os.listdir("/proc/self/fd"))
        results = []
        for anew in (False, True):
            root = Path(work, str(anew))
            root.mkdir()
            said = unpacked(root, entries, follow=follow, anew=anew)
            results.append((said, listed(root)))
        assert results[0] == results[1]
        assert len(os.listdir("/proc/self/fd")) == open_before
        assert sorted(os.listdir(work)) == ["False", "True"]


def test_deep_folders_and_their_neighbours(tmp_path: Path) -> None:
    open_before = len(os.listdir("/proc/self/fd"))
    deep = "/".join(["d"] * 200)
    root = tmp_path / "root"
    root.mkdir()
    with Writer(str(root)) as writer:
        for name in (f"{deep}/one", f"{deep}/two", "d/d/three", f"{deep}/e/four", "five"):
            writer.add(Entry(name, "f", 0o644, 0, 0, 1, 0), io.BytesIO(b"1"))
        assert len(os.listdir("/proc/self/fd")) < open_before + 80
    assert sorted(os.listdir(root / deep)) == ["e", "one", "two"]
    assert (root / "d/d/three").read_bytes() == b"1"
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_a_folder_removed_under_another_name_is_not_written_to(tmp_path: Path) -> None:
    with Writer(str(tmp_path), follow=True) as writer:
        writer.add(Entry("lib", "l", 0o777, 0, 0, 0, 0, "usr/lib"), None)
        writer.add(Entry("usr/lib/x/a", "f", 0o644, 0, 0, 1, 0), io.BytesIO(b"1"))
        writer.remove("lib/x")
        writer.add(Entry("usr/lib/x/b", "f", 0o644, 0, 0, 1, 0), io.BytesIO(b"2"))
    assert os.listdir(tmp_path / "usr/lib/x") == ["b"]
