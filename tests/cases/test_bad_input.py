"""Bad input: one clear error with file and line, exit 2, and nothing changed."""

from __future__ import annotations

import json

import pytest

from tests.trees import Project, requires

pytestmark = pytest.mark.engine


CASES = [
    ("yaml", "steps: [\n", "t/x/build.yaml:", ("yaml",)),
    ("type", requires("seed/base") + "steps: 5\n", "t/x/build.yaml:3", ("steps", "list")),
    ("template", requires("seed/base") + "steps:\n- echo {{ .Values.x | nosuch }}\n", "t/x/build.yaml:4", ("nosuch",)),
    ("missing", requires("no/such"), "t/x/build.yaml:2", ("no/such",)),
    ("version", requires("seed/base").replace(">=0", ">=9"), "t/x/build.yaml:2", ("seed/base", ">=9")),
    ("no-base", "steps:\n- echo\n", "t/x/build.yaml:2", ("nothing to run",)),
    ("pattern", requires("seed/base") + "includes: ['(?=x)']\n", "t/x/build.yaml", ("(?=x)",)),
    ("bootstrap", "bootstrap: {distribution: plan9, suite: x, variant: minbase, packages: [a]}\n", "", ("plan9",)),
    ("retrieve", requires("seed/base") + "retrieve: ['../*']\n", "t/x/build.yaml", ("leads out",)),
    (
        "retrieve from nowhere",
        requires("seed/base") + "retrieve:\n- http://127.0.0.1:1/x\n",
        "t/x/build.yaml:4",
        ("http://127.0.0.1:1/x",),
    ),
    ("retrieve nothing", requires("seed/base") + "retrieve:\n- x*\n- y*\n", "t/x/build.yaml:4", ("'x*'",)),
    ("retrieve ours", requires("seed/base") + "retrieve: ['treebuild:no']\n", "t/x/build.yaml:3", ("treebuild:no",)),
    ("layout", "# a base\nimage: oci:none\nsteps: [echo]\n", "t/x/build.yaml:2:", ("no OCI image layout",)),
    ("layout out", "# a base\nimage: oci:../x\nsteps: [echo]\n", "t/x/build.yaml:2:", ("leads out",)),
    (
        "copy",
        requires("seed/base") + "copy:\n- {image: 'oci:none', source: /a, destination: /b}\n",
        "t/x/build.yaml:4:",
        ("no OCI image layout",),
    ),
    (
        "suite",
        "# a base\nbootstrap: {distribution: debian, suite: odd, mirror: 'file:///none', packages: [a]}\n",
        "t/x/build.yaml:2:",
        ("cannot read odd",),
    ),
    ("word", requires("seed/base") + "layering: sideways\n", "t/x/build.yaml:3", ("sideways",)),
]


@pytest.mark.parametrize(("name", "recipe", "place", "words"), CASES, ids=[case[0] for case in CASES])
def test_one_clear_error(project: Project, name: str, recipe: str, place: str, words: tuple[str, ...]) -> None:
    project.package("t/x", recipe)
    done = project.building("t/x")
    assert done.code == 2
    assert place in done.stderr, done.stderr
    for word in words:
        assert word.lower() in done.stderr.lower(), done.stderr
    assert "Traceback" not in done.stderr
    assert not project.build.exists()


def test_a_base_without_a_shell(project: Project) -> None:
    project.package("t/x", "image: scratch\nsteps:\n- echo\n")
    done = project.building("t/x")
    assert done.code == 2
    assert "t/x/build.yaml:3: t/x-1.0: step 1 did not begin: the shell failed" in done.stderr
    assert "is there a /bin/sh" in done.stderr


def test_an_unknown_key_is_a_warning(project: Project) -> None:
    project.package("t/x", requires("seed/base") + "stepps:\n- echo\nsteps:\n- echo > /x\n")
    done = project.building("t/x")
    assert done.code == 0
    assert "t/x/build.yaml:3" in done.stderr
    assert "stepps" in done.stderr


