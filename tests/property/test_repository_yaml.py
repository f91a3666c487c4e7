"""The reader of machine-written YAML gives what libyaml gives, with texts for scalars, or steps back."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from treebuilder.nodes.writing import write_yaml
from treebuilder.repository.plainyaml import read_plain_yaml

WORDS = st.sampled_from(
    ["a", "b", "name", "null", "1", "1.10", "-", "- a", "a b", "a: b", "a:b", "a:", "x #y", "x#y", "#c", "'q'", '"q"',
     "'a''b'", '"a\\n"', '"a\\"b"', '"', "'", "|", "|-", "|+", ">", "[]", "{}", "[a]", "{a: b}", "*x", "&x a", "!t a",
     "!!binary YQ==", "? a", "- - a", "---", "...", "%x", "@", "`", ",", "-x", "--x", "id: 0", "", "é", "<<", "a :b"]
)  # fmt: skip
LINES = st.tuples(
    st.sampled_from(["", " ", "  ", "    ", "- ", "  - "]), WORDS, st.sampled_from(["", ":", ": "]), WORDS
)


def same(text: str) -> bool:
    """Whether it read the text. Fails when it read something else than libyaml."""
    fast = read_plain_yaml(text)
    if fast is None:
        return False
    try:
        full = yaml.load(text, Loader=yaml.CBaseLoader)
    except yaml.YAMLError as err:
        pytest.fail(f"only the fast reader reads {text!r}: {err}")
    assert fast == full, text
    return True


@given(st.lists(LINES.map("".join), max_size=9).map("\n".join), st.booleans())
@example(
    "a:\n- x: []\n  name: b\n  version: c\n  category: d\n- x: []\n  name: e\n  version: f\n  category: d\n  y: z",
    True,
)
@example("a: |\n  x\n\nb: c", True)
@example("a:\n- b: c\n   d: e", True)
@settings(max_examples=400, deadline=None)
def test_lines_in_any_order(text: str, ended: bool) -> None:
    same(text + "\n" if ended else text)


TEXTS = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ["", "null", "1.0", "a: b", "x\ny\n", "- a"]
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS.filter(bool), inner, max_size=5),
    max_leaves=12,
)


@given(st.dictionaries(st.text("abc", min_size=1), VALUES, min_size=1, max_size=4), st.sampled_from([2, 4]))
@settings(max_examples=150, deadline=None)
def test_what_we_write(value: dict[str, Any], indent: int) -> None:
    same(write_yaml(value, indent=indent).decode())


@pytest.mark.parametrize("indent", [2, 4])
def test_references_are_read_by_it(indent: int) -> None:
    short = {"annotations": {}, "category": "c", "id": 0, "name": "n", "requires": [], "version": "1"}
    ref = {"id": 0, "name": "n", "version": ">=1", "category": "c", "useflags": [], "state": "", "labels": {}}
    odd = ref | {"version": "2", "state": "odd"}
    last = ref | {"labels": {"x": "y"}}
    value = {
        "a": [ref, ref | {"name": "m"}, odd, ref, last],
        "k": [short, short | {"name": "a: b"}, short | {"id": 1}],
        "steps": ["x", "y\nz\n"],
        "b": {"c": [], "d": {"e": "1"}},
    }
    assert same(write_yaml(value, indent=indent).decode())


@pytest.mark.parametrize(
    "text",
    [
        'a:\n    b: c\n    d:\n        - e: f\n          g: h\n        - i\nj: "k"\n',  # yaml.v3
        "a:\n- b: c\n  d:\n  - e\n  - 'f'\ng: []\n",  # yaml.v2
        'a: "x\\ty"\nb: |-\n  c\n  d\n',
    ],
)
def test_what_go_writes(text: str) -> None:
    assert same(text)
