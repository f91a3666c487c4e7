"""The layout of final images is replaced as a whole or not at all."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from treebuilder.app.finalimages import GENERATED, _replace, generate_final_images, generated
from treebuilder.app.options import BuildOptions
from treebuilder.app.settings import Settings
from treebuilder.app.workspace import opened
from treebuilder.build.report import BuildReport
from treebuilder.events import Silent
from treebuilder.system.files import remove_tree
from treebuilder.system.process import Cancel


def layout(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "oci-layout").write_text(folder.name)


def test_of_a_build_without_packages_none_are_left(tmp_path: Path) -> None:
    layout(tmp_path / "build" / GENERATED)
    options = BuildOptions((), destination=tmp_path / "build", lock_file=tmp_path / "none")
    with opened(Settings(), str(tmp_path / "cache"), Silent(), Cancel()) as work:
        folder = generate_final_images(BuildReport(()), "", options, work)
    assert folder is None
    assert list((tmp_path / "build").iterdir()) == []


def test_what_cannot_be_replaced_stays(tmp_path: Path) -> None:
    made = tmp_path / "made"
    folder = made / "below"  # a folder cannot become one of its own
    layout(folder)
    with pytest.raises(OSError, match="Invalid argument"):
        _replace(folder, made, tmp_path / "old")
    assert (folder / "oci-layout").read_text() == "below"
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_one_of_them_is_always_there(tmp_path: Path) -> None:
    """Somebody looks all the time."""
    layout(tmp_path / "final")
    seen: set[bool] = set()
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            seen.add((tmp_path / "final").is_dir())

    thread = threading.Thread(target=look)
    thread.start()
    for number in range(200):
        layout(tmp_path / f"made-{number}")
        _replace(tmp_path / "final", tmp_path / f"made-{number}", tmp_path / "old")
        remove_tree(tmp_path / f"made-{number}")
    ended.set()
    thread.join()
    assert seen == {True}
    assert (tmp_path / "final/oci-layout").read_text() == "made-199"


def test_what_a_killed_run_took_away_comes_back(tmp_path: Path) -> None:
    options = BuildOptions((), destination=tmp_path)
    layout(tmp_path / f".{GENERATED}.was.0123")
    folder, _ = generated(options, "")
    assert (folder / "oci-layout").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [GENERATED]


def test_it_is_replaced(tmp_path: Path) -> None:
    layout(tmp_path / "made")
    layout(tmp_path / "final")
    _replace(tmp_path / "final", tmp_path / "made", tmp_path / "old")
    assert (tmp_path / "final/oci-layout").read_text() == "made"
    assert not (tmp_path / "old").exists()
