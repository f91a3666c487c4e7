"""Versions and selectors: luet.md §8.1's corpus and truth tables, and dpkg's rules."""

from __future__ import annotations

import itertools
import random
import subprocess

import pytest

from tests.services import program
from treebuilder.errors import SpecError
from treebuilder.model.package import Package, PackageId
from treebuilder.model.version import Selector, Version, compare, fault, is_selector, newest_first, select
from treebuilder.model.words import parse_selector

CORPUS: list[list[str]] = [
    ["0.1"], ["0.20191126"], ["1.0~rc1"], ["1.0", "0:1.0", "v1.0", "V1.0", "01.0", " 1.0 ", "1.00"], ["1.0-1", "1.0_1"],
    ["1.0-r1"], ["1.0+2"], ["1.0.0"], ["1.0.29+pre2_p20191024.1"], ["1.1"], ["2.0"], ["2.10.1+1"], ["9999"],
    ["20190410"], ["1:0.1"],
]  # fmt: skip

TRUE = [
    ("2", ">=1"), ("2", "<=3"), ("", ">0"), ("0.0.40-alpha", ">0"), ("0.1.0+0.5", ">=0.1.0+0.4"),
    ("1.0.111", ">=0.0.20190406.4.9.172-r1"), ("1.0.29+pre2_p20191024", ">=0"), ("0.1.0+5", ">=0.1.0+4"),
    ("0.1.0-5", ">0.1.0-4"), ("0.0.1-alpha07-8", ">0.0.1-alpha07"), ("0.0.1-alpha07-8", ">0.0.1-alpha07-1"),
    ("0.0.1-alpha08", ">0.0.1-alpha07"), ("1.0+2", ">1.0+1"), ("1.0+2", ">1.0"), ("0:1.0", ">=1.0"),
    ("1.0-1", ">=1.0"), ("v1.0", ">=1.0"), ("", "=7"), ("2.0", "!=1.0"), ("2.0", ">= 1.0"), ("1.0", "== 1.0"),
    ("abc", "=abc"), ("abc", "!=abd"), ("1.0", ""), ("abc", ""),
]  # fmt: skip

FALSE = [
    ("0.0.1-alpha06", ">0.0.1-alpha07"), ("0.0.1-alpha08", "<0.0.1-alpha07"), ("0.1.0+0.3", ">0.1.0+0.4"),
    ("0", ">=0.0.20190406.4.9.172-r1"), ("2", "<=1"), ("2", ">=3"), ("0.0.40-alpha", "<0"), ("0.1.0+0.5", "<0.1.0+0.4"),
    ("1.0.111", "<=0.0.20190406.4.9.172-r1"), ("0.1.0+5", "<0.1.0+4"), ("0.1.0-5", "<=0.1.0-4"),
    ("1.2.3-beta.1-1", "<1.2.3-beta"), ("1.2.3-beta.1", "<1.2.3"),
    ("1.0+1", ">=1.0+2"), ("1.0-1", "<1.0"), ("abc", ">=0"), ("abc", "<1"), ("1.0", ">=1.0,<2.0"), ("1.5", "~>1.0"),
    ("1.0", "=abc"), ("1.0", "1.*"),
]  # fmt: skip


def test_the_corpus_is_in_order() -> None:
    for (i, left), (j, right) in itertools.product(enumerate(CORPUS), repeat=2):
        for a, b in itertools.product(left, right):
            assert compare(a, b) == (i > j) - (i < j), (a, b)


@pytest.mark.parametrize(("version", "selector"), TRUE)
def test_matching(version: str, selector: str) -> None:
    assert Selector.parse(selector).matches(version)


@pytest.mark.parametrize(("version", "selector"), FALSE)
def test_not_matching(version: str, selector: str) -> None:
    assert not Selector.parse(selector).matches(version)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.0~", "1.0"), ("1.0~~", "1.0~"), ("1.0", "1.0a"), ("1.0a", "1.0+"), ("1.0a", "1.0b"), ("1.9", "1.10"),
        ("1.0-1~", "1.0-1"), ("2-9", "1:0"), ("9" * 5000, "1" + "0" * 5000), ("1.z", "1.+"),
    ],
)  # fmt: skip
def test_dpkg_order(older: str, newer: str) -> None:
    assert compare(older, newer) == -1
    assert compare(newer, older) == 1


@pytest.mark.parametrize(("a", "b"), [("1.0", "1.0-0"), ("1.0-", "1.0-0"), ("1.a", "1.a0"), ("0", "000"), ("0:1", "1")])
def test_equal_though_written_differently(a: str, b: str) -> None:
    assert compare(a, b) == 0


@pytest.mark.parametrize(
    "text", ["", "abc", "1.0 2", "1.0/2", "ä1", "x:1", ":1", "1:", "1:a", "1.0-ä", "-1", "1" * 10001]
)
def test_no_versions(text: str) -> None:
    assert not Version.parse(text).valid
    assert compare(text, "0~") == -1


def test_a_version_of_a_megabyte_is_refused_quickly() -> None:
    text = "1." * 500_000
    assert not Version.parse(text).valid
    assert not Selector.parse(">=1").matches(text)
    assert Selector.parse("=" + text).matches(text)