def test_warnings_are_in_the_result_also_when_nothing_is_done(project: Project) -> None:
    project.package("t/x", requires("seed/base") + "stepps:\n- echo\nsteps:\n- echo > /x\n")
    for state in ("built", "cached"):
        done = project.building("t/x")
        assert {node["state"] for node in done.value["nodes"] if node["name"] == "x"} == {state}
        (warning,) = done.value["warnings"]
        assert warning["message"] == "the key 'stepps' means nothing here"
        assert (warning["where"]["line"], warning["hint"]) == (3, "did you mean steps?")
        assert done.stderr.count("stepps") == 1


def test_a_cycle_is_a_path(project: Project) -> None:
    project.package("t/a", requires("t/b"))
    project.package("t/b", requires("t/c"))
    project.package("t/c", requires("t/a"))
    done = project.building("t/a")
    assert done.code == 2
    assert "t/a-1.0 -> t/b-1.0 -> t/c-1.0 -> t/a-1.0" in done.stderr


def test_a_conflict_is_a_chain_of_reasons(project: Project) -> None:
    project.package("t/old", requires("seed/base"), version="1")
    project.package("t/left", requires("t/old") + "conflicts:\n- {category: t, name: right, version: '>=0'}\n")
    project.package("t/right", requires("seed/base"))
    project.package("t/both", requires("t/left", "t/right") + "steps:\n- echo\n")
    done = project.building("t/both")
    assert done.code == 2
    assert "t/left" in done.stderr
    assert "t/right" in done.stderr
    assert "t/left/build.yaml" in done.stderr


def test_two_packages_of_one_identity(project: Project) -> None:
    project.package("t/x", requires("seed/base"))
    other = project.tree / "other"
    other.mkdir()
    (other / "definition.yaml").write_text((project.tree / "t/x/definition.yaml").read_text())
    done = project.building("t/x")
    assert done.code == 2
    assert "other/definition.yaml" in done.stderr
    assert "t/x/definition.yaml" in done.stderr


def test_a_link_out_of_the_context(project: Project) -> None:
    folder = project.package("t/x", requires("seed/base") + "steps:\n- cat out > /x\n")
    (folder / "out").symlink_to("/etc/shadow")
    done = project.building("t/x")
    assert done.code == 2
    assert "t/x/out" in done.stderr


def test_no_package_named(project: Project) -> None:
    done = project.building()
    assert done.code == 1
    assert "--all" in done.stderr


def test_an_unknown_engine(project: Project) -> None:
    project.package("t/x", requires("seed/base"))
    done = project.run("build", "--tree", "packages", "--engine", "magic", "t/x")
    assert done.code == 1
    assert "native" in done.stderr


def test_a_locked_build_with_an_incomplete_lock(project: Project) -> None:
    project.package("t/x", requires("seed/base") + "steps:\n- echo > /x\n")
    done = project.run("build", "--tree", "packages", "--locked", "t/x")
    assert done.code == 2
    assert "treebuild.lock" in done.stderr
    assert not (project.top / "treebuild.lock").exists()


HOSTILE = [
    'packages: ["-oDir::Bin::Solvers::=/tmp/evil"]',
    'packages: ["bash; id"]',
    'packages: [bash]\n  suite: "bookworm main\\ndeb http://evil"',
    'packages: [bash]\n  mirror: "http://x y"',
    'packages: [bash]\n  keyring: "/x] http://evil"',
    'packages: [bash]\n  components: ["main]"]',
]


@pytest.mark.parametrize("words", HOSTILE)
def test_a_bootstrap_is_only_words_to_apt(project: Project, words: str) -> None:
    suite = "" if "suite" in words else "  suite: bookworm\n"
    project.package("t/x", f"bootstrap:\n  distribution: debian\n  variant: minbase\n{suite}  {words}\n")
    done = project.building("t/x")
    assert done.code == 2
    assert "is not a name apt knows" in done.stderr
    assert "t/x/build.yaml:1" in done.stderr


