"""`build` and `tree validate` called as luet: what is printed, and where."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.trees import Project, chain, requires
from treebuilder.cli.main import main
from treebuilder.system import clock

pytestmark = pytest.mark.engine


@dataclass
class Luet:
    project: Project

    def __call__(self, *words: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        out, err = io.StringIO(), io.StringIO()
        top = self.project.top
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.chdir(top):
            code = main(["luet", *words, "--cache-dir", str(top / "cache")])
        return code, out.getvalue(), err.getvalue()


@pytest.fixture
def luet(tmp_path: Path) -> Luet:
    project = Project(tmp_path)
    project.base()
    chain(project, ["l/a", "l/b"])
    return Luet(project)


def test_full_builds_the_leaves_and_what_they_stand_on(luet: Luet) -> None:
    code, out, _ = luet("build", "--full", "--tree", "packages")
    assert code == 0
    said = sorted(line.rpartition("/")[2] for line in out.splitlines() if "Artifact generated: " in line)
    assert said == ["a-l-1.0.package.tar", "b-l-1.0.package.tar", "base-seed-1.0.package.tar"]
    again = luet("build", "--full", "--tree", "packages")
    assert [line for line in again[1].splitlines() if "Artifact" in line] == [
        line for line in out.splitlines() if "Artifact" in line
    ]


def test_packages_say_when_they_were_really_built(luet: Luet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    monkeypatch.setattr(clock, "now_epoch_s", lambda: 1_700_000_000)
    metadata = luet.project.build / "a-l-1.0.metadata.yaml"
    assert luet("build", "-t", "packages", "l/a")[0] == 0
    first, written = metadata.read_text(), metadata.stat().st_mtime_ns
    assert "buildtimestamp: '2023-11-14 22:13:20 +0000 UTC m=+0." in first
    monkeypatch.setattr(clock, "now_epoch_s", lambda: 1_800_000_000)
    assert luet("build", "-t", "packages", "l/a")[0] == 0
    assert (metadata.read_text(), metadata.stat().st_mtime_ns) == (first, written)  # what is unchanged stays
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1600000000")
    metadata.unlink()
    assert luet("build", "-t", "packages", "l/a")[0] == 0
    assert "buildtimestamp: '2020-09-13 12:26:40 " in metadata.read_text()


def test_pretend_prints_its_lines(luet: Luet) -> None:
    code, out, _ = luet("build", "-t", "packages", "l/b", "--pretend")
    assert code == 0
    assert out.splitlines() == ["seed/base-1.0 required for l/b-1.0", "l/a-1.0 required for l/b-1.0"]
    rows = json.loads(luet("build", "-t", "packages", "l/b", "--pretend", "-o", "json")[1])["packages"]
    assert [row["target"] for row in rows] == ["l/b-1.0", "l/b-1.0"]
    assert not luet.project.build.exists()


def test_what_fails_is_said_in_its_form(luet: Luet) -> None:
    luet.project.package("l/bad", requires("l/a") + "steps:\n- echo oh; grep x /none\n")
    code, out, err = luet("build", "-t", "packages", "l/bad", "l/b")
    lines = out.splitlines()
    assert (code, err) == (2, "")
    assert any(line.startswith(" ERROR    Error: ") and "l/bad-1.0" in line for line in lines)
    assert " ERROR    step: echo oh; grep x /none" in lines
    assert any(line.startswith(" INFO   SUCCESS Artifact generated: ") for line in lines)
    assert lines[-1] == " ERROR    Bailing out"
    code, out, err = luet("build", "-t", "packages", "l/bad", "-o", "json")
    assert (code, json.loads(out)["counts"]["failed"]) == (2, 1)
    assert " ERROR    Error: " in err


def test_validate_says_all_good_or_what_is_wrong(luet: Luet) -> None:
    code, out, err = luet("tree", "validate", "-t", "packages")
    assert (code, out, err) == (0, " INFO  All good!\n", "")
    luet.project.package("l/c", requires("l/none"))
    code, out, err = luet("tree", "validate", "-t", "packages")
    assert (code, err) == (2, "")
    assert out.startswith(" ERROR    Error: l/c-1.0 (build): ")
    assert "l/none" in out


def test_flags_that_stand_in_the_configuration(luet: Luet) -> None:
    conf = luet.project.top / "luet.yaml"
    conf.write_text("tree: packages\ndestination: made\nrevdeps: true\n")
    assert luet("build", "--config", "luet.yaml", "l/a")[0] == 0
    made = luet.project.top / "made"
    assert (made / "b-l-1.0.package.tar").exists()
    conf.write_text("tree: packages\ndestination: other\nnodeps: true\n")
    luet.project.package("l/a", "requires: [{category: seed, name: base, version: '>=0'}]\nsteps:\n- echo new > /a\n")
    code, out, _ = luet("build", "--config", "luet.yaml", "l/b")
    assert (code, "--nodeps builds no dependencies" in out) == (2, True), out
    code, out, _ = luet("build", "--config", "luet.yaml", "--nodeps=false", "l/b")
    assert code == 0, out
