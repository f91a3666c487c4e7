"""Shared templates: faults in them are told where they stand, with the specfile that called them."""

from __future__ import annotations

from pathlib import Path

import pytest

from treebuilder.errors import Place, SpecError
from treebuilder.events import Silent
from treebuilder.template import Templates
from treebuilder.tree import Tree, load_tree

SHARED = """\
{{ define "fails" }}
image: scratch
steps:
- echo {{ fail "boom" }}
{{ end }}
{{ define "broken" }}
image: scratch
env:
 - x
  bad: [
{{ end }}
{{ define "typed" }}
image: scratch
{{ if true }}steps: 5{{ end }}
{{ end }}
"""


def made(root: Path, build: str, shared: str = SHARED, name: str = "x") -> Path:
    (root / "templates").mkdir(parents=True, exist_ok=True)
    (root / "templates/shared.yaml").write_text(shared)
    (root / name).mkdir()
    (root / name / "definition.yaml").write_text(f'name: {name}\ncategory: c\nversion: "1"\n')
    (root / name / "build.yaml").write_text(build)
    return root


def load(*roots: Path) -> Tree:
    return load_tree(roots, events=Silent())


@pytest.mark.parametrize(("name", "line"), [("fails", 4), ("broken", 10), ("typed", 14)])
@pytest.mark.parametrize(
    "call",
    [
        '{{ template "NAME" . }}',
        '{{ include "NAME" . | trim }}',
        '{{ if 1 }}{{ include "NAME" . | indent 0 }}{{ end }}',
    ],
)
def test_a_fault_names_the_template_and_who_called_it(tmp_path: Path, name: str, line: int, call: str) -> None:
    root = made(tmp_path / "t", "# one\n# two\n" + call.replace("NAME", name) + "\n")
    with pytest.raises(SpecError) as caught:
        load(root)
    assert caught.value.where == Place(f"{root}/templates/shared.yaml", line)
    assert f"(called in {root}/x/build.yaml:3)" in caught.value.message


def test_a_fault_of_the_specfile_itself_is_its_own(tmp_path: Path) -> None:
    root = made(tmp_path / "t", 'steps: 5\n{{ if false }}{{ template "typed" . }}{{ end }}\n')
    with pytest.raises(SpecError) as caught:
        load(root)
    assert caught.value.where == Place(f"{root}/x/build.yaml", 1)
    assert "called" not in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        "# one\n{{ 1 " + "| add 1 " * 3000 + "}}",
        "# one\n{{ 1 " + "| add 1 " * 100_000 + "}}",
        "# one\n{{ dict `a` " + "(dict `a` " * 900 + "1" + ")" * 900 + "}}",
        "# one\n{{" + "(" * 200_000 + "1" + ")" * 200_000 + "}}",
        "# one\n" + "{{ if true }}" * 100_000 + "{{ end }}" * 100_000,
        "# one\n{{ if 0 }}" + "{{ else if 0 }}" * 100_000 + "{{ end }}",
    ],
    ids=["pipe", "long pipe", "parentheses", "many parentheses", "bodies", "branches"],
)  # fmt: skip
def test_what_is_nested_too_deeply_has_a_line(text: str) -> None:
    with pytest.raises(SpecError, match="nested too deeply") as caught:
        Templates().render(text, {}, file="f")
    assert caught.value.where == Place("f", 2)


def commands(tree: Tree) -> dict[str, list[str]]:
    return {found.package.id.name: [step.command for step in found.recipe.steps] for found in tree.packages}


def test_of_one_name_in_two_trees_a_specfile_sees_its_own_trees(tmp_path: Path) -> None:
    """luet reads each tree with its own templates, and then builds from neither."""
    build = 'image: scratch\nsteps:\n- {{ include "name" . }}\n- {{ include "first" . }}\n- {{ include "second" . }}\n'

    def shared(word: str) -> str:
        return f'{{{{ define "name" }}}}name of {word}{{{{ end }}}}{{{{ define "{word}" }}}}only {word}{{{{ end }}}}'

    first = made(tmp_path / "first", build, shared("first"), "a")
    second = made(tmp_path / "second", build, shared("second"), "b")
    both = {"a": ["name of first", "only first", "only second"], "b": ["name of second", "only first", "only second"]}
    assert commands(load(first, second)) == both
    assert commands(load(second, first)) == both
    off = made(tmp_path / "off", build, '{{ define "name" }}{{ end }}', "d")  # an empty one is its own, too
    for roots in ((off, first, second), (first, second, off)):
        assert commands(load(*roots))["d"] == ["only first", "only second"]  # a step that says nothing is none
    third = made(tmp_path / "third", build, "", "c")  # it has none of its own: the first tree's that has
    assert commands(load(third, second, first))["c"][0] == "name of second"
    assert commands(load(third, first, second))["c"][0] == "name of first"


def test_one_name_twice_in_one_tree_is_a_fault(tmp_path: Path) -> None:
    root = made(tmp_path / "t", "image: scratch\n", '{{ define "x" }}1{{ end }}\n{{ define "x" }}2{{ end }}\n')
    other = made(tmp_path / "other", "image: scratch\n", '{{ define "x" }}3{{ end }}\n', "y")
    for roots in ((root,), (root, other)):
        with pytest.raises(SpecError, match="defined twice") as caught:
            load(*roots)
        assert caught.value.where == Place(f"{root}/templates/shared.yaml", 2)
