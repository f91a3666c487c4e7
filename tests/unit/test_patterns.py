"""RE2 patterns in Python, and the filters of build.yaml."""
# ruff: noqa: E501 - a case stands on one line

from __future__ import annotations

import sys
from collections import Counter

import pytest

from treebuilder.errors import SpecError
from treebuilder.model.patterns import compile_filter, compile_pattern


@pytest.mark.parametrize(
    ("pattern", "matches", "misses"),
    [
        ("^/usr/bin/", "/usr/bin/x", "/opt/usr/bin/x"),
        ("lib", "/usr/lib/x", "/usr/bin"),
        (r"\.so$", "/a.so", "/a.so.1"),
        (r"\.so$", "/a.so", "/a.so\n"),
        (r"\Aa\z", "a", "a\n"),
        ("(?i)README", "/readme", "/redme"),
        (r"^[\w-.]+$", "a-.b", "a/b"),
        (r"^[\d-z]+$", "1-z", "y"),
        (r"^[\w--0]+$", "a.-/0", ","),
        ("(?U)^a+$", "aaa", "b"),
        ("(?iU-s:A)b", "ab", "aB"),
        ("a(?i)b", "aB", "AB"),
        ("a(?i)b|c", "C", "A"),
        ("(a(?i)b)c", "aBc", "aBC"),
        ("(?i:a)b", "Ab", "AB"),
        ("(?s)a.b", "a\nb", "ab"),
        ("a.b", "axb", "a\nb"),
        ("(?m)^b$", "a\nb\nc", "ab"),
        ("(?i-s:A)b", "ab", "aB"),
        ("[[:alpha:]]+1", "a1", "11"),
        ("^[[:^digit:]]$", "a", "1"),
        ("[^[:space:]]x", "ax", " x"),
        (r"\pL1", "é1", "11"),
        (r"^\p{Lu}$", "É", "é"),
        (r"^\P{L}$", "1", "a"),
        (r"^[\p{Greek}a]$", "λ", "b"),
        (r"^\d\w\s$", "1a ", "aa "),
        (r"^\D\W\S$", "a-b", "1-b"),
        (r"^\d$", "1", "١"),
        (r"^\s$", " ", "\v"),
        (r"a\Q.*\Eb", "a.*b", "axxb"),
        (r"\x41\x{42}\103", "ABC", "abc"),
        (r"\t\n\a", "\t\n\a", "tna"),
        ("a{2,3}b", "aab", "ab"),
        ("a{,2}", "a{,2}", "aa"),
        ("a{x", "a{x", "a"),
        ("x}", "x}", "x"),
        ("[]a]", "]", "b"),
        ("[^]a]", "b", "]"),
        ("[a-]", "-", "b"),
        (r"[\]\-^]", "^", "a"),
        ("[[a]", "[", "b"),
        ("[a&&b]", "&", "c"),
        ("(?i)ÉTÉ", "été", "ete"),
        ("(?i)^[à-ÿk]+$", "ÀÉK\u212a", "a"),
        ("(?i)^[^é]$", "e", "É"),
        ("(?i)^[^a-cé-]$", "e", "É"),
        ("(?i)^[^a-cé-]$", "\n", "B"),
        (r"(?i)^[\d[:lower:]\-]+$", "1-K\u212a", "É"),
        ("(?i)^[α-ω]+$", "ΑΣςΩ\u2126", "a"),
        (r"(?i)^\w\W$", "ſ.", ".k"),
        (r"(?i)^\P{Lu}$", "1", "a"),
        ("(?i)^[[:^upper:]]$", "1", "a"),
        (r"(?i)\Q(ß\E", "(ẞ", "(ss"),
        ("(?i)é(?-i)é", "Éé", "ÉÉ"),
        ("(?i)^i$", "I", "ı"),
        ("(?P<1>a)(?P<n>b)(?P<n>c)", "abc", "ab"),
        ("(?P<name>a)b", "ab", "b"),
        ("(?<name>a)b", "ab", "b"),
        ("(?:a|b)c", "bc", "b"),
        ("a+?b", "aab", "b"),
        (r"a\/b", "a/b", "ab"),
        ("", "anything", ""),
    ],
)
def test_patterns(pattern: str, matches: str, misses: str) -> None:
    assert compile_pattern(pattern).search(matches)
    if misses:
        assert not compile_pattern(pattern).search(misses)


@pytest.mark.parametrize(
    "pattern",
    [
        "(?=a)", "(?!a)", "(?<=a)b", "(?<!a)b", r"(a)\1", "(?P=x)", "(?>a)", "(?#c)", "a++", "a*+", "a**", "a?+", "a{2}+", "a{2}{3}",
        "(", ")", "[a", "a\\", "*a", "|*", "(?x)a", r"\Z", r"\C", r"\u0041", r"\y", "[b-a]", "a{1001}", r"\p{Nonsense}",
        "[[:nonsense:]]", r"\x{110000}", r"[a-\d]", "(?)a", r"\xg", "(?P<>a)", "(?P<a-b>a)",
    ],
)  # fmt: skip
def test_what_re2_refuses_is_refused(pattern: str) -> None:
    with pytest.raises(SpecError) as caught:
        compile_pattern(pattern)
    assert caught.value.reason == "pattern"


@pytest.mark.parametrize("pattern", [r"\pL" * 2000, "[" + r"\pL" * 2000 + "]", "(?i)" + r"\pL" * 2000, "a" * 2_000_000])
def test_a_pattern_that_is_huge_for_python_is_refused(pattern: str) -> None:
    with pytest.raises(SpecError, match="is too large") as caught:
        compile_pattern(pattern)
    assert caught.value.reason == "too-large"
    assert len(caught.value.message) < 500


@pytest.mark.parametrize("pattern", ["(?i)" + "éǆΣ" * 300, f"(?i)[{'éǆΣ' * 300}]", "(?i)" + "[à-ÿ]" * 300])
def test_the_other_cases_of_characters_are_looked_up(pattern: str) -> None:
    """Not found by going through all characters that have another case, of which there are thousands."""
    compile_pattern("(?i)é")
    calls = Counter[str]()
    sys.setprofile(lambda frame, event, _: calls.update((event,)))
    try:
        compile_pattern(pattern)
    finally:
        sys.setprofile(None)
    assert calls["call"] < 300 * 900


def test_filters() -> None:
    everything = compile_filter((), ())
    assert everything("/a")
    only = compile_filter(("^/usr", "^/etc/x$"), ())
    assert [path for path in ("/usr/a", "/etc/x", "/etc/xy", "/var") if only(path)] == ["/usr/a", "/etc/x"]
    never = compile_filter((), (r"\.pyc$",))
    assert [path for path in ("/a.py", "/a.pyc") if never(path)] == ["/a.py"]
    both = compile_filter(("^/usr",), ("/doc/",))
    assert [path for path in ("/usr/a", "/usr/doc/b", "/etc") if both(path)] == ["/usr/a"]


def test_a_pattern_takes_no_longer_than_the_path() -> None:
    """Python's engine alone needs 2^60 steps for each of these."""
    keep = compile_filter([r"^/(a|aa)+$", r"(x+x+)+y"], [r"(.*)*z$"])
    assert keep("/" + "a" * 60)
    assert not keep("/" + "a" * 60 + "b")
    assert not keep("/" + "x" * 60)
    assert not keep("/" + "a" * 60 + "z")
