"""build.yaml's keys: what they mean, and what is refused where."""

from __future__ import annotations

import textwrap

import pytest

from treebuilder.errors import Place, SpecError
from treebuilder.model.package import Bootstrap, CopyItem, PackageRef, Recipe
from treebuilder.nodes import load
from treebuilder.tree import recipe_faults
from treebuilder.tree.recipe import read_recipe


def read(text: str) -> Recipe:
    return read_recipe(load(textwrap.dedent(text), "build.yaml"), lambda key, message, place: None)


def unknown(text: str) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    read_recipe(load(textwrap.dedent(text), "build.yaml"), lambda key, message, at: found.append((key, at.line)))
    return found


def test_every_key() -> None:
    recipe = read(
        """\
        image: debian
        requires: [{category: a, name: b, version: ">=0"}]
        conflicts: [{category: a, name: c}]
        provides: [{category: a, name: d}]
        prelude:
        - one
        steps:
        - two
        - |
          three
          lines
        -
        env: [A=1, "B=x y", "OLD style"]
        copy:
        - {package: {category: a, name: e, version: "1"}, source: /s, destination: /d}
        - {image: alpine, source: /x, destination: /y}
        retrieve: ["*.tar", "http://x"]
        unpack: true
        package_dir: /out
        includes: ["^/usr"]
        excludes: ['\\.la$']
        requires_final_images: true
        subpackages:
        - {name: doc, category: a, version: "1", description: words, includes: ["^/doc"], excludes: [x]}
        layering: merge
        delta: changes
        network: none
        secrets: [OLD]
        """
    )
    assert recipe.image == "debian"
    assert recipe.requires == (PackageRef("a", "b", ">=0"),)
    assert (recipe.conflicts, recipe.provides) == ((PackageRef("a", "c"),), (PackageRef("a", "d"),))
    assert [step.command for step in (*recipe.prelude, *recipe.steps)] == ["one", "two", "three\nlines\n"]
    assert [step.where.line for step in (*recipe.prelude, *recipe.steps)] == [6, 8, 9]
    assert recipe.env == ("A=1", "B=x y", "OLD style")
    assert recipe.copy == (
        CopyItem(PackageRef("a", "e", "1"), "", "/s", "/d"), CopyItem(None, "alpine", "/x", "/y"),
    )  # fmt: skip
    assert recipe.retrieve == ("*.tar", "http://x")
    assert recipe.unpack
    assert recipe.package_dir == "/out"
    assert (recipe.includes, recipe.excludes) == (("^/usr",), (r"\.la$",))
    assert recipe.requires_final_images
    (sub,) = recipe.subpackages
    assert (str(sub.package.id), sub.package.description) == ("a/doc-1", "words")
    assert (sub.includes, sub.excludes) == (("^/doc",), ("x",))
    assert (recipe.layering, recipe.delta, recipe.network) == ("merge", "changes", "none")
    assert recipe.secrets == ("OLD",)
    assert recipe.has_build_file


@pytest.mark.parametrize("text", ["", "# only a comment\n", "steps:\nenv:\nrequires: null\n"])
def test_an_empty_build_file_is_a_virtual_package(text: str) -> None:
    recipe = read(text)
    assert recipe.is_virtual
    assert recipe.has_build_file
    assert (recipe.layering, recipe.delta, recipe.network) == ("", "additions", "host")


def test_join_is_requires_with_final_images() -> None:
    recipe = read("requires: [{name: a, category: c}]\njoin: [{name: b, category: c}]")
    assert recipe.requires == (PackageRef("c", "a"), PackageRef("c", "b"))
    assert recipe.requires_final_images


def test_bootstrap() -> None:
    found = read("bootstrap: {distribution: debian, suite: bookworm, packages: [b a, b]}").bootstrap
    assert found == Bootstrap("debian", "bookworm", "minbase", ("a", "b"))
    found = read(
        """\
        bootstrap:
          distribution: debian
          suite: sid
          variant: essential
          packages: |
            vim
            curl vim
          mirror: http://m
          components: main contrib
          keyring: /k
          architecture: arm64
        """
    ).bootstrap
    assert found == Bootstrap(
        "debian", "sid", "essential", ("curl", "vim"), "http://m", ("main", "contrib"), "/k", "arm64"
    )
    assert found.where == Place("build.yaml", 1)


