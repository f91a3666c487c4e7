"""The layout of final images is replaced as a whole or not at all, and dead runs leave nothing."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.trees import Project, requires
from treebuilder.app.finalimages import generate_final_images, generated
from treebuilder.app.finalimages_folder import GENERATED, being_made, put, replace
from treebuilder.app.options import BuildOptions
from treebuilder.app.settings import Settings
from treebuilder.app.workspace import opened
from treebuilder.build.report import BuildReport
from treebuilder.errors import TreebuildError
from treebuilder.events import Silent
from treebuilder.system.files import remove_tree
from treebuilder.system.process import Cancel

TOP = Path(__file__).parents[2]


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
        replace(folder, made, tmp_path / "old")
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
        replace(tmp_path / "final", tmp_path / f"made-{number}", tmp_path / "old")
        remove_tree(tmp_path / f"made-{number}")
    ended.set()
    thread.join()
    assert seen == {True}
    assert (tmp_path / "final/oci-layout").read_text() == "made-199"


def test_what_a_killed_run_took_away_comes_back(tmp_path: Path) -> None:
    options = BuildOptions((), destination=tmp_path)
    layout(tmp_path / f".{GENERATED}.was.0123456789abcdef")
    folder, _ = generated(options, "")
    assert (folder / "oci-layout").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [GENERATED]


def test_of_several_the_last_comes_back_and_only_ours(tmp_path: Path) -> None:
    ages = {"0" * 16: 100, "5" * 16: 300, "f" * 16: 200, "0mine": 400, "g" * 16: 500}  # by when they were made
    for drawn, made_s in ages.items():
        layout(tmp_path / f".{GENERATED}.was.{drawn}")
        os.utime(tmp_path / f".{GENERATED}.was.{drawn}", (made_s, made_s))
    (tmp_path / f".{GENERATED}.was.{'a' * 16}").symlink_to(tmp_path)
    folder, _ = generated(BuildOptions((), destination=tmp_path), "")
    assert (folder / "oci-layout").read_text() == f".{GENERATED}.was.{'5' * 16}"
    others = [f".{GENERATED}.was.{name}" for name in ("0mine", "a" * 16, "g" * 16)]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([GENERATED, *others])


@pytest.mark.parametrize("code", [errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP])
def test_where_folders_cannot_be_locked_nothing_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refused(fd: int, how: int) -> None:
        assert stat.S_ISDIR(os.fstat(fd).st_mode)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refused)
    left = [f".{GENERATED}.{'0' * 16}", f".{GENERATED}.was.{'1' * 16}"]
    for name in left:
        layout(tmp_path / name)
    for text in ("one", "two"):
        generated(BuildOptions((), destination=tmp_path), "")
        with being_made(tmp_path) as made:
            (made / "oci-layout").write_text(text)
            put(made)
        assert (tmp_path / GENERATED / "oci-layout").read_text() == text
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([GENERATED, *left])


def test_other_faults_of_a_lock_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(fd: int, how: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", refused)
    with pytest.raises(TreebuildError, match="Input/output"), being_made(tmp_path):
        pass


def test_it_is_replaced(tmp_path: Path) -> None:
    layout(tmp_path / "made")
    layout(tmp_path / "final")
    replace(tmp_path / "final", tmp_path / "made", tmp_path / "old")
    assert (tmp_path / "final/oci-layout").read_text() == "made"
    assert not (tmp_path / "old").exists()


# what killed runs left ---------------------------------------------------------------------------------------------
_MAKING = """
import sys, time
from pathlib import Path
from treebuilder.app.finalimages_folder import being_made
with being_made(Path(sys.argv[1])) as made:
    (made / "oci-layout").write_text("half")
    print(made.name, flush=True)
    time.sleep(600)
"""


def test_of_a_dead_run_nothing_stays_and_of_a_living_one_all(tmp_path: Path) -> None:
    options = BuildOptions((), destination=tmp_path)
    (tmp_path / f".{GENERATED}.mine").mkdir()  # whoever made this, we did not
    layout(tmp_path / f".{GENERATED}.was.0123456789abcdef")
    layout(tmp_path / GENERATED)
    runs = [
        subprocess.Popen([sys.executable, "-c", _MAKING, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        names = [run.stdout.readline().strip() for run in runs if run.stdout is not None]
        runs[0].kill()
        runs[0].wait()
        assert {*names, f".{GENERATED}.was.0123456789abcdef"} < {path.name for path in tmp_path.iterdir()}
        generated(options, "")
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([f".{GENERATED}.mine", GENERATED, names[1]])
        assert (tmp_path / names[1] / "oci-layout").read_text() == "half"
    finally:
        for run in runs:
            run.kill()
            run.wait()
            assert run.stdout is not None
            run.stdout.close()
    generated(options, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([f".{GENERATED}.mine", GENERATED])


def test_two_runs_at_once_leave_the_images_of_the_last(tmp_path: Path) -> None:
    with being_made(tmp_path) as one, being_made(tmp_path) as two:
        (one / "oci-layout").write_text("one")
        (two / "oci-layout").write_text("two")
        generated(BuildOptions((), destination=tmp_path), "")
        put(one)
        generated(BuildOptions((), destination=tmp_path), "")
        put(two)
    assert (tmp_path / GENERATED / "oci-layout").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == [GENERATED]


_KILLED = """
import sys
from tests.unit.steps import changes, kill_after
from treebuilder.cli.main import main

kill_after(int(sys.argv[1]), lambda event, args: changes(event, args) and ".final-images." in str(args))
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.engine
@pytest.mark.parametrize("last", [1, 2, 3, 5, 8, 13, 21])
def test_a_run_after_a_killed_one_leaves_nothing_else(tmp_path: Path, last: int) -> None:
    project = Project(tmp_path)
    project.base()
    project.package("t/a", requires("seed/base") + "steps:\n- echo a > /a\n")
    words = ["build", "--tree", "packages", "--destination", "build", "--generate-final-images", "t/a"]
    assert project.run(*words).code == 0
    before = sorted(path.name for path in project.build.iterdir())
    assert GENERATED in before
    argv = [sys.executable, "-c", _KILLED, str(last), *project.words(*words)]
    env = {**os.environ, "PYTHONPATH": str(TOP)}
    killed = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (project.build / GENERATED / "index.json").is_file()
    assert project.run(*words).code == 0
    assert sorted(path.name for path in project.build.iterdir()) == before
