"""The flags of luet's build: what is built, what is packed, what is refused."""

from __future__ import annotations

import argparse
import gzip
import io
import json
import re
import tarfile
from pathlib import Path

import pytest

from tests.trees import Project, Result, chain, requires
from treebuilder.cli.session import add_global_flags
from treebuilder.cli.verbs import build

pytestmark = pytest.mark.engine


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """`t/b` stands on `t/a`, `t/c` on `t/b`; `t/lone` on the base alone."""
    made = Project(tmp_path)
    made.base()
    chain(made, ["t/a", "t/b", "t/c"])
    made.package("t/lone", requires("seed/base") + "steps:\n- echo > /lone\n")
    return made


def packed(done: Result) -> list[str]:
    assert done.code == 0, done.stderr
    return sorted(f"{n['category']}/{n['name']}" for n in done.value["nodes"] if n["artifact"])


def test_full_is_what_nothing_stands_on(project: Project) -> None:
    assert packed(project.building("--full", "--only-target-package")) == ["t/c", "t/lone"]
    assert packed(project.building("--full")) == packed(project.building("--all"))


def test_revdeps_are_what_stands_on_the_targets(project: Project) -> None:
    assert packed(project.building("t/b", "--revdeps", "--only-target-package")) == ["t/b", "t/c"]
    assert "t/lone" not in packed(project.building("t/a", "--revdeps"))


def test_nodeps_takes_the_cache_or_fails(project: Project) -> None:
    refused = project.building("t/c", "--nodeps")
    assert refused.code == 2
    assert "seed/base-1.0 is not in the cache" in refused.stderr
    assert packed(project.building("t/b")) == ["seed/base", "t/a", "t/b"]
    assert packed(project.building("t/c", "--nodeps")) == ["t/c"]


def test_onlydeps_without_any_is_nothing_to_do(project: Project) -> None:
    assert packed(project.building("seed/base", "--onlydeps")) == []
    assert packed(project.building("t/b", "--onlydeps")) == ["seed/base", "t/a"]


def test_a_dependency_only_tree_is_built_on_and_packed_by_nobody(project: Project, tmp_path: Path) -> None:
    mine = Project(tmp_path / "mine")
    mine.package("m/app", requires("t/b") + "steps:\n- echo mine > /app\n")
    flags = ("--tree-deps", str(project.tree), "--tree", "packages", "--destination", "build")
    assert packed(mine.run("build", *flags, "--all")) == ["m/app"]
    assert mine.text("app-m-1.0", "app") == "mine\n"
    assert sorted(p.name for p in mine.build.iterdir() if ".package." in p.name) == ["app-m-1.0.package.tar.zst"]
    refused = mine.run("build", *flags, "t/b")
    assert (refused.code, refused.value["error"]["reason"]) == (2, "dependency-only")
    both = mine.run("build", *flags, "--tree", str(project.tree), "t/b")
    assert packed(both) == ["seed/base", "t/a", "t/b"]


def test_of_several_values_files_the_last_wins_and_commas_part_them(project: Project) -> None:
    project.package("t/v", requires("seed/base") + "steps:\n- echo {{ .Values.a }}{{ .Values.b }} > /v\n")
    (project.top / "one.yaml").write_text("a: 1\nb: 1\n")
    (project.top / "two.yaml").write_text("b: 2\n")
    for flags in (("--values", "one.yaml,two.yaml"), ("--values", "one.yaml", "--values", "two.yaml")):
        assert project.building("t/v", *flags).code == 0
        assert project.text("v-t-1.0", "v") == "12\n"
    project.package("u/v", "", version="2")
    (project.top / "packages/u").rename(project.top / "other")
    listed = project.run("tree", "pkglist", "--tree", "packages,other")
    assert {p["name"] for p in listed.value["packages"]} >= {"v", "lone"}


def test_pretend_says_what_luet_says(project: Project) -> None:
    done = project.building("t/b", "--pretend")
    rows = [(p["category"], p["name"], p["version"], p["target"]) for p in done.value["packages"]]
    assert rows == [("seed", "base", "1.0", "t/b-1.0"), ("t", "a", "1.0", "t/b-1.0")]
    assert {"repository": "", "hidden": False, "files": None, "installed": False}.items() <= done.value["packages"][
        0
    ].items()
    assert project.building("seed/base", "--pretend").value["packages"] == []
    assert not project.build.exists()
    assert not (project.top / "treebuild.lock").exists()


