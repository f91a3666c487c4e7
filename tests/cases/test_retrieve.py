"""What `retrieve` puts into /luetbuild, end to end with the native engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trees import Project, requires

pytestmark = pytest.mark.engine


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    made.base()
    return made


def test_a_retrieved_file_wins_over_one_of_the_folder(project: Project) -> None:
    recipe = "retrieve: ['*.txt']\nsteps:\n- cat file.txt link.txt build.yaml.txt > /o; test ! -L link.txt\n"
    folder = project.package("t/x", requires("seed/base") + recipe, file__txt="of the folder\n", kept="kept\n")
    (folder / "link.txt").symlink_to("kept")
    project.build.mkdir()
    for name in ("file.txt", "link.txt", "build.yaml.txt"):
        (project.build / name).write_text(f"retrieved {name}\n")
    done = project.building("t/x")
    assert done.code == 0, done.stderr
    assert project.text("x-t-1.0", "o") == "retrieved file.txt\nretrieved link.txt\nretrieved build.yaml.txt\n"
    assert (folder / "kept").read_text() == "kept\n"


def test_a_retrieved_file_wins_over_a_specfile(project: Project) -> None:
    project.package("t/x", requires("seed/base") + "retrieve: [build.yaml]\nsteps:\n- cat build.yaml > /o\n")
    project.build.mkdir()
    (project.build / "build.yaml").write_text("retrieved\n")
    assert project.building("t/x").code == 0
    assert project.text("x-t-1.0", "o") == "retrieved\n"


def test_a_retrieved_file_does_not_replace_a_folder(project: Project) -> None:
    folder = project.package("t/x", requires("seed/base") + "retrieve: [art]\nsteps:\n- ls\n")
    (folder / "art").mkdir()
    (folder / "art" / "inside").write_text("x")
    project.build.mkdir()
    (project.build / "art").write_text("retrieved\n")
    done = project.building("t/x")
    assert done.code == 2
    assert "'art' is a folder of the package's own" in done.stderr
    assert "t/x/build.yaml:3" in done.stderr
