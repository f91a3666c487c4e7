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

    def __call__(self, *words: str, cache: str = "cache") -> tuple[int, str]:
        """Exit code, and all that is printed."""
        out = io.StringIO()
        top = self.project.top
        (top / "log").unlink(missing_ok=True)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), contextlib.chdir(top):
            code = main(["luet", *words, "--plugin", str(self.plugin), "--cache-dir", str(top / cache)])
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
    assert luet("build", "-t", "packages", "l/a")[0] == 0  # nothing is new, and nothing told
    assert luet.told() == []
    assert luet("build", "-t", "packages", "--destination", "elsewhere", "l/a")[0] == 0
    told = luet.told()  # a cache had it all
    assert [name for name, value in told if '"a"' in json.dumps(value)] == of_a
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
    sent = [f"{where}:a-l-1.0", f"{where}:a-l-1.0.metadata.yaml"]
    told = [(name, value["ImageName"]) for name, value in luet.told() if name.endswith("push")]
    assert [found for found in told if found[1] in sent] == [
        *(("image.pre.push", image) for image in sent), *(("image.post.push", image) for image in sent),
    ]  # fmt: skip
    assert {name for name, _ in told[: len(told) // 2]} == {"image.pre.push"}  # of each, before all is there
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


def test_a_repository_of_images_is_told_of(luet: Luet, address: str) -> None:
    where = f"{address}/told/repo"
    luet.project.package("l/n", requires("seed/base") + "steps:\n- echo > /n\n")
    assert luet("build", "-t", "packages", "l/n")[0] == 0
    create = ["create-repo", "--tree", "packages", "--packages", "build", "--type", "docker", "--output", where]
    luet.fails_at("image.pre.push")
    code, said = luet(*create, "--push-images")
    assert (code, "failed at image.pre.push: never" in said) == (2, True), said
    luet.fails_at("nothing")
    code, said = luet(*create, "--push-images")
    assert code == 0, said
    told = [(name, value["ImageName"]) for name, value in luet.told() if name.startswith("image")]
    images = {image for _, image in told}
    names = ("n-l-1.0", "n-l-1.0.metadata.yaml", "repository.yaml", "tree.tar.gz")
    assert {f"{where}:{name}" for name in names} <= images
    assert sorted(told) == sorted((f"image.{when}.push", image) for when in ("pre", "post") for image in images)
    sent = [image for name, image in told if name == "image.post.push"]
    assert sent[-1] == f"{where}:repository.yaml"  # all is there when the first is told of
    assert {name for name, _ in told[: len(images)]} == {"image.pre.push"}

    repositories = f"repositories:\n- {{name: r, type: docker, enable: true, urls: [{where}], trust: none}}\n"
    (luet.project.top / "client.yaml").write_text(repositories)
    install = ["install", "-y", "--config", "client.yaml", "--system-target", "root", "l/n"]
    (luet.project.top / "root").mkdir()
    luet.fails_at("image.pre.unpack")
    code, said = luet(*install, cache="elsewhere")
    assert (code, "failed at image.pre.unpack: never" in said) == (2, True), said
    assert not (luet.project.top / "root/n").exists()
    luet.fails_at("nothing")
    code, said = luet(*install, cache="elsewhere")
    assert (code, (luet.project.top / "root/n").exists()) == (0, True), said
    told = [(name, value["Image"]) for name, value in luet.told() if name.endswith("unpack")]
    for tag in ("repository.yaml", "n-l-1.0"):
        assert [name for name, image in told if image == f"{where}:{tag}"] == ["image.pre.unpack", "image.post.unpack"]


def test_what_a_plugin_refuses_is_not_had_from_elsewhere(luet: Luet, address: str) -> None:
    where = f"{address}/told/other"
    assert luet("build", "-t", "packages", "l/a")[0] == 0
    create = ["create-repo", "--tree", "packages", "--packages", "build"]
    assert luet(*create, "--type", "docker", "--output", where, "--push-images")[0] == 0
    assert luet(*create, "--output", "made")[0] == 0
    (luet.project.top / "client.yaml").write_text(
        f"repositories:\n- {{name: r, type: docker, enable: true, urls: [{where}], trust: none}}\n"
        f"- {{name: s, type: disk, enable: true, urls: [{luet.project.top}/made]}}\n"
    )
    luet.fails_at("image.pre.unpack")
    code, said = luet("install", "-y", "--config", "client.yaml", "--system-target", "root", "l/a")
    assert (code, "failed at image.pre.unpack: never" in said) == (2, True), said


def test_the_configuration_names_plugins_for_builds_too(luet: Luet) -> None:
    (luet.project.top / "conf.yaml").write_text(f"plugin: [{luet.plugin}]\n")
    luet.project.package("l/c", requires("seed/base") + "steps:\n- echo > /c\n")
    done = luet.project.run("build", "--tree", "packages", "--config", "conf.yaml", "l/c")
    assert done.code == 0, done.stderr
    assert "package.post.build_artifact" in [name for name, _ in luet.told()]