@pytest.mark.parametrize(
    "index", ['{"manifests": [1]}', '{"manifests": 5}', "[]", "{", '{"manifests": [{"digest": 1}]}']
)
def test_a_malformed_layout(project: Project, index: str) -> None:
    folder = project.package("t/x", "image: oci:broken\nsteps:\n- echo\n")
    (folder / "broken").mkdir()
    (folder / "broken/index.json").write_text(index)
    done = project.building("t/x")
    assert done.code == 2, done.stderr
    assert "broken" in done.stderr
    assert "t/x/build.yaml:1: " in done.stderr


def test_an_image_that_cannot_be_resolved(project: Project) -> None:
    project.package("t/x", "# nobody listens there\nimage: 127.0.0.1:9/none:1\nsteps:\n- echo\n")
    done = project.building("t/x")
    assert done.code == 2, done.stderr
    assert "t/x/build.yaml:2: " in done.stderr


def test_a_damaged_layer_of_a_layout(project: Project) -> None:
    project.package("t/x", requires("seed/base") + "steps:\n- echo > /x\n")
    for blob in (project.tree / "seed/base/busybox/blobs/sha256").iterdir():
        if blob.stat().st_size > 10_000:
            blob.write_bytes(b"damage" + blob.read_bytes()[6:])
    done = project.building("t/x")
    assert done.code == 2, done.stderr
    assert "seed/base/build.yaml:1: " in done.stderr
    assert "is not what its name promises" in done.stderr


def test_a_malformed_layout_is_found_by_looking(project: Project) -> None:
    project.package("t/x", "image: oci:none\nsteps:\n- echo\n")
    done = project.run("tree", "validate", "--tree", "packages")
    assert (done.code, done.value["faults"][0]["where"]["line"]) == (2, 1)


def test_a_destination_that_is_a_file(project: Project) -> None:
    project.package("t/x", requires("seed/base") + "steps:\n- echo > /x\n")
    (project.top / "taken").write_text("mine")
    done = project.run("build", "--tree", "packages", "--destination", "taken", "t/x")
    assert done.code == 2
    assert (project.top / "taken").read_text() == "mine"


def test_a_lock_in_a_folder_that_is_not_there(project: Project) -> None:
    project.package("t/x", requires("seed/base") + "steps:\n- echo > /x\n")
    done = project.run("build", "--tree", "packages", "--lock", "nowhere/treebuild.lock", "t/x")
    assert done.code == 2
    assert "there is no folder nowhere" in done.stderr


def test_a_package_that_needs_itself_is_a_cycle(project: Project) -> None:
    project.package("t/self", requires("t/self"))
    done = project.building("t/self")
    assert done.code == 2
    assert "t/self-1.0 -> t/self-1.0" in done.stderr


def test_a_bad_env_is_found_before_anything_is_built(project: Project) -> None:
    recipe = requires("seed/base") + 'env:\n- "A=1"\n- "B=$A two words"\nsteps:\n- echo\n'
    project.package("t/env", recipe)
    done = project.building("t/env")
    assert done.code == 2
    assert "t/env/build.yaml:5" in done.stderr
    assert "has no =" in done.stderr
    assert not (project.top / "cache/trees/host/sha256").exists() or not any(project.build.glob("*"))


def test_a_version_of_a_megabyte_is_one_short_error_of_every_verb(project: Project) -> None:
    project.package("t/x", requires("seed/base") + "steps:\n- echo > /x\n", version="1" + ".0" * 500_000)
    done = project.run("tree", "validate", "--tree", "packages", "-s")
    assert [(f["reason"], f["where"]["line"]) for f in done.value["faults"]] == [("name", 1)]
    built = project.building("--all").stderr
    for said in (done.stderr, json.dumps(done.value["faults"][0]["message"]), built):
        assert "more than a file's name holds" in said
        assert len(said) < 3_000
    assert len(project.building("t/x").stderr) < 3_000, "another error: this is no version that can be compared"