@pytest.mark.parametrize(
    "flags",
    [["--keep-images=false"], ["--privileged=true"], ["--wait"], ["--backend-args", "--no-cache"], ["-a", "x"],
     ["--image-repository", "x/y"], ["--solver-concurrent=true"], ["--solver-type", "qlearning"], ["--backend", "img"],
     ["--live-output=true"], ["--rebuild=false", "--push=false", "--pull=0"]],
)  # fmt: skip
def test_what_is_not_needed_is_taken(project: Project, flags: list[str]) -> None:
    done = project.building("seed/base", "--pretend", *flags)
    assert done.code == 0, done.stderr
    quiet = flags[0] in ("--privileged=true", "--live-output=true", "--rebuild=false", "--image-repository")
    assert (flags[0].partition("=")[0] in done.stderr or flags[-1] in done.stderr) is not quiet


def test_final_images_without_a_registry(project: Project) -> None:
    """An OCI layout of this build's packages, which any tool reads; again the same bytes, and no others."""
    assert project.building("t/lone", "--generate-final-images").code == 0
    layout = project.build / "final-images"
    found = project.building("t/a", "--generate-final-images", "--cmd", "/bin/cat /a")
    assert found.code == 0, found.stderr
    index = json.loads((layout / "index.json").read_text())
    names = [item["annotations"]["org.opencontainers.image.ref.name"] for item in index["manifests"]]
    assert "a-t-1.0" in names
    assert "lone-t-1.0" not in names, "it was not of this build"
    before = {path.name: path.read_bytes() for path in (layout / "blobs/sha256").iterdir()}
    manifest = json.loads(before[index["manifests"][names.index("a-t-1.0")]["digest"][7:]])
    config = json.loads(before[manifest["config"]["digest"][7:]])
    assert config["config"]["Cmd"] == ["/bin/cat", "/a"]
    base = json.loads(before[index["manifests"][names.index("base-seed-1.0")]["digest"][7:]])
    assert "Cmd" not in json.loads(before[base["config"]["digest"][7:]])["config"], "nobody asked for it"
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(before[manifest["layers"][0]["digest"][7:]]))) as tar:
        assert "a" in tar.getnames()
    assert project.building("t/a", "--generate-final-images", "--cmd", "/bin/cat /a").code == 0
    assert {path.name: path.read_bytes() for path in (layout / "blobs/sha256").iterdir()} == before
    assert [path.name for path in project.build.iterdir() if path.name.startswith(".")] == []


def test_sub_packages_of_targets_run_what_targets_run(project: Project) -> None:
    for name, stands_on in (("low", "seed/base"), ("high", "t/low")):
        sub = f"subpackages:\n- {{category: t, name: {name}-part, version: '1', includes: [/{name}]}}\n"
        project.package(f"t/{name}", requires(stands_on) + f"steps:\n- echo > /{name}\n{sub}")
    done = project.building("t/high", "--generate-final-images", "--cmd", "/bin/sh")
    assert done.code == 0, done.stderr
    layout = project.build / "final-images"
    commands = {}
    for item in json.loads((layout / "index.json").read_text())["manifests"]:
        manifest = json.loads((layout / "blobs/sha256" / item["digest"][7:]).read_text())
        config = json.loads((layout / "blobs/sha256" / manifest["config"]["digest"][7:]).read_text())
        commands[item["annotations"]["org.opencontainers.image.ref.name"]] = config["config"].get("Cmd")
    run = {name for name, command in commands.items() if command == ["/bin/sh"]}
    assert run == {"high-t-1.0", "high-part-t-1"}
    assert {name for name, command in commands.items() if command is None} >= {"low-t-1.0", "low-part-t-1"}


def test_a_folder_of_somebody_else_is_not_replaced(project: Project) -> None:
    (project.build / "final-images").mkdir(parents=True)
    (project.build / "final-images/mine").write_text("x")
    assert project.building("t/a", "--generate-final-images").code == 1
    assert not list(project.build.glob("*.package.tar*")), "it is refused before anything is built"
    assert (project.build / "final-images/mine").read_text() == "x"


