"""`.dockerignore`: the last match decides, folders take their content along."""

from __future__ import annotations

import pytest

from treebuilder.build.dockerfile_ignore import ignored
from treebuilder.errors import SpecError


@pytest.mark.parametrize(
    ("rules", "left_out", "kept"),
    [
        ("*.log", ["a.log"], ["d/a.log", "log"]),
        ("**/*.log", ["a.log", "d/a.log", "d/e/a.log"], ["a.logs"]),
        ("docs", ["docs", "docs/a", "docs/b/c"], ["a/docs", "docs2"]),
        ("/docs/", ["docs/a"], ["x/docs/a"]),
        ("*\n!keep", ["a", "b/c"], ["keep", "keep/inner"]),
        ("d\n!d/keep\nd/keep/no", ["d/a", "d/keep/no"], ["d/keep/yes"]),
        ("a?c", ["abc"], ["ac", "a/c", "abbc"]),
        ("[a-c]x", ["ax", "cx"], ["dx"]),
        ("a/**/z", ["a/z", "a/b/z", "a/b/c/z"], ["z", "b/a/z"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "b"]),
        ("# x\n\n  spaced  \n", ["spaced"], ["# x"]),
        ("a\\*", ["a*"], ["ab"]),
        (".\n", [], ["a"]),
    ],
)
def test_rules(rules: str, left_out: list[str], kept: list[str]) -> None:
    decide = ignored(rules, ".dockerignore")
    assert [path for path in [*left_out, *kept] if decide(path)] == left_out


def test_a_malformed_pattern_names_its_line() -> None:
    with pytest.raises(SpecError) as caught:
        ignored("ok\n[a\n", "app/.dockerignore")
    assert str(caught.value.where) == "app/.dockerignore:2"
