"""The reader of the plainest YAML gives what the full one gives, on the same lines, or steps back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.property.test_nodes_simple import LINES, PLACES, WORDS
from treebuilder.errors import SpecError
from treebuilder.nodes import Node
from treebuilder.nodes.flat import read_flat
from treebuilder.nodes.full import load_full

TOP = Path(__file__).parents[2]


def as_flat(node: Node) -> object:
    """A node as the flat reader would give it: places are lines from 0, keys hold theirs."""
    if node.kind == "map":
        return {key: (value.place.line - 1, as_flat(value)) for key, value in node.value.items()}
    if node.kind == "list":
        return [(value.place.line - 1, as_flat(value)) for value in node.value]
    assert node.kind in ("text", "boolean")
    return node.value


def same(text: str) -> bool:
    """Whether the flat reader read it. Fails when it read something else than the full one."""
    found = read_flat(text)
    if found is None:
        return False
    try:
        full = load_full(text, PLACES)
    except SpecError as err:
        pytest.fail(f"only the flat reader reads {text!r}: {err}")
    assert found == as_flat(full), text
    assert list(found) == list(full.value)
    return True


FLAT_LINES = st.one_of(
    st.builds(lambda pad, dash, key, value: f"{pad}{dash}{key}{value}",
              st.sampled_from(["", "", "  ", "    "]), st.sampled_from(["", "", "- ", "-  "]),
              st.sampled_from(["a: ", "b: ", "c:", "d:  ", "a.b/c-d: ", "", "n: ", "on:"]), WORDS),
    st.builds(lambda key: f"{key}:", st.sampled_from(["a", "b", "c", "steps"])),
    st.sampled_from(["- a b", "- a: b", "  b: c", "  c: d e", "# x", "  # y", "", "- 1.2.3", "a: 1.0.0-r1", "- 'q'  "]),
)  # fmt: skip


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.one_of(FLAT_LINES, LINES), max_size=7), st.sampled_from(["", "\n"]))
@example(["a:", "- b: c", "  d: e", "- f", "g: h"], "\n")
@example(["a:", "  b: c", "  d: true", "- e"], "\n")
@example(["a: b", "  c"], "\n")
@example(["a:", "- b", "  c: d"], "\n")
@example(["a:", "  - b", " - c"], "\n")
@example(["- - a"], "\n")
@example(["a: 1.2.3: x"], "")
def test_any_lines(lines: list[str], end: str) -> None:
    same("\n".join(lines) + end)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab.-:#'\" \n/[]{}|1y", max_size=25))
def test_any_text(text: str) -> None:
    same(text)


@settings(max_examples=200, deadline=None)
@given(st.text("0123456789.+-_eExX:rc ", min_size=1, max_size=9))
def test_versions_without_quotes(version: str) -> None:
    same(f"version: {version}\n")


def test_what_specfiles_are_made_of() -> None:
    assert same(
        "# c\nname: \"a b\"\nversion: 1.2.3\nhidden: true\nlabels:\n  a.b: 'c'\n\n"
        'requires:\n- name: x\n  version: ">=0"\n'
        "  # d\n- name: z\nsteps:\n  - make -j3 && echo \"a\" > 'b'\n  - http://x/y\n"
    )
    for odd in (
        "a: b: c",
        "a: |\n  b",
        "a: [b]",
        "a: 1",
        "a: no",
        "a:",
        "a: b\na: c",
        "- a",
        "",
        "a: *b",
        "a: b #c",
        "\t",
    ):
        assert read_flat(odd) is None


@pytest.mark.parametrize("path", sorted(str(p.relative_to(TOP)) for p in TOP.glob("packages/**/*.yaml")))
def test_our_own_specfiles(path: str) -> None:
    text = (TOP / path).read_text()
    if "{{" not in text:
        same(text)
