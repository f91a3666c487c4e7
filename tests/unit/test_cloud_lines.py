"""Files of variables keep what they say: lines end at line feeds alone, and a `#` in a word begins no comment."""

from __future__ import annotations

from pathlib import Path

import pytest

from treebuilder.cloudconfig.command import main
from treebuilder.device.cosfiles import parse_variables


def test_a_value_with_another_kind_of_line_end_stays_whole(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    file = tmp_path / "etc/environment"
    file.write_text('A="x\u2028y"\nB=1\n', encoding="utf-8")
    words = ["--root", str(tmp_path), 'stages: {default: [{environment: {B: "2", D: "a\\u2028b"}}]}']
    for _ in range(3):
        assert main(words) == 0
        assert file.read_text(encoding="utf-8") == 'A="x\u2028y"\nB=2\nD="a\u2028b"\n'
    assert parse_variables(file.read_text(encoding="utf-8"), "f").values == {
        "A": "x\u2028y", "B": "2", "D": "a\u2028b",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("NAME=C#OS # the system", "C#OS"), ("NAME=https://x/y#sha256:ab", "https://x/y#sha256:ab"),
        ("NAME='a # b' # c", "a # b"), ('NAME="a \\" # b"\t# c', 'a " # b'), ("NAME=#a", "#a"), ("NAME= # a", ""),
        ('NAME="a\\\\" # c', "a\\"), ("NAME='a\\' # c", "a\\"), ("NAME=a\\ #b # c", "a #b"),
        ("NAME=a # $(b) `c`", "a"), ("export\tNAME=a", "a"), ("  export  NAME=a\r", "a"),
    ],
)  # fmt: skip
def test_where_a_comment_begins(line: str, value: str) -> None:
    found = parse_variables(f"# NAME=no\n{line}\n", "f")
    assert (dict(found.values), found.warnings) == ({"NAME": value}, ())
