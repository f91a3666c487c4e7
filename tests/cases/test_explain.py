"""`explain`: why a conflict, why this version, why no newer one; without a lock and without a registry."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest

from tests.trees import Project
from treebuilder.cli.main import main

TREE = ("--tree", "packages")


def ref(key: str, *wanted: str) -> str:
    items = (word.partition("@") for word in wanted)
    return f"{key}:\n" + "".join(f'- {{category: t, name: {n}, version: "{v or ">=0"}"}}\n' for n, _, v in items)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """`t/app` 2 needs `t/old` below 2 and `t/new`, which conflicts with that; `t/app` 1 needs `t/old` alone."""
    made = Project(tmp_path)
    for version in ("1.0", "2.0"):
        folder = made.package("t/old", "image: quay.io/nobody/nothing:1\n", version=version)
        folder.rename(folder.parent / f"old{version}")
    made.package("t/new", ref("requires", "base") + ref("conflicts", "old@<2"))
    made.package("t/base", "image: quay.io/nobody/nothing:1\n")
    made.package("t/app", ref("requires", "old@<2", "new"), version="2.0").rename(made.tree / "t" / "app2")
    made.package("t/app", ref("requires", "old@<2"), version="1.0")
    return made


@pytest.mark.parametrize("flags", [(), ("--versions",)])
def test_a_conflict_is_a_chain_with_files(project: Project, flags: tuple[str, ...]) -> None:
    done = project.run("explain", "t/app@>=2", *TREE, *flags)
    assert (done.code, done.value["error"]["reason"]) == (2, "unsatisfiable")
    chain = "\n".join(done.value["error"]["detail"])
    for word in ("t/app-2.0", "t/old <2", "t/new", "packages/t/new/build.yaml:4", "packages/t/app2/build.yaml:2"):
        assert word in chain, chain
    assert not (project.top / "treebuild.lock").exists()


VERBS = [("explain", "--versions"), ("explain",), ("build",), ("build", "--pretend"), ("tree", "images")]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_takes_the_newest_target(project: Project, verb: tuple[str, ...]) -> None:
    """As luet's build: the best version that matches the word, even if it cannot be had and an older one can."""
    done = project.run(*verb, *TREE, "t/app")
    assert (done.code, done.value["error"]["reason"]) == (2, "unsatisfiable")
    assert "t/app-2.0" in "\n".join(done.value["error"]["detail"])
    older = project.run(*verb, *TREE, "t/app@<2")
    assert older.value.get("error", {}).get("reason") != "unsatisfiable"


@pytest.mark.parametrize("verb", ["tree images", "build --pretend"])
def test_called_as_luet_as_well(project: Project, verb: str) -> None:
    def luet(word: str) -> tuple[int, str]:
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), contextlib.chdir(project.top):
            code = main(["luet", *project.words(*verb.split()), *TREE, word])
        return code, out.getvalue()

    code, said = luet("t/app")
    assert code == 2
    assert "t/app-2.0" in said
    assert luet("t/app@<2")[0] == 0


@pytest.mark.parametrize(("word", "reason"), [("t/app@>=3", "no-version"), ("t/ghost", "unknown-package")])
def test_what_is_not_there_is_told_apart(project: Project, word: str, reason: str) -> None:
    for flags in ((), ("--versions",)):
        assert project.run("explain", word, *TREE, *flags).value["error"]["reason"] == reason


def test_a_mistyped_name_is_told_what_is_like_it(project: Project) -> None:
    error = project.run("explain", "t/ap", *TREE).value["error"]
    assert "t/app" in error["hint"]


def test_a_tree_is_warned_of_once(project: Project) -> None:
    (project.tree / "t/base/build.yaml").write_text("image: quay.io/nobody/nothing:1\nunpak: true\n")
    done = project.run("explain", "t/base", *TREE)
    assert done.stderr.count("unpak") == 1


def test_why_this_version_and_no_newer_one(project: Project) -> None:
    said = project.run("explain", "t/app@1.0", *TREE, "--versions")
    assert said.code == 0, said.stderr
    text = "\n".join(said.value["reasons"])
    assert "t/app-1.0 requires t/old <2" in text
    assert "t/old-2.0" in text  # what bars the newer one
    barred = project.run("explain", "t/app@1.0", *TREE, "--why-not", "t/old@2.0")
    assert any("t/old <2" in line for line in barred.value["reasons"])
    for newest in ("t/old", "t/old@>=1.0"):
        again = project.run("explain", "t/app@1.0", *TREE, "--why-not", newest)
        assert again.value["reasons"] == barred.value["reasons"]
    missing = project.run("explain", "t/app@1.0", *TREE, "--why-not", "t/old@3.0")
    assert missing.value["error"]["reason"] == "no-version"
    assert not (project.top / "treebuild.lock").exists()


def test_what_can_be_built_and_not_installed(project: Project) -> None:
    folder = project.package("t/clash", "image: quay.io/nobody/nothing:1\n")
    with (folder / "definition.yaml").open("a") as definition:
        definition.write(ref("requires", "old@<2", "new"))
    assert (project.tree / "t/new/definition.yaml").write_text(
        'category: t\nname: new\nversion: "1.0"\n' + ref("conflicts", "old@<2")
    )
    done = project.run("explain", "t/clash", *TREE)
    assert (done.code, done.value["error"]["reason"]) == (2, "unsatisfiable")
    assert "t/clash/definition.yaml" in "\n".join(done.value["error"]["detail"])


def test_what_other_repositories_may_have_is_no_conflict(project: Project) -> None:
    folder = project.package("t/open", "image: quay.io/nobody/nothing:1\n")
    with (folder / "definition.yaml").open("a") as definition:
        definition.write(ref("requires", "ghost"))
    assert project.run("explain", "t/open", *TREE).value["error"]["reason"] == "transport"


def test_a_registry_that_is_not_there_is_said_with_a_way_out(project: Project) -> None:
    done = project.run("explain", "t/base", *TREE)
    assert (done.code, done.value["error"]["reason"]) == (2, "transport")
    assert "--versions" in done.value["error"]["hint"]
