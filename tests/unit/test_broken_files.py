"""Files that programs write and people break: what is wrong is said with its line."""

from __future__ import annotations

import pytest

from treebuilder.errors import IntegrityError, SpecError
from treebuilder.plan import lock
from treebuilder.repository.index import parse_document, parse_meta


def test_a_broken_index_says_in_which_line() -> None:
    with pytest.raises(IntegrityError, match=r"^here:2 is no YAML: mapping values are not allowed"):
        parse_document(b"name: x\n  bad: [\n", "here")


@pytest.mark.parametrize("text", [b"!!binary {a: 1}\n", b"a: !!binary [b]\n", b"a: !!binary b\n"])
def test_bytes_that_are_none(text: bytes) -> None:
    with pytest.raises(IntegrityError, match=r"^here(:1)? is no YAML"):
        parse_document(text, "here")


def test_an_item_of_an_index_is_not_said_to_be_in_a_line_of_the_file() -> None:
    data = b"index:\n- path: a\n  bad: [}\n- path: b\n"
    with pytest.raises(IntegrityError, match=r"^here is no YAML"):
        list(parse_meta(data, "here"))


def test_a_broken_lock_says_in_which_line() -> None:
    with pytest.raises(SpecError, match="cannot be read") as caught:
        lock.parse('{"schema":\n 1, broken', "treebuild.lock")
    assert str(caught.value.where) == "treebuild.lock:2"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: " + "[" * 100_000, 1),
        ("a: b\nc: " + "[{x: " * 50_000, 2),
        ("- " * 100_000 + "x", 1),
        ("".join(f"{' ' * depth}a:\n" for depth in range(1000)), 201),
        ("? " * 50_000 + "x", 1),
    ],
)
def test_documents_of_repositories_that_nest_too_deeply(text: str, line: int) -> None:
    with pytest.raises(IntegrityError, match=f"^here:{line} is no YAML: nested too deeply"):
        parse_document(text.encode(), "here")


def test_what_merely_looks_deep_is_read() -> None:
    text = "a: []\nb: '" + "[" * 300 + "'\nc: {}\nd: " + "[" * 150 + "]" * 150 + "\ne: [&x 1, *x]\n"
    assert parse_document(text.encode(), "here")["b"] == "[" * 300
