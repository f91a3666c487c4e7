"""Laws of versions and selectors, on any text and on texts that look like versions."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from treebuilder.errors import SpecError
from treebuilder.model.package import Package, PackageId
from treebuilder.model.version import Selector, Version, compare, fault, newest_first, select
from treebuilder.model.words import parse_selector

LIKELY = st.from_regex(r"(v|[0-9]:)?[0-9]{1,3}([.+~_-]?[0-9a-z]{1,3}){0,4}", fullmatch=True)
ANY = st.one_of(LIKELY, LIKELY, st.text(max_size=12), st.text("0123.:-~+_<>=!, v", max_size=10))
SIGNS = st.sampled_from([">=", "<=", "!=", "==", ">", "<", "=", "!"])


@given(ANY, ANY, ANY)
def test_the_order_is_an_order(a: str, b: str, c: str) -> None:
    assert compare(a, a) == 0
    assert compare(a, b) == -compare(b, a)
    if compare(a, b) <= 0 and compare(b, c) <= 0:
        assert compare(a, c) <= 0


@given(LIKELY, LIKELY)
def test_exactly_one_of_less_equal_and_greater_holds(a: str, b: str) -> None:
    said = [Selector.parse(sign + b).matches(a) for sign in ("<", "=", ">")]
    assert sum(said) == 1
    assert Selector.parse("<=" + b).matches(a) == (said[0] or said[1])
    assert Selector.parse(">=" + b).matches(a) == (said[1] or said[2])
    assert Selector.parse("!=" + b).matches(a) == (not said[1])


@given(SIGNS, ANY, st.lists(ANY, max_size=6))
def test_select_is_matching_one_by_one(sign: str, version: str, versions: list[str]) -> None:
    selector = Selector.parse(sign + version)
    packages = newest_first(Package(PackageId("c", "n", text)) for text in versions)
    assert select(selector, packages) == tuple(p for p in packages if selector.matches(p.id.version))


@given(SIGNS, LIKELY, LIKELY)
def test_equal_versions_match_the_same(sign: str, version: str, wanted: str) -> None:
    same = f"0:{version}" if ":" not in version and not version.startswith("v") else version
    assert Version.parse(same).valid == Version.parse(version).valid
    assert Selector.parse(sign + wanted).matches(version) == Selector.parse(sign + wanted).matches(same)


@settings(max_examples=300)
@given(ANY, LIKELY)
def test_what_is_called_a_fault_matches_nothing(text: str, version: str) -> None:
    if fault(text) is not None:
        selector = Selector.parse(text)
        assert selector.matches(version) == (selector.operator in ("!=", "!"))


@settings(max_examples=300)
@given(st.one_of(st.text(max_size=15), st.text("ab/@<>=!-1. ", max_size=12)))
def test_words_are_read_or_refused(word: str) -> None:
    try:
        found = parse_selector(word)
    except SpecError as err:
        said = (err.reason, bool(err.hint), word in err.message or repr(word) in err.message)
    else:
        said = ("selector", bool(found.name), fault(found.version) is None)
    assert said == ("selector", True, True)
