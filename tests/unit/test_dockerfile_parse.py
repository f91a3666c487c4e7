"""Dockerfiles as values: lines, flags, stages, and what they take from outside."""

from __future__ import annotations

import pytest

from treebuilder.errors import SpecError
from treebuilder.model.dockerfile import Dockerfile, parse
from treebuilder.model.dockerfile_refs import Outside, outside

PLATFORM = "linux/amd64"


def read(text: str) -> Dockerfile:
    return parse(text, "app/Dockerfile", PLATFORM)


def fails(text: str) -> SpecError:
    with pytest.raises(SpecError) as caught:
        read(text)
    assert caught.value.reason == "dockerfile"
    return caught.value


def test_lines_comments_and_continuations() -> None:
    text = "\n".join([
        "# a comment", "", "from scratch", "RUN one \\", "  # inside", "", "  two \\  ", "three", "env A=1 \\",
        "    B=2", "RUN echo \\\\", "RUN last \\",
    ])  # fmt: skip
    items = read(text).stages[0].instructions
    assert [(i.name, i.text, i.line) for i in items] == [
        ("RUN", "one   two three", 4), ("ENV", "A=1     B=2", 9), ("RUN", "echo \\\\", 11), ("RUN", "last", 12),
    ]  # fmt: skip


def test_directives() -> None:
    items = (
        read("# escape=`\n# syntax = docker/dockerfile:1.4\nFROM scratch\nRUN a `\n b\nRUN c \\\n")
        .stages[0]
        .instructions
    )
    assert [i.text for i in items] == ["a  b", "c \\"]
    late = read("FROM scratch\n# escape=`\nRUN a \\\n b\n").stages[0].instructions
    assert [i.text for i in late] == ["a  b"]
    assert str(fails("# syntax=example.org/mine\nFROM scratch\n").where) == "app/Dockerfile:1"
    assert str(fails("# escape=x\nFROM scratch\n").where) == "app/Dockerfile:1"


def test_the_json_form() -> None:
    items = read('FROM scratch\nRUN ["a", "b c"]\nRUN [ -f x ]\nRUN ["a", 1]\n').stages[0].instructions
    assert [i.words for i in items] == [("a", "b c"), None, None]


def test_flags() -> None:
    item = read("FROM scratch\nCOPY --from=x --chown=1:2 --link a /b\n").stages[0].instructions[0]
    assert item.flags == (("from", "x"), ("chown", "1:2"), ("link", ""))
    assert item.text == "a /b"


def test_stages() -> None:
    text = (
        "ARG TAG=1 NAME=img:${TAG}\nFROM ${NAME} AS One\nFROM one AS two\nFROM --platform=$TARGETPLATFORM scratch\n"
        "COPY --from=0 a /\nCOPY --from=two a /\nCOPY --from=other:2 a /\n"
    )
    found = read(text)
    assert [(s.name, s.parent, s.image, s.line) for s in found.stages] == [
        ("one", None, "img:1", 2), ("two", 0, "", 3), ("", None, "", 4),
    ]  # fmt: skip
    assert found.needed() == (0, 1, 2)
    assert outside(found) == Outside(("img:1", "other:2"), ())


def test_a_stage_that_nothing_needs_is_left_out() -> None:
    found = read("FROM a AS one\nFROM b AS two\nFROM c\nCOPY --from=two x /\n")
    assert found.needed() == (1, 2)
    assert outside(found).images == ("b", "c")


def test_a_stage_may_have_the_name_of_an_image() -> None:
    found = read("FROM alpine AS alpine\nFROM alpine\n")
    assert found.stages[1].parent == 0
    assert outside(found).images == ("alpine",)


def test_urls_are_named_for_the_lock() -> None:
    text = "FROM scratch\nADD https://e.org/a.tgz 'http://e.org/b' $HOME/\nADD https://e.org/$V /\nCOPY https://x /\n"
    assert outside(read(text)).urls == ("https://e.org/a.tgz", "http://e.org/b")


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", 0, "no FROM"),
        ("RUN x\nFROM scratch\n", 1, "before the first FROM"),
        ("FROM scratch\nRUN <<EOF\necho\nEOF\n", 2, "here-documents"),
        ("FROM scratch\nCOPY <<-'X' /f\n", 2, "here-documents"),
        ("FROM scratch\nRUN --mount=type=cache,target=/x y\n", 2, "--mount"),
        ("FROM scratch\nCOPY --parents a /\n", 2, "--parents"),
        ("FROM scratch\nONBUILD RUN x\n", 2, "ONBUILD"),
        ("FROM scratch\n\nFETCH x\n", 3, "FETCH"),
        ("FROM scratch\nRUN\n", 2, "says nothing"),
        ("FROM a b\n", 1, "FROM image AS name"),
        ("FROM $NO\n", 1, "names no image"),
        ("FROM scratch AS 1\n", 1, "called 1"),
        ("FROM --platform=linux/s390x a\n", 1, "linux/s390x"),
        ("ARG 1x=2\nFROM scratch\n", 1, "no name"),
    ],
)
def test_what_is_refused(text: str, line: int, says: str) -> None:
    error = fails(text)
    assert says in error.message
    assert error.where is not None
    assert error.where.line == line


def test_what_looks_like_a_here_document() -> None:
    assert len(read('FROM scratch\nRUN echo "a << b" $((1 << 2)) <<<x\n').stages[0].instructions) == 1
