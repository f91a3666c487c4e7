"""Files that take their place whole, and what a killed writer leaves behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from treebuilder.system.files import new_name, remove_unfinished, replacing, write_atomic

_DIES = """
import os, sys
from pathlib import Path
from treebuilder.system.files import replacing
with replacing(Path(sys.argv[1])) as out:
    out.write(b"half")
    out.flush()
    os._exit(9)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def killed(path: Path) -> None:
    before = names(path.parent)
    assert subprocess.run([sys.executable, "-c", _DIES, path], check=False).returncode == 9
    assert len(names(path.parent)) == len(before) + 1


def test_what_a_killed_writer_left_is_removed_and_what_is_being_written_stays(tmp_path: Path) -> None:
    path = tmp_path / "a-t-1.0.metadata.yaml"
    path.write_text("old")
    killed(path)
    with replacing(path) as out:
        out.write(b"new")
        remove_unfinished(tmp_path)
        assert len(names(tmp_path)) == 2
        assert path.read_text() == "old"
    assert names(tmp_path) == [path.name]
    assert path.read_text() == "new"


def test_only_leftovers_are_removed(tmp_path: Path) -> None:
    mine = [".hidden", ".name.0123", f".{new_name()}", f"seen.{new_name()}", f".name.{new_name().upper()}G"]
    for name in mine:
        (tmp_path / name).write_text("mine")
    folder, link = tmp_path / f".folder.{new_name()}", tmp_path / f".link.{new_name()}"
    folder.mkdir()
    link.symlink_to(tmp_path / ".hidden")
    kept = names(tmp_path)
    killed(tmp_path / "gone")
    remove_unfinished(tmp_path)
    assert names(tmp_path) == kept


def test_of_one_file_alone(tmp_path: Path) -> None:
    one, other = tmp_path / ("long" * 40), tmp_path / "other"
    killed(one)
    killed(other)
    remove_unfinished(tmp_path, one.name)
    assert [name.rpartition(".")[0] for name in names(tmp_path)] == [".other"]


def test_a_block_that_raises_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old", mode=0o640)
    with pytest.raises(ZeroDivisionError), replacing(path) as out:
        out.write(b"new")
        raise ZeroDivisionError
    assert names(tmp_path) == ["file"]
    assert path.read_bytes() == b"old"
    assert path.stat().st_mode & 0o777 == 0o640
