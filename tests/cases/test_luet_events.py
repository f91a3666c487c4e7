"""Plugins are told what is built, packed, pulled, pushed, unpacked and published (luet.md §7.9)."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.trees import Project, chain, requires
from treebuilder.cli.main import main

pytestmark = pytest.mark.engine

_PLUGIN = """#!/bin/sh
echo "$1 $2" >> LOG
[ $1 = WRONG ] && error=never
echo "{\\"error\\": \\"$error\\"}"
"""


@dataclass
class Luet:
    project: Project
    plugin: Path

    def __call__(self, *words: str) -> tuple[int, str]:
        """Exit code, and all that is printed."""
        out = io.StringIO()
        top = self.project.top
        (top / "log").unlink(missing_ok=True)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), contextlib.chdir(top):
            code = main(["luet", *words, "--plugin", str(self.plugin), "--cache-dir", str(top / "cache")])
        return code, out.getvalue()

    def told(self) -> list[tuple[str, Any]]:
        """Names and payloads of the events of the last call."""
        log = self.project.top / "log"
        found = [line.split(" ", 1) for line in log.read_text().splitlines()] if log.exists() else []
        return [(name, json.loads(json.loads(document)["data"])) for name, document in found]

    def fails_at(self, event: str) -> None:
        self.plugin.write_text(_PLUGIN.replace("LOG", f"{self.project.top}/log").replace("WRONG", event))


@pytest.fixture
def luet(tmp_path: Path) -> Luet:
    project = Project(tmp_path)
    project.base()
    chain(project, ["l/a"])
    plugin = tmp_path / "teller"
    made = Luet(project, plugin)
    made.fails_at("nothing")
    plugin.chmod(0o755)
    return made


def test_a_build_tells_of_packages_and_their_files(luet: Luet) -> None:
    code, said = luet("build", "-t", "packages", "l/a")
    assert code == 0, said
    told = luet.told()
    of_a = [name for name, value in told if '"a"' in json.dumps(value)]
    assert of_a == [
        "package.pre.build", "package.post.build", "package.pre.build_artifact", "package.post.build_artifact",
    ]  # fmt: skip
    spec = next(value["CompileSpec"] for name, value in told if name == "package.pre.build" and value["CompileSpec"])
    assert {"steps", "prelude", "env", "image", "package", "unpack", "package_dir"} <= set(spec)
    made = told[-1][1]
    assert made["runtime"]["name"] == "a"
    assert Path(luet.project.top, made["path"]).is_file()
    assert len(made["checksums"]["sha256"]) == 64
    assert luet("build", "-t", "packages", "l/a")[0] == 0  # nothing is built, and nothing told
    assert luet.told() == []
    assert luet("build", "-t", "packages", "--destination", "elsewhere", "l/a")[0] == 0
    told = luet.told()  # of all files that came there, and of nothing that was built
    assert [name for name, value in told if '"a"' in json.dumps(value)] == of_a[2:]
    assert not [name for name, _ in told if not name.endswith("build_artifact")]
    assert luet.project.top / "elsewhere/a-l-1.0.package.tar" in {
        luet.project.top / value["path"] for name, value in told if name == "package.post.build_artifact"
    }  # fmt: skip


def test_what_a_plugin_refuses_fails(luet: Luet) -> None:
    luet.fails_at("package.post.build")
    code, said = luet("build", "-t", "packages", "l/a")
    assert (code, "failed at package.post.build: never" in said) == (2, True), said
    luet.fails_at("repository.pre.build")
    code, said = luet("create-repo", "--tree", "packages", "--packages", "build", "--output", "made")
    assert (code, "failed at repository.pre.build: never" in said) == (2, True), said
    assert not (luet.project.top / "made/repository.yaml").exists()


def test_what_a_plugin_refuses_is_packed_and_told_of_again(luet: Luet) -> None:
    luet.fails_at("package.post.build_artifact")
    assert luet("build", "-t", "packages", "l/a")[0] == 2
    refused = {value["runtime"]["name"] for name, value in luet.told() if name == "package.post.build_artifact"}
    assert refused
    left = {path.name.split("-")[0] for path in (luet.project.top / "build").iterdir()}
    assert not refused & left
    luet.fails_at("nothing")
    assert luet("build", "-t", "packages", "l/a")[0] == 0
    told = {value["runtime"]["name"] for name, value in luet.told() if name == "package.post.build_artifact"}
    assert refused <= told
    assert luet("build", "-t", "packages", "l/a")[0] == 0
    assert luet.told() == []


def test_a_repository_is_told_of(luet: Luet) -> None:
    assert luet("build", "-t", "packages", "l/a")[0] == 0
    code, said = luet("create-repo", "--tree", "packages", "--packages", "build", "--output", "made", "--name", "r")
    assert code == 0, said
    assert [name for name, _ in luet.told()] == ["repository.pre.build", "repository.post.build"]
    assert (luet.told()[0][1]["Repo"]["name"], luet.told()[0][1]["Path"]) == ("r", "made")


def test_images_are_told_of(luet: Luet, address: str) -> None:
    where = f"{address}/told/os"
    code, said = luet("build", "-t", "packages", "l/a", "--push-final-images", "--push-final-images-repository", where)
    assert code == 0, said
    pushed = [value["ImageName"] for name, value in luet.told() if name == "image.post.push"]
    assert f"{where}:a-l-1.0" in pushed
    luet.project.package("l/on", f"image: {where}:a-l-1.0\nsteps:\n- echo > /on || true\n")
    luet("build", "-t", "packages", "l/on")
    assert [(n, v["ImageName"]) for n, v in luet.told() if n.startswith("image")] == [
        ("image.pre.pull", f"{where}:a-l-1.0"), ("image.post.pull", f"{where}:a-l-1.0"),
    ]  # fmt: skip
    code, said = luet("util", "unpack", f"{where}:a-l-1.0", "laid")
    assert code == 0, said
    assert luet.told() == [
        (f"image.{when}.unpack", {"Image": f"{where}:a-l-1.0", "Dest": "laid"}) for when in ("pre", "post")
    ]
    luet.fails_at("image.pre.unpack")
    code, said = luet("util", "unpack", f"{where}:a-l-1.0", "refused")
    assert (code, "failed at image.pre.unpack: never" in said) == (1, True), said
    assert not (luet.project.top / "refused").exists()


def test_the_configuration_names_plugins_for_builds_too(luet: Luet) -> None:
    (luet.project.top / "conf.yaml").write_text(f"plugin: [{luet.plugin}]\n")
    luet.project.package("l/c", requires("seed/base") + "steps:\n- echo > /c\n")
    done = luet.project.run("build", "--tree", "packages", "--config", "conf.yaml", "l/c")
    assert done.code == 0, done.stderr
    assert "package.post.build_artifact" in [name for name, _ in luet.told()]
