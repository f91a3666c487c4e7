"""What `retrieve` puts into /luetbuild, end to end with the native engine."""

from __future__ import annotations

import tarfile

import pytest

from tests.trees import Project, requires
from treebuilder.archive.compress import decompressed

pytestmark = pytest.mark.engine


def retrieving(project: Project, item: str, *steps: str) -> None:
    """`t/two`, which retrieves `item`, and `t/one` for it."""
    project.package("t/one", requires("seed/base") + "steps:\n- echo 1 > /one\n")
    lines = "".join(f"- {step}\n" for step in ("ls one-t-* > /list", *steps))
    project.package("t/two", requires("seed/base") + f"retrieve: [{item}]\nsteps:\n{lines}")


def seen(project: Project, fingerprint: str, path: str) -> str:
    """A file of the one package file that the destination has of a package, however it is compressed."""
    (package,) = project.build.glob(f"{fingerprint}.package.tar*")
    with package.open("rb") as packed, tarfile.open(fileobj=decompressed(packed), mode="r|") as tar:
        return next(found.read().decode() for info in tar if info.name == path and (found := tar.extractfile(info)))


def listed(project: Project, *flags: str) -> str:
    done = project.building("t/two", *flags)
    assert done.code == 0, done.stderr
    return seen(project, "two-t-1.0", "list")


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


def test_the_name_says_in_which_form_a_package_is_retrieved(project: Project) -> None:
    retrieving(project, "one-t-1.0.package.tar", "tar xf one-t-1.0.package.tar -C /tmp && cat /tmp/one >> /list")
    assert listed(project) == "one-t-1.0.package.tar\n1\n"
    retrieving(project, "one-t-1.0.package.tar.gz", "od -An -tx1 -N2 one-t-1.0.package.tar.gz >> /list")
    assert listed(project).split() == ["one-t-1.0.package.tar.gz", "1f", "8b"]
    retrieving(project, "one-t-1.0.package.tar.zst", "od -An -tx1 -N4 one-t-1.0.package.tar.zst >> /list")
    assert listed(project).split() == ["one-t-1.0.package.tar.zst", "28", "b5", "2f", "fd"]
    retrieving(project, "one-t-*.tar, one-t-*.gz, one-t-1*.gz")
    assert listed(project).split() == ["one-t-1.0.package.tar", "one-t-1.0.package.tar.gz"]


def test_a_pattern_takes_the_form_that_the_build_writes(project: Project) -> None:
    retrieving(project, "'one-t-*.package.tar*'", "cat one-t-* > /dev/null")
    project.package("t/above", requires("t/two") + "steps:\n- cat /list > /seen\n")
    for compression, suffix in (("zstd", ".zst"), ("none", ""), ("gzip", ".gz"), ("zstd", ".zst")):
        assert listed(project, "--compression", compression) == f"one-t-1.0.package.tar{suffix}\n"
        done = project.building("t/above", "--compression", compression)
        assert done.code == 0, done.stderr
        assert seen(project, "above-t-1.0", "seen") == f"one-t-1.0.package.tar{suffix}\n"
    again = project.building("t/above", "--compression", "gzip")
    assert again.value["counts"]["built"] == 0
    assert project.building("t/above", "--compression", "gzip", "--nodeps").code == 0


def test_a_name_without_choice_is_built_once_for_all_compressions(project: Project) -> None:
    retrieving(project, "one-t-1.0.package.tar")
    assert listed(project) == "one-t-1.0.package.tar\n"
    again = project.building("t/two", "--compression", "none")
    assert again.states()["t/two"] == "cached"
    assert again.value["counts"]["built"] == 0
