"""`repo add --dir`, and what `repo` says of flags that it has no use for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trees import Project, Result


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "root").mkdir()
    (tmp_path / "conf.yaml").write_text("config_from_host: false\n")
    return Project(tmp_path)


def repo(project: Project, *words: str) -> Result:
    return project.run("repo", *words, "--config", "conf.yaml", "--system-target", "root")


def test_a_relative_folder_is_one_of_the_current_folder(project: Project) -> None:
    """Not of the root of the file system, nor of the system that is changed."""
    words = ("add", "own", "--type", "disk", "--url", "/nowhere", "--yes", "--dir")
    for folder, place in (
        ("made/rd", "made/rd"), ("./rd", "rd"), ("rd/../other", "other"), ("/etc/rd", "root/etc/rd"),
        (str(project.top / "root/inside"), "root/inside"),
    ):  # fmt: skip
        done = repo(project, *words, folder)
        assert done.code == 0, done.stderr
        file = project.top / place / "own.yaml"
        assert "/nowhere" in file.read_text()
        assert Path(done.value["repositories"][0]["file"]).resolve() == file.resolve()
    assert not Path("/rd").exists()


@pytest.mark.parametrize("what", [("update",), ("list",), ("get", "own"), ("add", "own")])
def test_an_insecure_registry_is_no_flag_of_clients(project: Project, what: tuple[str, ...]) -> None:
    done = repo(project, *what, "--insecure-registry", "registry.example:5000")
    assert done.code == 1
    assert "http://HOST/NAME" in done.value["error"]["hint"]
    assert not (project.top / "root/etc").exists()