def test_newest_first_is_total() -> None:
    texts = ["1.0", "v1.0", "0:1.0", "abc", "abd", "2.0", "1.0~rc1", "10"]
    packages = [Package(PackageId("c", "n", text)) for text in texts]
    expected = ["10", "2.0", "0:1.0", "1.0", "v1.0", "1.0~rc1", "abc", "abd"]
    for seed in range(20):
        random.Random(seed).shuffle(packages)
        assert [p.id.version for p in newest_first(packages)] == expected


def test_what_is_a_selector() -> None:
    assert all(is_selector(text) for text in ("", ">=1", "<2", "=1", "!=1"))
    assert not any(is_selector(text) for text in ("1.0", "!1.0", "1.*", "*"))


def test_select_keeps_the_order_and_what_has_no_version() -> None:
    packages = tuple(Package(PackageId("c", "n", text)) for text in ("3", "2", "", "abc", "1"))
    assert [p.id.version for p in select(Selector.parse(">=2"), packages)] == ["3", "2", ""]
    assert select(Selector.parse(""), packages) is packages


def test_dpkg_itself_agrees() -> None:
    """On versions put together from the pieces where rules differ."""
    dpkg = program("dpkg", "dpkg")
    rng = random.Random(8)
    pieces = ["0", "1", "10", "9", "a", "z", "rc", "~", "+", ".", "-", "1", ".2", "~~", "A"]

    def some() -> str:
        text = rng.choice(["", "", "1:"]) + rng.choice("129") + "".join(rng.choices(pieces, k=rng.randint(0, 4)))
        return text if not text.endswith("-") else text + "1"

    for _ in range(150):
        left, right = some(), some()
        sign = {-1: "lt", 0: "eq", 1: "gt"}[compare(left, right)]
        assert subprocess.run([dpkg, "--compare-versions", left, sign, right]).returncode == 0, (left, sign, right)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (">=", "'>=' names no version"),
        ("=>", "'>' is no version"),
        (">=>", "'>' is no version"),
        ("> =1", "'=1' is no version"),
        ("1.0>=2", "'1.0>=2' is no version"),
        ("~>1.0", "'~>1.0' is no version"),
        (">=1.0,<2.0", "'>=1.0,<2.0' is a list, and a selector is one operator and one version"),
        (">=abc", "'abc' is no version that can be compared"),
    ],
)
def test_selectors_that_nothing_satisfies_say_why(text: str, reason: str) -> None:
    assert fault(text) == reason
    assert not any(Selector.parse(text).matches(version) for version in ("1.0", "1.5", "2", "abc", "1"))


@pytest.mark.parametrize("text", ["", "1.0", "abc", "1.*", "!1.0", ">=1", "> 1", "=abc", "!=abc", "==1", "<2.0-r1"])
def test_selectors_that_may_be_satisfied(text: str) -> None:
    assert fault(text) is None


@pytest.mark.parametrize(
    ("word", "category", "name", "version"),
    [
        # luet's own ten
        ("foo", "", "foo", ""), ("cat/foo", "cat", "foo", ">=0"), ("cat/foo@1.1", "cat", "foo", "1.1"),
        ("cat/foo@>=1.1", "cat", "foo", ">=1.1"), ("=cat/foo", "cat", "foo", ">=0"),
        ("=cat/foo-1.2", "cat", "foo", "1.2"),
        (">=cat/foo-1.2", "cat", "foo", ">=1.2"), ("<cat/foo-1.2", "cat", "foo", "<1.2"),
        (">cat/foo-1.2", "cat", "foo", ">1.2"), ("<=cat/foo-1.2", "cat", "foo", "<=1.2"),
        ("=dev-libs/libsigc++-2-2.10.1+1", "dev-libs", "libsigc++-2", "2.10.1+1"),
        ("=cat/foo-1.2-r3", "cat", "foo", "1.2-r3"), ("=cat/foo-1.2-3", "cat", "foo", "1.2-3"),
        (">=cat/foo-bar", "cat", "foo-bar", ">=0"), ("=cat/gtk-3-2-r1", "cat", "gtk-3", "2-r1"),
        ("foo@1.0", "", "foo", "1.0"), ("cat/foo@", "cat", "foo", ">=0"), ("cat/foo@1.0@2.0", "cat", "foo", "1.0"),
        ("cat/foo@!=1.0", "cat", "foo", "!=1.0"), ("cat/foo@1.0+2", "cat", "foo", "1.0+2"),
        ("a/b/c", "a/b", "c", ">=0"),
    ],
)  # fmt: skip
def test_words(word: str, category: str, name: str, version: str) -> None:
    found = parse_selector(word)
    assert (found.category, found.name, found.version) == (category, name, version)
    assert str(found.where) == "command line"


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("a/lib@>=>", "'>' is no version"), ("a/lib@>=", "'>=' names no version"), ("a/lib@>=1,<2", "is a list"),
        ("", "there is no name in it"), ("cat/", "there is no name in it"), ("@1.0", "there is no name in it"),
        (">=", "there is no name in it"), (">=foo-1.2", "there is no name in it"),
        ("!=cat/foo", "'!=cat/foo' is no name"),
        ("cat/fo o", "'cat/fo o' is no name"), (">>cat/foo-1", "'>cat/foo' is no name"),
        ("cat/foo>=1", "'cat/foo>=1' is no name"), ("a/lib@~>1.0", "'~>1.0' is no version"),
    ],
)  # fmt: skip
def test_words_that_are_nonsense(word: str, why: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_selector(word)
    assert caught.value.reason == "selector"
    assert why in caught.value.message
    assert caught.value.hint is not None