@pytest.mark.parametrize(
    ("flags", "reason"),
    [([], "no-registry"), (["--push-final-images-repository", "a:b:c/d"], "configuration"),
     (["--push-final-images-repository", "127.0.0.1:1/a", "--cmd", "'"], "configuration")],
)  # fmt: skip
def test_final_images_that_lead_nowhere_are_refused_first(project: Project, flags: list[str], reason: str) -> None:
    done = project.building("t/a", "--push-final-images", *flags)
    assert done.code != 0
    assert done.value["error"]["reason"] == reason
    assert not project.build.exists()


def test_a_word_with_an_equals_sign_stays_what_it_is(project: Project) -> None:
    done = project.run("build", "--tree", "packages", "--pretend", "--", "=t/b-1.0")
    assert [p["name"] for p in done.value["packages"]] == ["base", "a"]
    assert json.dumps(done.value).count("t/b-1.0") == 2


def test_the_table_names_every_flag() -> None:
    """docs/luet-compatibility/build.md lists what the verb takes, and nothing else."""
    parser = argparse.ArgumentParser(add_help=False)
    build.configure(parser)
    add_global_flags(parser)
    flags = {option for action in parser._actions for option in action.option_strings if option.startswith("--")}
    text = Path("docs/luet-compatibility/build.md").read_text()
    listed = set(re.findall(r"--[a-z][a-z-]+", text)) - {"--flag"}
    assert listed - flags == set()
    assert flags - listed - {f"--no-{flag[2:]}" for flag in flags} <= {
        "--output",
        "--cache-dir",
        "--progress",
        "--quiet",
        "--debug",
    }


def test_every_verb_that_reads_a_tree_takes_dependency_only_trees(project: Project, tmp_path: Path) -> None:
    mine = Project(tmp_path / "mine")
    mine.package("m/app", requires("t/b") + "steps:\n- echo mine > /app\n")
    flags = ("--tree-deps", str(project.tree), "--tree", "packages")
    assert mine.run("tree", "validate", *flags).value["faults"] == []
    assert mine.run("tree", "validate", "--tree", "packages").code == 2
    listed = mine.run("tree", "pkglist", "-b", *flags).value["packages"]
    assert [f"{p['category']}/{p['name']}" for p in listed] == ["m/app"]
    ordered = mine.run("tree", "pkglist", "-b", "--deps", *flags, "-m", "^m/").value["packages"]
    assert [p["name"] for p in ordered] == ["base", "a", "b", "app"]
    assert mine.run("lock", *flags).code == 0
    keys = {node["name"]: node["plan_key"] for node in mine.run("explain", *flags, "m/app").value["nodes"]}
    built = mine.run("build", *flags, "--destination", "build", "--all", "--locked")
    assert {node["name"]: node["plan_key"] for node in built.value["nodes"]} == keys
    (mine.top / ".luet.yaml").write_text(f"tree-deps: {project.tree}\n")
    assert packed(mine.run("build", "--tree", "packages", "--destination", "build", "--all")) == ["m/app"]
    assert mine.run("tree", "validate", "--tree", "packages").value["faults"] == []


def test_a_build_with_nothing_to_do_repeats_what_the_tree_was_warned_of_and_no_flags(project: Project) -> None:
    (project.top / ".luet.yaml").write_text("destinatoin: x\n")
    project.package("t/odd", requires("seed/base") + "step:\n- true\nsteps:\n- echo > /odd\n")

    def warned(*flags: str) -> list[str]:
        done = project.building("t/odd", *flags)
        said = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
        assert len(done.value["warnings"]) == len(said)
        return [next(word for word in ("'step'", "--sign", "--cmd", "'destinatoin'") if word in line) for line in said]

    assert warned("--sign", "team.key") == ["--sign", "'destinatoin'", "'step'"]
    assert warned() == ["'destinatoin'", "'step'"]
    assert warned("--cmd", "x") == ["--cmd", "'destinatoin'", "'step'"]
    assert warned() == ["'destinatoin'", "'step'"]
