"""YAML as Go reads it, with places, and what a hostile file cannot do."""
# ruff: noqa: E501 - a case stands on one line

from __future__ import annotations

import itertools

import pytest

from treebuilder.errors import Place, SpecError
from treebuilder.nodes import load
from treebuilder.nodes.flat import read_flat
from treebuilder.nodes.full import load_full
from treebuilder.nodes.gotexts import go_text
from treebuilder.nodes.places import Places
from treebuilder.nodes.simple import load_simple


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("a: y\nb: NO\nc: On\nd: off\ne: true", {"a": True, "b": False, "c": True, "d": False, "e": True}),
        ("y: 1\nno: 2\n1.0: 3\nm: {y: 1, no: 2}", {"y": 1, "no": 2, "1.0": 3, "m": {"true": 1, "false": 2}}),
        ("a: 010\nb: 0x1F\nc: 1_000", {"a": 8, "b": 31, "c": 1000}),
        ("a: 1e3\nb: 08\nc: .5\nd: 1.5", {"a": 1000.0, "b": 8.0, "c": 0.5, "d": 1.5}),
        ("a: 12e999\nb: 1.2.3\nc: 2020-01-01\nd: '1'", {"a": "12e999", "b": "1.2.3", "c": "2020-01-01", "d": "1"}),
        ("a: ~\nb:\nc: null", {"a": None, "b": None, "c": None}),
        ("null: 1\n'~': 2\n~: 3\nm: {'null': 1}", {"": 3, "~": 2, "m": {"null": 1}}),
        ("a: 1\na: 2", {"a": 2}),
        ("a: =\nb: !!str 5", {"a": "=", "b": "5"}),
        ("a: &x {m: 1, v: 1}\nb: {<<: *x, v: 2}", {"a": {"m": 1, "v": 1}, "b": {"m": 1, "v": 2}}),
        ("a: &x {m: 1}\nb: {!!merge <<: *x, v: 2}", {"a": {"m": 1}, "b": {"m": 1, "v": 2}}),
        (
            "m: {0x10: a, 010: b, 1_000: c, 1.10: d, off: e}",
            {"m": {"16": "a", "8": "b", "1000": "c", "1.1": "d", "false": "e"}},
        ),
        ("a: &x 1\nb: *x\nc: &x {d: &x 2, e: *x}\nf: *x", {"a": 1, "b": 1, "c": {"d": 2, "e": 2}, "f": 2}),
        ("- &x {o: 1}\n- &z {o: 2, m: 3}\n- {<<: [*x, *z]}", [{"o": 1}, {"o": 2, "m": 3}, {"o": 1, "m": 3}]),
    ],
)
def test_values(text: str, expected: object) -> None:
    assert load(text, "f").plain() == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: [", 2), ("a: 1\n\tb: 2", 2), ("a: *nope", 1), ("? [a]\n: b", 1), ("a: \x01", 1),
        ("a: 1\nb: \x00", 2), ("\na: !!int x", 2), ("a: !!int", 1), ("a: !!float ''", 1), ("a: &x 1\nb: &x 2\nc: *y", 3), ("a: !!bool x", 1), ("<<: 5", 1),
        ("a: &a [*a]", 1), ("a: &a\n  <<: *a", 1), ("a:\n  - b\n c: d", 3),
    ],
)  # fmt: skip
def test_broken_files_name_the_line(text: str, line: int) -> None:
    with pytest.raises(SpecError) as caught:
        load(text, "f")
    assert caught.value.reason == "yaml"
    assert caught.value.where == Place("f", line)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "- " * 20_000 + "x",
        "{a: " * 5000,
        "\n".join(" " * level + "a:" for level in range(2000)),
        "a: &a [1]\n" + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
        "a: &a {x: 1}\n" + "".join(f"{b}: &{b} {{<<: [{', '.join([f'*{a}'] * 9)}]}}\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
    ],
    ids=["flow", "dashes", "maps", "indented", "aliases", "merges"],
)  # fmt: skip
def test_bombs_are_refused(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        load(text, "f")
    assert caught.value.reason == "yaml"


def test_what_is_written_is_no_bomb_however_much_it_is() -> None:
    text = f"packages: [{{name: p, uri: [{', '.join(['x'] * 200_500)}]}}]"
    assert len(load(text, "f").children("packages")[0].texts("uri")) == 200_500


def test_aliases_that_nest_what_stands_side_by_side() -> None:
    names = [f"n{number}" for number in range(1500)]
    text = "n: &n0 [x]\n" + "".join(f"{b}: &{b} [*{a}]\n" for a, b in itertools.pairwise(names))
    with pytest.raises(SpecError, match="nested too deeply") as caught:
        load(text, "f")
    assert caught.value.where is not None
    assert caught.value.where.line


def test_types_are_strict_and_say_how_to_write_it() -> None:
    node = load("version: 1.0\nflag: yes\nlist: [a, 1]\nlabels: {a: 1}\nmap: []", "f")
    for read in (
        lambda: node.text("version"), lambda: node.text("flag"), lambda: node.texts("list"), lambda: node.text_map("labels"),
        lambda: node.boolean("version"), lambda: node.children("labels"), lambda: node.integer("version"),
    ):  # fmt: skip
        with pytest.raises(SpecError) as caught:
            read()
        assert caught.value.reason == "wrong-type"
    with pytest.raises(SpecError) as caught:
        node.text("version")
    assert caught.value.hint == 'write it in quotes: "1.0"'


def test_keys_are_found_in_any_case_and_unknown_ones_are_reported() -> None:
    node = load("Name: a\nSTEPS: [x]\nbogus: 1", "f")
    assert node.text("name") == "a"
    assert node.texts("steps") == ("x",)
    assert node.unknown(frozenset(("name", "steps"))) == (("bogus", Place("f", 3)),)


def test_places_follow_the_source_of_a_made_text() -> None:
    node = load("a: 1\nb:\n- x\n- y\n", "f", lines=(3, 7, 7, 0, 9))
    assert [item.place for item in node.children("b")] == [Place("f", 7), Place("f", 0)]
    assert load("b: 1", "f", first_line=5).get("b") is not None
    found = load("b: 1", "f", first_line=5).get("b")
    assert found is not None
    assert found.place == Place("f", 5)
    with pytest.raises(SpecError) as caught:
        load("a: 1\nb: [", "f", lines=(3, 8))
    assert caught.value.where == Place("f", 8)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: x\n---\nb: 2", {"a": "x"}), ("---\na: x\n...\nb: [", {"a": "x"}), ("a: !mine 5", {"a": "5"}),
        ("a: !!python/object:os.system x", {"a": "x"}), ("a: !mine [x]", {"a": ["x"]}),
        ("a: !mine {b: c}", {"a": {"b": "c"}}),
    ],
)  # fmt: skip
def test_what_go_reads_is_read(text: str, value: object) -> None:
    """The first document counts, and tags of somebody's own mean nothing."""
    assert load(text, "f").plain() == value


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0o14", 12), ("-0o14", -12), ("+0o14", 12), ("0O14", 12), ("0o1_4", 12), ("0o_14", 12), ("0_o14", 12),
        ("0o", "0o"), ("0o18", "0o18"), ("0o777777777777777777777777", "0o777777777777777777777777"), ("014", 12),
        ("0b11", 3), ("0B11", 3), ("0x1f", 31), ("0X1F", 31), ("-0x1f", -31), ("0b12", "0b12"), ("0xfg", "0xfg"),
        ("0xffffffffffffffff", (1 << 64) - 1), ("-0x8000000000000000", -(1 << 63)),
        ("0x1ffffffffffffffff", "0x1ffffffffffffffff"), ("+0xffffffffffffffff", "+0xffffffffffffffff"),
    ],
)  # fmt: skip
def test_numbers_with_their_base_are_those_of_go(written: str, value: object) -> None:
    """Expected values are what yaml.v2 2.4 and yaml.v3 3.0 make of them."""
    assert load(f"v: {written}\n", "f").plain() == {"v": value}


