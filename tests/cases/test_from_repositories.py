"""`build --from-repositories`: which packages are targets, and with which values the recipes of others are rendered."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
import yaml

from tests.trees import Project, requires
from treebuilder.repository.buildvalues import of_index, of_metadata

pytestmark = pytest.mark.engine

FLAGS = ("--from-repositories", "--tree", "packages")
VALUES = "greeting: hello\nnumber: 5\ndeep: {a: 1}\n"
RECIPE = (
    "steps:\n- echo {{ .Values.greeting }} {{ .Values.deep.a }}{{ if eq .Values.number 5 }} five{{ end }} > /said\n"
)


@pytest.fixture
def upstream(tmp_path: Path) -> Project:
    made = Project(tmp_path / "up")
    made.base()
    return made


def published(upstream: Project, *packages: str) -> None:
    done = upstream.building(*packages)
    assert done.code == 0, done.stderr
    words = ("--packages", "build", "--output", "build", "--name", "theirs")
    done = upstream.run("create-repo", "--tree", "packages", *words)
    assert done.code == 0, done.stderr


@pytest.fixture
def mine(upstream: Project, tmp_path: Path) -> Project:
    """A tree of one's own beside the repository of `upstream`."""
    made = Project(tmp_path / "mine")
    made.top.mkdir()
    (made.top / ".luet.yaml").write_text(
        f"repositories:\n- {{name: theirs, type: disk, enable: true, urls: [{upstream.build}]}}\n"
    )
    return made


def stored(upstream: Project, fingerprint: str) -> list[object]:
    text = (upstream.build / f"{fingerprint}.metadata.yaml").read_text()
    found = yaml.safe_load(text)["compilespec"]["buildoptions"]["buildvalues"]
    assert isinstance(found, list)
    return found


def test_what_a_build_would_do_is_said_with_the_recipes_of_repositories(upstream: Project, mine: Project) -> None:
    upstream.package("d/lib", requires("seed/base") + "steps:\n- echo lib > /lib\n")
    published(upstream, "d/lib")
    mine.package("m/app", requires("d/lib") + "steps:\n- echo app > /app\n")
    mine.package("m/web", requires("m/app") + "steps:\n- echo web > /web\n")
    for words, targets in (
        (("m/app",), {"m/app-1.0"}), (("--all",), {"m/app-1.0", "m/web-1.0"}), (("--full",), {"m/web-1.0"}),
        (("m/app", "--revdeps"), {"m/app-1.0", "m/web-1.0"}),
    ):  # fmt: skip
        done = mine.run("build", *FLAGS, *words, "--pretend")
        assert done.code == 0, done.stderr
        rows = done.value["packages"]
        assert {row["target"] for row in rows} == targets
        assert {row["name"] for row in rows} >= {"base", "lib"}
    assert not mine.build.exists()
    done = mine.run("build", *FLAGS, "--full", "--only-target-package")
    assert [node["name"] for node in done.value["nodes"] if node["artifact"]] == ["web"]


def test_a_target_that_only_a_repository_has_is_refused_by_that_name(upstream: Project, mine: Project) -> None:
    upstream.package("d/lib", requires("seed/base") + "steps:\n- echo lib > /lib\n")
    published(upstream, "d/lib")
    mine.package("m/app", requires("d/lib") + "steps:\n- echo app > /app\n")
    done = mine.run("build", *FLAGS, "d/lib@1.0")
    error = done.value["error"]
    assert (done.code, error["reason"]) == (2, "unknown-package")
    assert "only the repository theirs has it" in error["message"]
    mine.package("d/lib", requires("seed/base") + "steps:\n- echo mine > /lib\n", version="0.9")
    error = mine.run("build", *FLAGS, "d/lib@1.0").value["error"]
    assert error["reason"] == "no-version"
    assert "only the repository theirs has it" in error["message"]
    assert mine.run("build", *FLAGS, "d/lib@2").value["error"]["message"] == "d/lib 2: there is only 0.9"
    assert mine.run("build", *FLAGS, "d/lib").node("d/lib")["version"] == "0.9"
    assert mine.run("build", *FLAGS, "no/where").value["error"]["reason"] == "unknown-package"


