"""`tree pkglist`, `images`, `validate`, `lint` and `graph`: luet's flags, and ours."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests import schemas
from tests.services import program
from tests.trees import Project, chain, requires
from treebuilder.cli.main import main

pytestmark = pytest.mark.engine
TREE = ("--tree", "packages")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    made.base()
    chain(made, ["t/a", "t/b"])
    made.package("t/run", "", requires("t/b") + "labels: {kind: tool}\n", version="2.0")
    return made


def text(project: Project, *words: str) -> str:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.chdir(project.top):
        code = main(["tree", *project.words(*words)])
    assert code == 0, err.getvalue()
    return out.getvalue()


def shown(project: Project, *words: str) -> list[str]:
    return text(project, "pkglist", *TREE, *words).splitlines()


# pkglist ---------------------------------------------------------------------------------------------------------
def test_pkglist_is_sorted_and_says_as_much_as_asked(project: Project) -> None:
    assert shown(project) == ["seed/base", "t/a", "t/b", "t/run"]
    assert shown(project, "-v")[-1] == "t/run-2.0"
    assert shown(project, "-f", "-m", "run") == [
        "t/run-2.0", "  path: packages/t/run", "  requires: t/b >=0", "  label kind: tool"
    ]  # fmt: skip
    more = (
        "license: MIT\nuri: [https://a, https://b]\ndescription: |\n  one\n  two\nannotations: {config_protect: /etc}\n"
    )
    project.package("t/full", "", more, version="1")
    assert shown(project, "-f", "-m", "full") == [
        "t/full-1", "  path: packages/t/full", "  description: one", "    two", "  license: MIT",
        "  uri: https://a, https://b", "  annotation config_protect: /etc",
    ]  # fmt: skip
    shutil.rmtree(project.top / "packages/t/full")
    assert shown(project, "-m", "^t/", "-m", "seed", "-e", "a$") == ["seed/base", "t/b", "t/run"]
    assert shown(project, "-v", "-m", "2") == ["t/run-2.0"]


def test_pkglist_with_what_is_needed_and_what_needs(project: Project) -> None:
    assert shown(project, "--deps", "-m", "run") == ["t/b", "t/run"]  # the definition's, as installed
    assert shown(project, "--deps", "-b", "-m", "t/b") == ["seed/base", "t/a", "t/b"]
    assert shown(project, "--revdeps", "-m", "t/b") == ["t/run"]
    assert shown(project, "--revdeps", "--buildtime", "-m", "base") == ["t/a", "t/b"]


def test_pkglist_lists_sub_packages_as_the_runtime_view_does(project: Project) -> None:
    carved = '- {category: t, name: b-doc, version: "1.0", requires: [{category: t, name: run, version: ">=0"}]}\n'
    project.package("t/b", requires("t/a") + "subpackages:\n" + carved, version="1.0")
    assert shown(project, "-v") == ["seed/base-1.0", "t/a-1.0", "t/b-1.0", "t/b-doc-1.0", "t/run-2.0"]
    assert shown(project, "-b") == ["seed/base", "t/a", "t/b", "t/run"]
    assert shown(project, "-m", "doc", "--deps") == ["t/b", "t/run", "t/b-doc"]
    assert shown(project, "-m", "run", "--revdeps") == ["t/b-doc"]
    row = project.run("tree", "pkglist", *TREE, "-m", "doc").value["packages"][0]
    assert (row["path"], row["requires"]) == ("packages/t/b", ["t/run >=0"])
    assert shown(project, "-v") == shown(project, "-v"), "the index says the same"


def test_pkglist_has_luets_json(project: Project) -> None:
    row = project.run("tree", "pkglist", *TREE, "-m", "run").value["packages"][0]
    luet = {"name": "run", "category": "t", "version": "2.0", "path": "packages/t/run", "image": ""}
    assert luet.items() <= row.items()


def test_a_pattern_that_is_none_is_said(project: Project) -> None:
    done = project.run("tree", "pkglist", *TREE, "-m", "(")
    assert (done.code, done.value["error"]["reason"]) == (2, "pattern")


# images ----------------------------------------------------------------------------------------------------------
def test_images_are_luets_lines_in_the_order_of_the_build(project: Project) -> None:
    lines = text(project, "images", *TREE, "t/b", "--image-repository", "quay.io/x").splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["seed/base-1.0", "t/a-1.0", "t/b-1.0"]
    rows = project.run("tree", "images", *TREE, "t/b").value["packages"]
    assert [row["image"] for row in rows] == [f"luet/cache:{row['plan_key']}" for row in rows]
    assert lines[0].endswith(f": quay.io/x:{rows[0]['plan_key']}")


NOWHERE = "127.0.0.1:1/nobody/base:1"  # who asks is refused


def test_images_are_told_without_a_network(project: Project) -> None:
    project.package("t/out", f"image: {NOWHERE}\n")
    project.package("t/on", requires("t/out") + "steps:\n- echo > /on\n")
    project.package("t/boot", "bootstrap: {distribution: debian, suite: odd, packages: [a]}\n")
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.chdir(project.top):
        assert main(["luet", *project.words("tree", "images", *TREE, "t/on")]) == 0
    done = project.run("tree", "images", *TREE, "t/on", "t/a")
    rows = {row["name"]: row for row in done.value["packages"]}
    assert [f"t/{name}-1.0: {rows[name]['image']}" for name in ("out", "on")] == out.getvalue().splitlines()
    assert [rows[name]["plan_key"] for name in ("out", "on")] == ["", ""]
    assert rows["a"]["image"] == f"luet/cache:{rows['a']['plan_key']}"
    assert "2 of 4 are named" in done.stderr
    assert schemas.faults(done.value, schemas.load("tree-images")) == []
    known = {"schema": 1, "epoch": 0, "images": {NOWHERE: f"sha256:{'5' * 64}"}, "urls": {}, "bootstraps": {}}
    (project.top / "treebuild.lock").write_text(json.dumps(known))
    again = project.run("tree", "images", *TREE, "t/on").value["packages"]
    assert all(row["image"] == f"luet/cache:{row['plan_key']}" and row["plan_key"] for row in again)
    # nothing is known of the day of a bootstrap that is not locked, and it would be the epoch of everything
    boot = project.run("tree", "images", *TREE, "t/boot", "t/a").value["packages"]
    assert [row["image"] for row in boot if row["name"] == "boot"] == [""]


# validate --------------------------------------------------------------------------------------------------------
def test_validate_looks_at_the_side_and_the_packages_asked_for(project: Project) -> None:
    project.package("t/bad", requires("no/build"), requires("no/run"))
    run = project.run("tree", "validate", *TREE, "-s")
    assert [(f["side"], f["reason"]) for f in run.value["faults"]] == [
        ("build", "unknown-package"), ("runtime", "unknown-package")
    ]  # fmt: skip
    for flag, side in (("--only-runtime", "runtime"), ("--only-buildtime", "build")):
        assert [f["side"] for f in project.run("tree", "validate", *TREE, flag).value["faults"]] == [side]
    assert project.run("tree", "validate", *TREE, "-e", "bad").code == 0
    assert project.run("tree", "validate", *TREE, "-m", "t/a").value["packages"] == 1


def test_a_specfile_that_is_a_link_is_followed_by_every_verb(project: Project) -> None:
    folder = project.package("t/linked", "")
    (project.tree / "shared.yaml").write_text(requires("seed/base") + "steps:\n- echo > /{{ .Values.name }}\n")
    (folder / "build.yaml").unlink()
    (folder / "build.yaml").symlink_to("../../shared.yaml")
    for verb in (("tree", "validate", "--plan"), ("explain", "t/linked"), ("build", "--pretend", "t/linked")):
        done = project.run(*verb, *TREE)
        assert done.code == 0, (verb, done.stderr)
    assert project.building("t/linked").states() == {"seed/base": "built", "t/linked": "built"}
    assert "linked" in project.content("linked-t-1.0")
    (project.tree / "shared.yaml").write_text(requires("seed/base") + "steps:\n- echo > /other\n")
    assert project.building("t/linked").states()["t/linked"] == "built"
    assert "other" in project.content("linked-t-1.0")
    (project.tree / "words.yaml").write_text((folder / "definition.yaml").read_text() + "description: one\n")
    (folder / "definition.yaml").unlink()
    (folder / "definition.yaml").symlink_to("../../words.yaml")
    metadata = project.build / "linked-t-1.0.metadata.yaml"
    for word in ("one", "two"):
        words = (project.tree / "words.yaml").read_text()
        (project.tree / "words.yaml").write_text(words.replace("description: one", f"description: {word}"))
        assert project.building("t/linked").code == 0
        assert f"description: {word}" in metadata.read_text()


def test_images_are_named_as_a_build_names_them_at_any_time(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    project.package("t/timed", requires("seed/base") + "steps:\n- echo > /timed\n")
    keys = set()
    for epoch in ("0", "5"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
        built = {node["name"]: node["plan_key"] for node in project.building("t/timed").value["nodes"]}
        told = {
            row["name"]: row["plan_key"] for row in project.run("tree", "images", *TREE, "t/timed").value["packages"]
        }
        assert told["timed"] == built["timed"]
        keys.add(told["timed"])
    assert len(keys) == 2


def test_all_specfiles_that_cannot_be_read_are_told_at_once(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.base()
    project.package("t/a", "requires: 5\n")
    project.package("t/b", requires("t/a") + "steps:\n- '{{ nothing }}'\n")
    (project.package("t/c", "") / "definition.yaml").write_text("name: [\n")
    run = project.run("tree", "validate", *TREE)
    assert run.code == 2
    files = [(fault["package"], fault["where"]["file"]) for fault in run.value["faults"]]
    assert files == [("", f"packages/t/{name}") for name in ("a/build.yaml", "b/build.yaml", "c/definition.yaml")]
    assert schemas.faults(run.value, schemas.load("tree-validate")) == []


def test_a_package_that_stands_twice_is_a_fault(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.base()
    project.package("t/a", "")
    shutil.copytree(project.top / "packages" / "t" / "a", project.top / "packages" / "t" / "again")
    faults = project.run("tree", "validate", *TREE).value["faults"]
    assert [(fault["package"], fault["reason"]) for fault in faults] == [("t/a-1.0", "duplicate-package")]
    (project.tree / "t/again/definition.yaml").unlink()
    (project.tree / "t/a/build.yaml").write_text("steps: [echo]\n")
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()), contextlib.chdir(project.top):
        assert main(project.words("tree", "validate", *TREE)) == 2
    assert out.getvalue() == "2 packages, 1 fault\n"


def test_validate_says_what_no_build_could_do(project: Project) -> None:
    project.package("t/none", "steps: [echo]\n")
    project.package("t/pattern", requires("seed/base") + "steps: [echo]\nexcludes:\n- '(?<x)'\n")
    faults = project.run("tree", "validate", *TREE).value["faults"]
    assert [(f["package"], f["reason"], f["where"]["line"]) for f in faults] == [
        ("t/none-1.0", "no-base", 1), ("t/pattern-1.0", "pattern", 5)
    ]  # fmt: skip


def test_validate_finds_steps_that_stand_on_virtual_packages_alone(project: Project) -> None:
    project.package("t/nothing", "")
    project.package("t/more", requires("t/nothing"))
    project.package("t/steps", requires("t/more") + "steps: [echo]\n")
    project.package("t/fine", requires("t/more") + requires("t/a").removeprefix("requires:\n") + "steps: [echo]\n")
    project.package("t/lost", requires("t/ghost") + "steps: [echo]\n")
    faults = project.run("tree", "validate", *TREE).value["faults"]
    assert [(f["package"], f["reason"]) for f in faults] == [
        ("t/lost-1.0", "unknown-package"), ("t/steps-1.0", "no-base")
    ]  # fmt: skip


def test_validate_names_the_template_that_says_what_no_build_could_do(project: Project) -> None:
    (project.tree / "templates").mkdir()
    (project.tree / "templates/x.yaml").write_text('{{ define "bad" }}\nenv:\n- NOVALUE\n{{ end }}\n')
    project.package("t/bad", requires("seed/base") + '{{ template "bad" . }}\nsteps: [echo]\n')
    (fault,) = project.run("tree", "validate", *TREE).value["faults"]
    assert fault["where"] == {"file": "packages/templates/x.yaml", "line": 3}
    assert "t/bad/build.yaml" in fault["message"]


def test_validate_plans_only_when_asked(project: Project) -> None:
    project.package("t/later", requires("seed/base") + "retrieve: ['*.later']\nsteps: [echo]\n")
    assert project.run("tree", "validate", *TREE, "-s").code == 0  # the file may be there when it is built
    assert project.run("tree", "validate", *TREE, "--plan").value["faults"][0]["reason"] == "retrieve"


# lint ------------------------------------------------------------------------------------------------------------
def test_lint(project: Project) -> None:
    assert project.run("tree", "lint", *TREE).value["findings"] == []
    recipe = "image: alpine\nstep: [a]\nsteps: ['{{ .Values.used }}']\nincludes: ['^/usr/bin/x$']\n"
    recipe += "excludes:\n- /bin\n- /lib/y\n"
    project.package("l/x", recipe, "used: 1\nunused: 2\n", finalize__yaml="install: ['sh /usr/lib/y.sh']\n")
    old = project.package("l/old", "image: debian:12\n", version="0.9")
    (old / "definition.yaml").write_text("category: l\nname: x\nversion: 0.9.1 # old\n")
    project.package("l/gap", requires("l/x").replace(">=0", ">=9"), "conflicts: [{name: ghost}]\n")
    done = project.run("tree", "lint", *TREE)
    assert done.code == 2
    found = {(f["rule"], Path(f["where"]["file"]).parent.name, f["where"]["line"]) for f in done.value["findings"]}
    assert found == {
        ("specfile", "x", 2), ("unused-value", "x", 5), ("floating-image", "x", 1), ("excluded", "x", 6),
        ("excluded", "x", 7), ("unreachable", "old", 1), ("unquoted-version", "old", 3), ("unsatisfied", "gap", 2),
        ("unsatisfied", "gap", 4),
    }  # fmt: skip


def test_a_finalizer_with_keys_that_nobody_reads_is_warned_of(project: Project) -> None:
    for name in ("t/a", "t/b"):
        text = "shel: [sh]\n{{ if true }}\ninstal: [a]\n{{ end }}\ninstall: [b]\n"
        (project.tree / name / "finalize.yaml").write_text(text)
    places = [(name, line) for name in ("t/a", "t/b") for line in (1, 3)]
    validated = project.run("tree", "validate", *TREE)
    assert (validated.code, validated.value["faults"]) == (0, [])
    said = [line for line in validated.stderr.splitlines() if "means nothing here" in line]
    assert [f"packages/{name}/finalize.yaml:{line}" for name, line in places] == [
        word.rstrip(":") for line in said for word in line.split() if "finalize.yaml" in word
    ]
    assert "did you mean install?" in validated.stderr
    found = project.run("tree", "lint", *TREE).value["findings"]
    assert [(f["rule"], f["where"]["file"], f["where"]["line"]) for f in found] == [
        ("specfile", f"packages/{name}/finalize.yaml", line) for name, line in places
    ]


def test_what_no_solver_asks_about_is_said(project: Project) -> None:
    """A package to copy from, and versions that are provided or refused."""
    odd = "provides: [{category: v, name: w, version: '>=>1'}]\nconflicts: [{category: t, name: a, version: '>='}]\n"
    recipe = (
        requires("t/a") + "copy:\n- package: {category: c, name: zz, version: '>=0'}\n  source: /a\n  destination: /b\n"
    )
    project.package("l/n", recipe, odd)
    done = project.run("tree", "validate", *TREE, "-s")
    faults = [(f["package"], f["side"], f["where"]["file"], f["where"]["line"]) for f in done.value["faults"]]
    definition, build = "packages/l/n/definition.yaml", "packages/l/n/build.yaml"
    assert faults == [
        ("l/n-1.0", "build", build, 4), ("l/n-1.0", "runtime", definition, 4), ("l/n-1.0", "runtime", definition, 5)
    ]  # fmt: skip
    assert "c/zz" in done.value["faults"][0]["message"]
    assert "'>1' is no version" in done.value["faults"][1]["message"]
    found = project.run("tree", "lint", *TREE).value["findings"]
    assert [(f["rule"], f["where"]["file"], f["where"]["line"]) for f in found] == [
        ("unsatisfied", build, 4), ("unsatisfied", definition, 4), ("unsatisfied", definition, 5)
    ]  # fmt: skip
    for side in ("--only-runtime", "--only-buildtime"):
        sides = {f["side"] for f in project.run("tree", "validate", *TREE, side).value["faults"]}
        assert sides == {side.removeprefix("--only-").removesuffix("time").replace("run", "runtime")}


def test_lint_of_some_packages(project: Project) -> None:
    for name in ("l/x", "l/y"):
        project.package(name, "image: alpine\nstep: [a]\n", "unused: 2\n")
    for flags, names in ((("-m", "l/x-1"), ["l/x"]), (("-e", "^l/x", "-e", "^t/"), ["l/y"]), (("-m", "^t/"), [])):
        done = project.run("tree", "lint", *TREE, *flags)
        files = sorted({f["where"]["file"].rpartition("/")[0] for f in done.value["findings"]})
        assert files == [f"packages/{name}" for name in names]
        assert {f["rule"] for f in done.value["findings"]} == (
            {"specfile", "unused-value", "floating-image"} if names else set()
        )
    assert project.run("tree", "lint", *TREE, "-m", "l/x").value["packages"] == 1


def test_lint_takes_what_is_built_on_and_says_nothing_of_it(project: Project) -> None:
    below = project.package("l/b", "image: alpine\n", "unused: 2\n")
    below.rename(project.top / "below")
    project.package("l/a", "requires: [{category: l, name: b, version: '>=1'}]\n", "unused: 2\n")
    rules = {}
    for flags in ((), ("--tree-deps", "below"), ("--tree", "below")):
        done = project.run("tree", "lint", *TREE, *flags, "-m", "^l/")
        rules[flags] = sorted({(f["rule"], f["where"]["file"].split("/")[0]) for f in done.value["findings"]})
    assert rules == {
        (): [("unsatisfied", "packages"), ("unused-value", "packages")],
        ("--tree-deps", "below"): [("unused-value", "packages")],
        ("--tree", "below"): [("floating-image", "below"), ("unused-value", "below"), ("unused-value", "packages")],
    }


@pytest.mark.parametrize(
    "words", ["pkglist t/a", "graph --revdeps", "lint t/a", "validate --deps", "images -m t", "graph -p 1", "lint -s"]
)
def test_what_means_nothing_to_a_verb_is_refused(project: Project, words: str) -> None:
    verb, *rest = words.split()
    done = project.run("tree", verb, *TREE, *rest)
    assert done.code != 0
    assert f"tree {verb} takes no " in done.value["error"]["message"]


# graph -----------------------------------------------------------------------------------------------------------
def test_graphs(project: Project) -> None:
    value = project.run("tree", "graph", *TREE, "t/b").value
    assert [node["package"] for node in value["nodes"]] == ["seed/base-1.0", "t/a-1.0", "t/b-1.0"]
    assert text(project, "graph", *TREE, "t/b", "-o", "dot") == text(project, "graph", *TREE, "t/b")
    mermaid = text(project, "graph", *TREE, "t/b", "-o", "mermaid").splitlines()
    assert mermaid[:2] == ["flowchart RL", '  n0["seed/base-1.0"]']
    assert "  n2 --> n1" in mermaid
    svg = ET.fromstring(text(project, "graph", *TREE, "t/b", "-o", "svg"))
    names = [item.text for item in svg.iter("{http://www.w3.org/2000/svg}text")]
    across = [float(item.attrib["x"]) for item in svg.iter("{http://www.w3.org/2000/svg}rect")]
    assert names == ["seed/base-1.0", "t/a-1.0", "t/b-1.0"]
    assert across == sorted(set(across))
    assert len(list(svg.iter("{http://www.w3.org/2000/svg}path"))) == 2


def test_a_form_that_is_none_is_refused(project: Project) -> None:
    for words in (("graph", "-o", "png"), ("pkglist", "-o", "svg"), ("bump",)):
        done = project.run("tree", *words)
        assert (done.code, done.value["error"]["reason"]) == (1, "configuration")


# completion ------------------------------------------------------------------------------------------------------
def completed(project: Project, *words: str) -> list[str]:
    """What bash offers for the last of the words. Called as luet, it asks luet."""
    program = words[0]
    script = [*(["luet"] if program == "luet" else []), *project.words("completion", "bash")]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(script) == 0
    line = " ".join(shlex.quote(word) for word in words)
    asked = f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _{program}; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    called = "-m treebuilder luet" if program == "luet" else "-m treebuilder"
    start = f'{program}() {{ "{sys.executable}" {called} "$@" --cache-dir "{project.top}/cache"; }}\n'
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        ["bash", "-c", start + out.getvalue() + asked],
        cwd=project.top,
        capture_output=True,
        text=True,
        check=True,
        env=env,
    )
    return done.stdout.split()


def test_bash_completes_packages_of_the_tree(project: Project) -> None:
    assert completed(project, "treebuild", "build", "t/") == ["t/a", "t/b", "t/run"]  # the folder `packages`
    (project.top / "packages").rename(project.top / "elsewhere")
    assert completed(project, "treebuild", "build", "--json", "t/") == []
    assert completed(project, "treebuild", "explain", "--tree", "elsewhere", "--json", "t/r") == ["t/run"]
    assert completed(project, "treebuild", "tree", "images", "-t", "elsewhere", "s") == ["seed/base"]
    assert completed(project, "treebuild", "tree", "l") == ["lint"]
    assert completed(project, "treebuild", "build", "--tree", "else") == []  # left to the shell: a folder
    assert "--revdeps" in completed(project, "treebuild", "build", "--re")


def test_bash_completes_behind_an_equals_sign(project: Project) -> None:
    """Which the shell makes a word of its own, if it parts words there at all."""
    (project.top / "packages").rename(project.top / "elsewhere")
    for parted in (["--tree=elsewhere"], ["--tree", "=", "elsewhere"]):
        assert completed(project, "treebuild", "build", *parted, "t/r") == ["t/run"]
    assert completed(project, "treebuild", "build", "--tree", "=", "else") == []  # left to the shell: a folder
    assert completed(project, "treebuild", "build", "--tree", "=") == []
    mine = Project(project.top / "mine")
    mine.package("m/app", "requires: [{category: t, name: a}]\n")
    words = ("treebuild", "build", "--tree", "=", "mine/packages", "--tree-deps", "elsewhere", "")
    assert completed(project, *words) == ["m/app"]


def test_bash_offers_what_can_be_built(project: Project) -> None:
    project.package("t/parts", "subpackages:\n- {category: t, name: part, version: '1', includes: [x]}\n")
    assert "t/part" in [f"{p['category']}/{p['name']}" for p in project.run("tree", "pkglist").value["packages"]]
    assert completed(project, "treebuild", "build", "t/p") == ["t/parts"]


def test_bash_completes_luet(project: Project) -> None:
    assert completed(project, "luet", "build", "-t", "packages", "t/r") == ["t/run"]
    assert completed(project, "luet", "un") == ["uninstall", "unhold", "un"]
    assert "--system-target" in completed(project, "luet", "rm", "--sys")
    assert completed(project, "luet", "tree", "l") == ["lint"]


@pytest.mark.parametrize("called", [[], ["luet"]])
@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_take_their_scripts(project: Project, shell: str, called: list[str]) -> None:
    found = program(shell, shell)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main([*called, "completion", shell]) == 0
    name = called[0] if called else "treebuild"
    assert f"{'#compdef' if shell == 'zsh' else 'complete -c'} {name}" in out.getvalue()
    subprocess.run([found, "-n"], input=out.getvalue(), text=True, check=True, capture_output=True)
