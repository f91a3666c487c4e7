"""What is written as YAML reads back as it was, by PyYAML and by us."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from treebuilder.nodes import load
from treebuilder.nodes.writing import write_yaml

TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    st.lists(st.text("ab: #-'\"%|>!&*?[]{},\t", max_size=8), max_size=4).map("\n".join),
    st.sampled_from(
        ["", "~", "null", "Yes", "NO", "y", "on", "0", "1.0", "0x1f", "1_000", "1:30", "2020-01-01", "1e3", ".5", "=",
         "<<", "-", "- a", "a: b", "a #b", "#a", " a", "a ", "a\n", "a\n\n", "\na", "a\n b", " a\nb", "'", "é", "\x85",
         "\u2028", "\ufeff", "😀", "a:", ":a", "---", "...", "%a", "@a", "`a`", "/a b/c", "a - b", "a -b", "0o7",
         ".inf"]
    ),
)  # fmt: skip
VALUES = st.recursive(
    st.one_of(TEXTS, st.booleans(), st.integers(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=12,
)


@settings(max_examples=300)
@given(st.dictionaries(TEXTS, VALUES, max_size=5), st.booleans(), st.sampled_from([2, 4]))
def test_it_reads_back(value: dict[str, Any], sort: bool, indent: int) -> None:
    written = write_yaml(value, sort_keys=sort, indent=indent)
    assert yaml.safe_load(written) == value
    assert list(yaml.safe_load(written)) == (sorted(value) if sort else list(value))


@settings(max_examples=200)
@given(TEXTS)
def test_a_text_stays_a_text_by_every_rule(text: str) -> None:
    node = load(write_yaml({"k": text}).decode(), "f").get("k")
    assert node is not None
    assert (node.kind, node.value) == ("text", text)


def test_a_name_that_is_no_utf_8_is_binary() -> None:
    name = b"\xff\xfea".decode("utf-8", "surrogateescape")
    assert yaml.safe_load(write_yaml({"files": [name]})) == {"files": [b"\xff\xfea"]}


def test_it_looks_as_people_write_it() -> None:
    value = {
        "steps": ["make\nmake install\n", "a: b"], "env": [], "map": {"x": {"z": True}},
        "list": [{"a": 1, "b": ["c"]}, [1, [2]], {}],
    }  # fmt: skip
    assert write_yaml(value).decode() == (
        "steps:\n- |\n    make\n    make install\n- 'a: b'\nenv: []\nmap:\n    x:\n        z: true\n"
        "list:\n-   a: 1\n    b:\n    - c\n-   - 1\n    -   - 2\n- {}\n"
    )


def test_what_has_no_form_is_an_error() -> None:
    with pytest.raises(TypeError, match="set"):
        write_yaml({"a": {1, 2}})
