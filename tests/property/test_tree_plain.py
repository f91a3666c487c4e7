"""The short way to packages and recipes ends where the long one does, and is left where that warns or refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hypothesis import example, given, settings
from hypothesis import strategies as st

from treebuilder.errors import Place, SpecError
from treebuilder.nodes import load
from treebuilder.nodes.flat import read_flat
from treebuilder.tree import stored
from treebuilder.tree import values as template_values
from treebuilder.tree.definition import read_package, report_doubled
from treebuilder.tree.plain import Definitions, plain_package, plain_recipe, plain_values
from treebuilder.tree.recipe import RECIPE_KEYS, read_recipe

WORDS = ["a", "b/c", "..", "true", '"1.0"', "1.2.3", "'>=0'", '" "', '""', "A=b", "A='", "x y", "[", "(", "a\\b"]
LEAF = st.sampled_from(WORDS)
REF = st.lists(
    st.tuples(st.sampled_from(["name", "category", "version", "Name", "more"]), LEAF), min_size=1, max_size=4
).map(lambda pairs: [f"{key}: {value}" for key, value in pairs])
LINES = st.one_of(
    LEAF.map(lambda word: [f" {word}"]),
    st.lists(LEAF, min_size=1, max_size=3).map(lambda words: ["", *(f"- {word}" for word in words)]),
    st.lists(REF, min_size=1, max_size=3).map(
        lambda refs: ["", *(f"{'  ' if at else '- '}{line}" for ref in refs for at, line in enumerate(ref))]
    ),
    REF.map(lambda lines: ["", *(f"  {line}" for line in lines)]),
)
KEYS = st.sampled_from([*sorted(RECIPE_KEYS), *(["name"] * 9), "Name", "mine", "Steps", "secrets"])


@st.composite
def documents(draw: st.DrawFn) -> str:
    keys = draw(st.lists(KEYS, min_size=1, max_size=4, unique=True))
    return "".join(f"{key}:" + "\n".join(draw(LINES)) + "\n" for key in keys)


def read_long(text: str) -> tuple[object, ...] | None:
    """The package, its values and where each part stands; None where there is more to say."""
    told: list[object] = []
    try:
        node = load(text, "f")
        found = read_package(node, lambda *what: told.append(what))
    except SpecError:
        return None
    report_doubled(node, lambda *what: told.append(what))
    values = template_values.of_definition(node)
    return None if told or not found.id.name else (found, repr(found), values, template_values.canonical(values))


def recipe_long(text: str, lines: tuple[int, ...]) -> tuple[object, ...] | None:
    told: list[object] = []
    try:
        found = read_recipe(load(text, "f", lines=lines), lambda *what: told.append(what))
    except SpecError:
        return None
    return None if told else (found, repr(found))


@settings(max_examples=600, deadline=None)
@given(documents())
@example("name: a\nrequires:\n- name: b\n  category: c\nlabels:\n  b: c\n  a: d\nuri:\n- x\nhidden: true\n")
def test_packages(text: str) -> None:
    flat = read_flat(text)
    short = None if flat is None else plain_package(flat, "f")
    if flat is None or short is None:
        return
    found = stored.decode(short)
    values = plain_values(flat)
    assert (found, repr(found), values, template_values.canonical(values)) == read_long(text)


@settings(max_examples=600, deadline=None)
@given(documents(), st.lists(st.integers(0, 9), min_size=1, max_size=12).map(tuple))
@example("image: a\njoin:\n- name: b\nsteps:\n- x\n- ' '\nenv:\n- A=b\nunpack: true\nexcludes:\n- a.*\n", (3, 4, 0))
def test_recipes(text: str, lines: tuple[int, ...]) -> None:
    flat = read_flat(text)
    short = None if flat is None else plain_recipe(flat, "f", lines)
    if short is not None:
        found = stored.decode(short)
        assert (found, repr(found)) == recipe_long(text, lines)


def filled(text: str, words: Iterator[str]) -> list[str]:
    """The lines of a text with other values, as long as there are some."""

    def other(found: re.Match[str]) -> str:
        return found[1] + next(words, found[2])

    return [re.sub(r"^( *(?:- )?[\w./]+: |-? +)(.+)$", other, line) for line in text.splitlines()]


@settings(max_examples=300, deadline=None)
@given(documents(), st.lists(st.lists(LEAF, min_size=40, max_size=40), min_size=1, max_size=4))
@example("name: a\nrequires:\n- name: b\n  category: c\nlabels:\n  c: x\n  b: z\nuri:\n- x\nlicense: d\n", [["a"] * 40])
def test_files_of_one_form(text: str, fillings: list[list[str]]) -> None:
    definitions = Definitions()
    for filling in ([], *fillings):
        lines = filled(text, iter(filling))
        flat = read_flat("\n".join(lines))
        expected = None if flat is None else plain_package(flat, "f")
        assert definitions.read("\n".join(lines), "f") == expected


def test_a_form_is_looked_at_once() -> None:
    definitions = Definitions()
    for word in ("a", "'b c'", "true", "n", '"1"', "d: e"):
        text = f"category: c\nname: x\ndescription: {word}\n"
        flat = read_flat(text)
        assert definitions.read(text, "f") == (None if flat is None else plain_package(flat, "f"))
    assert len(definitions._known) == 1
    assert definitions.read("# c\ncategory: c\nname: x\n", "f") is not None
    assert len(definitions._known) == 2


def test_the_short_way_is_taken() -> None:
    flat = read_flat(
        'name: a\ncategory: b\nversion: "1"\nmine: c\nrequires:\n- name: d\n  license: e\nlabels:\n  x: z\n'
    )
    assert flat is not None
    made = plain_package(flat, "f")
    assert stored.decode(made).requires[0].where == Place("f", 6)
    flat = read_flat("requires:\n- name: d\nprelude:\n- p\nsteps:\n- s\nenv:\n- A=b\nlabels:\n  x: z\n")
    assert flat is not None
    made = plain_recipe(flat, "f", tuple(range(1, 12)))
    assert [step.where.line for step in stored.decode(made).steps] == [6]
    for odd in ("name: a/b\n", "category: a\n", "Name: a\n", "name: true\n", "name: a\nrequires:\n- b\n"):
        flat = read_flat(odd)
        assert flat is not None
        assert plain_package(flat, "f") is None
    for odd in (
        "nothing: a\n",
        "steps: a\n",
        "env:\n- A\n",
        "includes:\n- (\n",
        "copy:\n- image: a\n",
        "Steps:\n- a\n",
    ):
        flat = read_flat(odd)
        assert flat is not None
        assert plain_recipe(flat, "f", (1, 2, 3)) is None
