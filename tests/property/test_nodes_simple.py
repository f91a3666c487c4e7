"""The fast reader of YAML gives what the full one gives, with the same places, or steps back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from treebuilder.errors import SpecError
from treebuilder.nodes import Node
from treebuilder.nodes.full import load_full
from treebuilder.nodes.places import Places
from treebuilder.nodes.simple import load_simple

PLACES = Places("f", 0, None)
TOP = Path(__file__).parents[2]


def told(node: Node) -> Any:
    """Everything that a node says."""
    if node.kind == "map":
        inner: Any = [(key, told(value)) for key, value in node.value.items()]
    elif node.kind == "list":
        inner = [told(value) for value in node.value]
    else:
        inner = (type(node.value).__name__, node.value)
    return node.kind, node.place, node.written, inner


def same(text: str) -> bool:
    """Whether the fast reader read it. Fails when it read something else than the full one."""
    fast = load_simple(text, PLACES)
    if fast is None:
        return False
    try:
        full = load_full(text, PLACES)
    except SpecError as err:
        pytest.fail(f"only the fast reader reads {text!r}: {err}")
    assert told(fast) == told(full), text
    return True


WORDS = st.sampled_from(
    ["a", "b", "name", "y", "No", "null", "1", "0", "01", "1.0", "1e3", "-", "- a", "a b", "a: b", "a:b", "a:", "x #y",
     "x#y",
     "#c", "'q'", '"q"', "'a''b'", '"a\\n"', '"', "'", "|", "|-", "|+", ">", "[]", "{}", "[a]", "{a: b}", "*x", "&x a",
     "!t a",
     "%a", "@a", "`a`", "~", "", " ", "---", "...", "? a", "<<", "=", "/a/b", "$X", "(a)", "é", "\u00a0",
     "\t", "a,b", "a]",
     ">=1.0", "2020-01-01", "1:30", "0x1f", "http://a/b?c=d", "echo \"a\" > 'b'", "a  ", "yes", "<a", ".5", ".", "--a"]
)  # fmt: skip
LINES = st.one_of(
    st.builds(lambda pad, key, value: f"{' ' * pad}{key}:{value}", st.integers(0, 5),
              st.sampled_from(["a", "b", "c", "steps", '"q k"', "y", "a.b", "1", "A-b"]),
              st.one_of(st.just(""), WORDS.map(lambda w: f" {w}"), WORDS)),
    st.builds(lambda pad, gap, value: f"{' ' * pad}-{' ' * gap}{value}", st.integers(0, 5), st.integers(0, 3), WORDS),
    st.builds(lambda pad, gap, key, value: f"{' ' * pad}-{' ' * gap}{key}: {value}", st.integers(0, 4),
              st.integers(1, 3), st.sampled_from(["a", "b"]), WORDS),
    st.builds(lambda pad, value: f"{' ' * pad}{value}", st.integers(0, 6), WORDS),
    st.just(""),
)  # fmt: skip


@settings(max_examples=1500, deadline=None)
@given(st.lists(LINES, max_size=7), st.sampled_from(["", "\n"]))
@example(["a: |", "  x", "", "b: c"], "\n")
@example(["a: |-", "  x", "   y", "", ""], "\n")
@example(["a:", "- |", "  x", "- b: |", "    y", "  c: d"], "\n")
@example(["a:", "  - b:", "    - c", "    d: e", "  - f"], "")
@example(["# c", "---", "a:", "- b", "# d", "- c"], "\n")
def test_any_lines(lines: list[str], end: str) -> None:
    same("\n".join(lines) + end)


PLAIN = st.sampled_from(["a", "some text", "/usr/bin", "$HOME/x", "make && make install", "42", '"1.0"', "'>=0'", '""'])


def blocks(inner: st.SearchStrategy[list[str]]) -> st.SearchStrategy[list[str]]:
    """Maps and lists around what is given, as lines with their indent."""
    keys = st.lists(st.sampled_from(["name", "steps", "env", "labels", "a/b"]), min_size=1, max_size=3, unique=True)

    def as_map(names: list[str], values: list[list[str]]) -> list[str]:
        made: list[str] = []
        for name, value in zip(names, values, strict=False):
            made += [f"{name}: {value[0]}"] if len(value) == 1 and ":" not in value[0] else [f"{name}:"]
            made += [] if len(value) == 1 and ":" not in value[0] else [f"  {line}" for line in value]
        return made

    def as_list(values: list[list[str]]) -> list[str]:
        return [f"{'- ' if at == 0 else '  '}{line}" for value in values for at, line in enumerate(value)]

    several = st.lists(inner, min_size=3, max_size=3)
    return st.one_of(st.builds(as_map, keys, several), several.map(as_list))


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(PLAIN.map(lambda text: [text]), blocks, max_leaves=8).filter(lambda v: ":" in v[0] and v[0][0] != "-")
)
def test_what_people_write_is_read_by_the_fast_one(lines: list[str]) -> None:
    text = "\n".join(lines) + "\n"
    assert same(text) or "- - " in text, text


@pytest.mark.parametrize("path", sorted(str(p.relative_to(TOP)) for p in TOP.glob("packages/**/*.yaml")))
def test_our_own_specfiles(path: str) -> None:
    text = (TOP / path).read_text()
    if "{{" not in text:
        same(text)


def test_a_rendered_text_keeps_its_places() -> None:
    places = Places("build.yaml", 0, (3, 7, 0))
    fast = load_simple("a: b\nc:\n- d\n", places)
    assert fast is not None
    assert told(fast) == told(load_full("a: b\nc:\n- d\n", places))