@pytest.mark.parametrize("text", ["12:30:00", "12:30", "190:20:30", "1:20:30.15", "-12:30:00", "+1:30", "0:0"])
@pytest.mark.parametrize("more", ["", "w: {x: 1}\n"], ids=["alone", "beside flow"])
def test_numbers_to_the_base_of_60_are_texts(text: str, more: str) -> None:
    """yaml.v2 2.4 reads texts, though YAML 1.1 knows such numbers; every reader says so or steps back."""
    source = f"v: {text}\nl:\n- {text}\n{more}"
    value = load(source, "f").plain()
    assert isinstance(value, dict)
    assert (value["v"], value["l"]) == (text, [text])
    for read in (load_simple(source, Places("f", 0, None)), load_full(source, Places("f", 0, None))):
        assert read is None or read.text("v") == text
    flat = read_flat(source)
    assert flat is None or flat["v"][1] == text


def test_more_than_anyone_writes_is_refused_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("treebuilder.nodes.full._MAX_WRITTEN", 100)
    assert load("a: [" + "[]," * 90 + "]", "f").plain() == {"a": [[]] * 90}
    with pytest.raises(SpecError, match="too many values") as caught:
        load("a:\n- [" + "[]," * 100 + "]", "f")
    assert caught.value.where == Place("f", 2)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"), (False, "false"), (1 << 63, "9223372036854775808"), (1.1, "1.1"), (3.14159265358979, "3.1415927"),
        (123456.0, "123456"), (1e6, "1e+06"), (1234567.0, "1.234567e+06"), (-1.5e-5, "-1.5e-05"), (1e-4, "0.0001"),
        (-0.0, "-0"), (16777217.0, "1.6777216e+07"), (1e39, "+Inf"), (float("-inf"), "-Inf"), (float("nan"), "NaN"),
    ],
)  # fmt: skip
def test_numbers_as_texts_are_those_of_go(value: float, text: str) -> None:
    assert go_text(value) == text