@pytest.mark.parametrize(
    ("text", "reason", "line"),
    [
        ("a: 1\nlayering: pile", "wrong-word", 2),
        ("delta: all", "wrong-word", 1),
        ("network: yes", "wrong-type", 1),
        ("network: bridge", "wrong-word", 1),
        ("secrets: [a-b]", "wrong-word", 1),
        ("steps: echo", "wrong-type", 1),
        ("steps:\n- {a: b}", "wrong-type", 2),
        ("secrets: [5]", "wrong-type", 1),
        ("steps:\n- a\n- [b]", "wrong-type", 3),
        ("unpack: 'yes'", "wrong-type", 1),
        ("image: x\nbootstrap: {distribution: debian, suite: sid}", "two-bases", 2),
        ("bootstrap: {suite: sid}", "bootstrap", 1),
        ("bootstrap: {distribution: debian}", "bootstrap", 1),
        ("requires:\n- {name: a, version: 2}", "wrong-type", 2),
        ("- a", "wrong-type", 1),
    ],
)
def test_refusals(text: str, reason: str, line: int) -> None:
    with pytest.raises(SpecError) as caught:
        read(text)
    assert (caught.value.reason, caught.value.where) == (reason, Place("build.yaml", line))


def test_numbers_and_booleans_are_texts_as_luet_makes_them() -> None:
    text = """\
    image: 1.10
    package_dir: 5
    prelude: [true, ~]
    steps: [yes, 1e3, 20000000.0, "1.10"]
    includes: [010]
    copy: [{image: 3, source: 1, destination: off}]
    """
    recipe = read(text)
    assert (recipe.image, recipe.package_dir, recipe.includes) == ("1.1", "5", ("8",))
    assert [step.command for step in (*recipe.prelude, *recipe.steps)] == ["true", "true", "1000", "2e+07", "1.10"]
    assert recipe.copy == (CopyItem(None, "3", "1", "false"),)
    assert unknown(text) == [("", 1), ("", 4), ("", 4), ("", 4), ("", 6), ("", 5)]  # where the text is another
    assert unknown("env: [5]") == [("", 1)]  # as is what cannot be built


@pytest.mark.parametrize(
    ("text", "reason", "line"),
    [
        ("includes:\n- ok\n- '('", "pattern", 3),
        ("excludes: ['(?=x)']", "pattern", 1),
        ("subpackages:\n- name: a\n  includes: ['*']", "pattern", 3),
        ("env: [A]", "env", 1),
        ("env:\n- =x", "env", 2),
        ("copy:\n- {source: /a, destination: /b}", "copy", 2),
        ("copy:\n- {image: x, package: {name: w}, source: /a, destination: /b}", "copy", 2),
        ("copy: [{image: x, source: /a}]", "copy", 1),
    ],
)
def test_what_luet_reads_and_nobody_can_build_is_told(text: str, reason: str, line: int) -> None:
    told: list[tuple[str, str, Place]] = []
    found = read_recipe(load(text, "build.yaml"), lambda *said: told.append(said))
    faults = [fault for fault, _ in recipe_faults(found)]
    assert [fault.reason for fault in faults] == [reason]
    assert told == [("", faults[0].message, Place("build.yaml", line))]


def test_unknown_keys_are_told_with_their_place() -> None:
    text = """\
    stesp: [a]
    name: ignored
    seed: ignored
    labels: {a: b}
    copy:
    - image: x
      source: /a
      destination: /b
      form: c
    bootstrap:
      distribution: d
      suite: s
      packges: [a]
    """
    assert unknown(text.replace("- image: x", "- image: x")) == [("stesp", 1), ("packges", 13), ("form", 9)]
