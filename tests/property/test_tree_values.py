"""Laws of value merging and of file filters."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from treebuilder.errors import SpecError
from treebuilder.model.patterns import compile_filter, compile_pattern
from treebuilder.tree.values import Values, canonical, merged

_VALUES = st.recursive(
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 3) | st.just("") | st.just(False), max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner | st.integers(0, 3), max_size=3),
    max_leaves=8,
)
_PATH = st.text("ab/.-", max_size=8).map(lambda text: "/" + text)


@given(low=_VALUES, high=_VALUES)
def test_the_upper_values_win(low: Values, high: Values) -> None:
    before = canonical(low), canonical(high)
    result = merged(low, high)
    assert (canonical(low), canonical(high)) == before
    assert result.keys() == low.keys() | high.keys()
    for key, value in high.items():
        if not isinstance(value, dict):
            assert result[key] == value
    assert merged(result, high) == result


@given(value=_VALUES)
def test_empty_values_change_nothing(value: Values) -> None:
    assert merged(value, {}) == value == merged({}, value)
    assert merged(value, value) == value


@given(one=_VALUES, two=_VALUES)
def test_canonical_text_tells_values_apart(one: Values, two: Values) -> None:
    def exact(value: object) -> object:
        return {k: exact(v) for k, v in value.items()} if isinstance(value, dict) else (type(value), value)

    assert (canonical(one) == canonical(two)) == (exact(one) == exact(two))


@given(words=st.lists(st.text("ab/.-", min_size=1, max_size=3), max_size=3), path=_PATH)
def test_filters_split_the_files(words: list[str], path: str) -> None:
    patterns = [re.escape(word) for word in words]
    included, excluded = compile_filter(patterns, ()), compile_filter((), patterns)
    found = any(word in path for word in words)
    assert included(path) == (found or not words)
    assert excluded(path) == (not found)
    if words:
        assert not compile_filter(patterns, patterns)(path)


@settings(max_examples=200)
@given(pattern=st.text(alphabet="ab.*+?|()[]{}^$\\dwspLQE-:,1i?P<>=!#x", max_size=10))
def test_any_pattern_compiles_or_is_refused(pattern: str) -> None:
    reason = "pattern"
    try:
        compile_pattern(pattern).search("abba")
    except SpecError as err:
        reason = err.reason
    assert reason == "pattern"
