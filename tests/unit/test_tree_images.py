"""`tree images` of a tree that has no lock yet."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from treebuilder.cli.main import main

TOP = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own packages, without the lock beside them."""
    shutil.copytree(TOP / "packages", tmp_path / "packages")
    monkeypatch.chdir(tmp_path)


def test_images_without_a_name_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tree", "images", "--tree", "packages", "--cache-dir", str(tmp_path / "cache"), "system/sampleOS"]
    assert main([*words, "-o", "json"]) == 0
    said = capsys.readouterr()
    rows = json.loads(said.out)["packages"]
    found = re.search(r"(\d+) of (\d+) are named by luet's tags, and (\d+) have no name yet", said.err)
    assert found is not None, said.err
    named, all_of_them, nameless = map(int, found.groups())
    assert all_of_them == len(rows) > 10
    assert nameless == sum(not row["image"] for row in rows) > 0
    assert named == sum(bool(row["image"]) for row in rows)


def test_a_pull_repository_has_no_effect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tree", "images", "--tree", "packages", "-p", "quay.io/x/cache", "system/sampleOS"]
    assert main(["luet", *words]) == 0
    printed = capsys.readouterr().out
    assert printed
    assert "quay.io" not in printed
    assert "WARNING" not in printed
    assert main([*words, "--cache-dir", str(tmp_path / "cache")]) == 0
    assert "--pull-repository has no effect" in capsys.readouterr().err


def test_a_solver_that_leaves_out_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    for words, told in ((["--solver-type", "qlearning"], True), (["--solver-type="], False), ([], False)):
        assert main(["luet", *words, "build", "--pretend", "--tree", "packages", "system/sampleOS"]) == 0
        assert ("the solver qlearning is for install: what build cannot have" in capsys.readouterr().out) is told