def test_a_recipe_of_a_repository_has_the_values_it_was_built_with(upstream: Project, mine: Project) -> None:
    (upstream.top / "v.yaml").write_text(VALUES)
    upstream.package("d/lib", requires("seed/base") + RECIPE)
    published(upstream, "d/lib", "--values", "v.yaml")
    assert stored(upstream, "lib-d-1.0") == [{"deep": {"a": 1}, "greeting": "hello", "number": 5}]
    mine.package("m/app", requires("d/lib") + "steps:\n- cp /said /mine\n")
    done = mine.run("build", *FLAGS, "m/app")
    assert done.code == 0, done.stderr
    assert mine.text("app-m-1.0", "mine") == "hello 1 five\n"
    theirs = upstream.building("d/lib", "--values", "v.yaml").node("d/lib")
    assert done.node("d/lib")["plan_key"] == theirs["plan_key"]
    assert stored(mine, "app-m-1.0") == []
    (mine.top / "over.yaml").write_text("greeting: hi\ndeep: {b: 2}\n")
    assert mine.run("build", *FLAGS, "m/app", "--values", "over.yaml").code == 0
    assert mine.text("app-m-1.0", "mine") == "hi 1 five\n"
    assert stored(mine, "app-m-1.0") == [{"deep": {"b": 2}, "greeting": "hi"}]


def test_values_are_recorded_anew_when_they_change_nothing_else(upstream: Project) -> None:
    for text, values in (("a: 1\n", [{"a": 1}]), ("a: 2\n", [{"a": 2}])):
        (upstream.top / "v.yaml").write_text(text)
        assert upstream.building("seed/base", "--values", "v.yaml").code == 0
        assert stored(upstream, "base-seed-1.0") == values
    assert upstream.building("seed/base").code == 0
    assert stored(upstream, "base-seed-1.0") == []


def test_no_package_tells_the_values_that_make_a_secret(upstream: Project) -> None:
    recipe = (
        'env:\n- TOKEN={{ .Values.token }}\n- PASS=x-{{ index .Values "deep" "pass" | b64enc }}-x\n'
        "secrets: [TOKEN, PASS]\nsteps:\n- echo > /x\n"
    )
    upstream.package("d/secret", requires("seed/base") + recipe)
    (upstream.top / "v.yaml").write_text(
        "token: tok-12345\nuser: tok\nagain: [one, 'is tok-12345']\ndeep: {pass: geheim99, open: 1}\ngreeting: hello\n"
    )
    done = upstream.building("d/secret", "--values", "v.yaml")
    assert done.code == 0, done.stderr
    for fingerprint in ("secret-d-1.0", "base-seed-1.0"):
        assert stored(upstream, fingerprint) == [{"deep": {"open": 1}, "greeting": "hello", "user": "tok"}]
        text = (upstream.build / f"{fingerprint}.metadata.yaml").read_text()
        assert "12345" not in text
        assert "geheim99" not in text
    again = upstream.building("seed/base", "--values", "v.yaml")  # the secret's package is not built, and is one still
    assert (again.code, "12345" in (upstream.build / "base-seed-1.0.metadata.yaml").read_text()) == (0, False)


def test_values_keep_their_types_in_an_index(upstream: Project) -> None:
    (upstream.top / "v.yaml").write_text(
        "num: 5\nt: '5'\nyes1: true\nnone: null\ntext: |\n  a\n\n  b\nlist: [1, {x: 2.5}]\n"
    )
    upstream.package("d/plain", requires("seed/base") + "steps:\n- echo > /x\n")
    published(upstream, "seed/base", "--values", "v.yaml")
    values = {"num": 5, "t": "5", "yes1": True, "none": None, "text": "a\n\nb\n", "list": [1, {"x": 2.5}]}
    metadata = (upstream.build / "base-seed-1.0.metadata.yaml").read_bytes()
    assert of_metadata(metadata, "m") == [values]
    (archive,) = upstream.build.glob("repository.meta.yaml.tar*")
    with tarfile.open(archive) as tar:
        found = tar.extractfile("repository.meta.yaml")
        assert found is not None
        index = found.read()
    assert dict(of_index(index, "i")) == {"base-seed-1.0": values}


def test_an_index_in_another_form_is_read_too() -> None:
    """As luet indents it, and with several values of which the newest counts."""
    index = (
        "index:\n    - compilationspec:\n        build_options:\n            BuildValues:\n"
        "                - {a: 1, b: {x: 1}}\n                - {b: {z: 2}}\n        package: {name: x}\n"
        '      runtime: {category: c, name: x, version: 1.10}\n    - runtime: {category: c, name: y, version: "1"}\n'
    )
    assert dict(of_index(index.encode(), "i")) == {"x-c-1.10": {"a": 1, "b": {"x": 1, "z": 2}}}
