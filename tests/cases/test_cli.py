"""What verbs print: results that their published schemas describe, errors with a reason, and nothing else."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import schemas
from tests.cases.test_install_verbs import RESULTS as CLIENT_RESULTS
from tests.trees import Project, requires
from treebuilder.cli.main import main
from treebuilder.records import fields
from treebuilder.trust.keys import new_key
from treebuilder.vm import BootReport

pytestmark = pytest.mark.engine

TREE = ("--tree", "packages")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two packages and a base, built, in a repository."""
    project = Project(tmp_path_factory.mktemp("cli"))
    project.base()
    project.package("t/lib", requires("seed/base") + "steps:\n- echo lib > /lib.txt\n", 'labels: {colour: "blue"}\n')
    project.package("t/app", requires("t/lib") + "steps:\n- echo app > /app\n", requires("t/lib") + "hidden: true\n")
    (project.top / "mine.pub").write_bytes(new_key().public.pem)
    assert project.building("t/app").code == 0
    made = project.run("create-repo", *TREE, "--packages", "build", "--output", "build", "--name", "n")
    assert made.code == 0, made.stderr
    return project


def say(project: Project, *words: str) -> tuple[int, str, str]:
    """Runs a verb; exit code, all of stdout, all of stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.chdir(project.top):
        code = main(["--cache-dir", str(project.top / "cache"), *words])
    return code, out.getvalue(), err.getvalue()


BUILD = ("build", *TREE, "--destination", "build", "t/app")
RESULTS: dict[str, tuple[str, ...]] = {
    "build": BUILD,
    "create-repo": ("create-repo", *TREE, "--packages", "build", "--output", "build", "--name", "n"),
    "install": ("install", "--system-target", "root", "--local", "build", "t/app"),
    "pack": (
        "pack", "t/lib@1.0", "--source", "packages/t", "--destination", "packed",
        "--definition", "packages/t/lib/definition.yaml",
    ),
    "key": ("key", "show", "mine.pub"),
    "lock": ("lock", *TREE),
    "tree-pkglist": ("tree", "pkglist", *TREE),
    "tree-validate": ("tree", "validate", *TREE),
    "tree-images": ("tree", "images", *TREE, "t/app"),
    "tree-graph": ("tree", "graph", *TREE),
    "tree-lint": ("tree", "lint", *TREE),
    "tree-bump": ("tree", "bump", "--to-stdout", "-f", "packages/t/lib/definition.yaml"),
    "build-pretend": (*BUILD, "--pretend"),
    "explain": ("explain", *TREE, "t/app"),
    "explain-versions": ("explain", *TREE, "--versions", "t/app"),
    "cache-list": ("cache", "list"),
    "cache-gc": ("cache", "gc", "--older-than", "1000"),
    "cache-verify": ("cache", "verify"),
    "doctor": ("doctor",),
    "version": ("version",),
    "completion": ("completion", "bash"),
}  # fmt: skip


@pytest.mark.parametrize("name", RESULTS)
def test_results_are_as_published(built: Project, name: str) -> None:
    (built.top / "root").mkdir(exist_ok=True)
    code, out, err = say(built, *RESULTS[name], "--json")
    assert code == (2 if name == "doctor" and json.loads(out)["missing"] else 0), err
    assert out.count("\n") == 1
    assert schemas.faults(json.loads(out), schemas.load(name)) == []


@pytest.mark.parametrize("name", [n for n in RESULTS if n not in ("create-repo", "install")])
def test_yaml_says_what_json_says(built: Project, name: str) -> None:
    _, text, _ = say(built, *RESULTS[name], "-o", "json")
    _, again, _ = say(built, *RESULTS[name], "-o", "yaml")
    one, two = json.loads(text), yaml.safe_load(again)
    for node in [*one.get("nodes", []), *two.get("nodes", [])]:
        node.pop("seconds", None)  # the second is quicker, and says so
        node.pop("reason", None)
    assert one == two


@pytest.mark.parametrize("name", RESULTS)
def test_the_terminal_gets_no_colours_and_no_json(built: Project, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    _, out, err = say(built, *RESULTS[name])
    assert out.strip()
    assert not out.startswith("{")
    assert "\x1b" not in out + err


def test_a_built_and_a_failed_node_are_as_published(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.base()
    project.package("t/good", requires("seed/base") + "steps:\n- echo > /x\n")
    project.package("t/bad", requires("seed/base") + "steps:\n- exit 3\n")
    project.package("t/after", requires("t/bad") + "steps:\n- echo > /x\n")
    code, out, err = say(project, "build", *TREE, "t/good", "t/after", "--json")
    value = json.loads(out)
    assert code == 2
    assert {node["state"] for node in value["nodes"]} == {"built", "failed", "skipped"}
    assert schemas.faults(value, schemas.load("build")) == []
    assert "t/bad" in err
    failed = next(node for node in value["nodes"] if node["state"] == "failed")
    assert (failed["error"]["reason"], failed["error"]["exit_status"]) == ("step-failed", 3)


def test_faults_of_a_tree_are_as_published(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.base()
    project.package("t/x", requires("no/such") + "steps:\n- echo\n")
    code, out, _ = say(project, "tree", "validate", *TREE, "--json")
    value = json.loads(out)
    assert code == 2
    assert value["faults"]
    assert schemas.faults(value, schemas.load("tree-validate")) == []


def test_machines_and_images_are_as_published() -> None:
    """The fields of what needs a virtual machine to be made: every field of the report is in the schema."""
    schema = schemas.load("boot")
    assert {f.name for f in fields(BootReport)} <= set(schema["properties"])
    image = {"path": "x.iso", "size": 1, "sha256": "0" * 64, "state": "built"}
    assert schemas.faults({"schema": "treebuild.images/1", "images": [image]}, schemas.load("iso")) == []


# Held against what the commands say in tests/unit/test_device_cli.py and its neighbours.
DEVICE_RESULTS = {
    f"device-{verb}"
    for verb in ["confirm", "feature", "install", "lint", "rebrand", "return", "run-stage", "status", "upgrade"]
}


def test_every_schema_is_one_of_a_verb() -> None:
    published = {path.stem for path in schemas.FOLDER.glob("*.json")}
    assert published == {
        *RESULTS,
        *CLIENT_RESULTS,
        "iso",
        "boot",
        "key-verify",
        "registry",
        "registry-gc",
        "serve-repo",
        "channel",
        "channel-watch",
        *DEVICE_RESULTS,
        "error",
    }
    for name in published:
        assert schemas.load(name)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("name", sorted(path.stem for path in schemas.FOLDER.glob("*.json")))
def test_every_field_of_a_schema_is_described(name: str) -> None:
    def bare(schema: dict[str, Any], at: str) -> list[str]:
        found = bare(schema["items"], f"{at}[]") if "items" in schema else []
        for key, value in schema.get("properties", {}).items():
            found += [] if value.get("description") else [f"{at}.{key}"]
            found += bare(value, f"{at}.{key}")
        return found

    assert bare(schemas.load(name), name) == []


# errors ---------------------------------------------------------------------------------------------------------------
ERRORS: dict[str, tuple[tuple[str, ...], int, str]] = {
    "a verb": (("frobnicate",), 2, "usage"),
    "no verb": (("--quiet",), 2, "usage"),
    "a flag": (("build", "--frobnicate"), 2, "usage"),
    "a short form of a flag": (("build", "--dest", "x", "t/app"), 2, "usage"),
    "a word": (("cache", "frobnicate"), 2, "usage"),
    "a number": (("build", "--concurrency", "many", "t/app"), 2, "usage"),
    "no argument": (("install", "t/app"), 2, "usage"),
    "no package": (("build", *TREE), 1, "configuration"),
    "an engine": (("build", *TREE, "--engine", "steam", "t/app"), 1, "configuration"),
    "a configuration": (("build", *TREE, "--config", "nowhere.yaml", "t/app"), 1, "configuration"),
    "a tree": (("build", "--tree", "nowhere", "t/app"), 2, "missing-tree"),
    "a package": (("build", *TREE, "t/nothing"), 2, "unknown-package"),
    "locked": (("build", *TREE, "--locked", "--lock", "none.lock", "t/app"), 2, "lock-incomplete"),
    "no cache": (("cache", "verify", "--cache-dir", "nowhere"), 2, "missing-cache"),
    "a folder of others as cache to look at": (("cache", "gc", "--cache-dir", "packages"), 1, "configuration"),
    "a folder of others as cache": (("tree", "pkglist", *TREE, "--cache-dir", "build"), 1, "configuration"),
    "a file as cache": (("cache", "list", "--cache-dir", "treebuild.lock"), 2, "missing-cache"),
    "an endless lock": (("lock", *TREE, "--lock", "/dev/zero"), 2, "lock"),
    "an endless spec": (("iso", "/dev/zero"), 2, "missing-spec"),
    "a folder as spec": (("iso", "packages"), 2, "missing-spec"),
    "a port": (("boot", "treebuild.lock", "--http", "²/x"), 1, "configuration"),
    "a long configuration": (("tree", "pkglist", *TREE, "--config", "x" * 5000), 1, "configuration"),
    "an image": (("boot", "nowhere.iso"), 1, "missing-image"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_have_a_code_and_a_reason(built: Project, name: str) -> None:
    words, code, reason = ERRORS[name]
    got, out, err = say(built, *words, "--json")
    value = json.loads(out)
    assert (got, value["error"]["reason"]) == (code, reason), err
    assert value["error"]["exit_code"] == code
    assert schemas.faults(value, schemas.load("error")) == []
    assert err.startswith("error: ")
    assert "Traceback" not in err
    assert not (built.top / "nowhere").exists()
    assert {path.name for path in built.tree.iterdir()} == {"seed", "t"}


def test_an_error_on_the_terminal_leaves_stdout_alone(built: Project) -> None:
    code, out, err = say(built, "build", "--tree", "nowhere", "t/app")
    assert (code, out) == (2, "")
    assert "nowhere" in err


def test_an_error_can_be_yaml(built: Project) -> None:
    code, out, _ = say(built, "build", "--tree", "nowhere", "t/app", "-o", "yaml")
    assert code == 2
    assert schemas.faults(yaml.safe_load(out), schemas.load("error")) == []


def test_debug_shows_where_an_error_comes_from(built: Project) -> None:
    code, _, err = say(built, "build", "--tree", "nowhere", "t/app", "--debug")
    assert code == 2
    assert "Traceback" in err


def test_links_stand_for_a_verb(tmp_path: Path) -> None:
    link = tmp_path / "luet-makeiso"
    link.write_text(f"#!{sys.executable}\nfrom treebuilder.cli.main import entry\nentry()\n")
    link.chmod(0o755)
    top = str(Path(__file__).parents[2])
    env = {"PYTHONPATH": top, "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run([link, "--help"], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: treebuild iso")
    missing = subprocess.run([link, "no.yaml", "--json"], cwd=tmp_path, env=env, capture_output=True, check=False)
    assert missing.returncode != 0
    assert schemas.faults(json.loads(missing.stdout), schemas.load("error")) == []


def test_progress_can_be_json_lines(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.base()
    project.package("t/x", requires("seed/base") + "steps:\n- echo > /x\n")
    code, out, err = say(project, "build", *TREE, "t/x", "--json", "--progress", "json")
    assert code == 0
    assert json.loads(out)["counts"]["built"] == 2
    events: list[dict[str, Any]] = [json.loads(line) for line in err.splitlines()]
    assert {"Started", "Finished"} <= {event["event"] for event in events}


def test_a_cache_never_sweeps_what_is_not_its_own(tmp_path: Path) -> None:
    """A folder with a `tmp` of somebody else, as `/` or a home folder has one."""
    project = Project(tmp_path)
    project.base()
    home = tmp_path / "home"
    (home / "tmp/precious").mkdir(parents=True)
    (home / "tmp/precious/file").write_text("mine")
    code, _, err = say(project, "tree", "pkglist", *TREE, "--cache-dir", "home")
    assert (code, "holds other things ('tmp')" in err) == (1, True), err
    assert (home / "tmp/precious/file").read_text() == "mine"
    assert [path.name for path in home.iterdir()] == ["tmp"]
    (tmp_path / "disk/lost+found").mkdir(parents=True)
    assert say(project, "tree", "pkglist", *TREE, "--cache-dir", "disk")[0] == 0
