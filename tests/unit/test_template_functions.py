"""Functions of text/template, sprig and luet. Expected values are from their documentation or from Go itself."""
# ruff: noqa: E501 - a case stands on one line

from __future__ import annotations

import pytest

from treebuilder.errors import SpecError
from treebuilder.template import Templates
from treebuilder.template.functions import NAMES
from treebuilder.template.values import AnyMap


def render(text: str) -> str:
    return Templates().render(text, {"l": ["a", "b"], "m": {"x": 1}}, file="f")


CASES = [
    # text
    ('{{ trunc 5 "hello world" }}|{{ trunc -5 "hello world" }}', "hello|world"),
    ('{{ abbrev 5 "hello world" }}|{{ abbrevboth 5 10 "1234 5678 9123" }}', "he...|...5678..."),
    ('{{ title "hello world-foo" }} {{ untitle "Hello World" }}', "Hello World-Foo hello world"),
    ('{{ trimAll "$" "$5.00$" }}{{ trimSuffix "-" "a-" }}{{ trimPrefix "-" "-b" }}', "5.00ab"),
    ('{{ substr 0 5 "hello world" }}{{ nospace " a b " }}{{ initials "First Try" }}', "helloabFT"),
    ('{{ swapcase "This Is A.Test" }}', "tHIS iS a.tEST"),
    ('{{ snakecase "HTTPServer" }} {{ snakecase "http2xx" }} {{ snakecase "Bld4Floor3rd" }}', "http_server http_2xx bld4_floor_3rd"),
    ('{{ kebabcase "NoHTTPS" }} {{ camelcase "http_server" }}', "no-https HttpServer"),
    ('{{ wrapWith 5 "|" "Hello World" }}', "Hello|World"),
    ('{{ quote "a\\"b" 1 nil }} {{ squote "a" true }} {{ cat "a" nil 1 }}', "\"a\\\"b\" \"1\" 'a' 'true' a 1"),
    ('{{ indent 2 "a\\nb" }}|{{ nindent 1 "a" }}', "  a\n  b|\n a"),
    ('{{ plural "one" "many" 1 }}{{ contains "cat" "catch" }}{{ hasPrefix "ca" "catch" }}', "onetruetrue"),
    ('{{ (split "$" "a$b")._1 }} {{ splitList "," "a,b" }} {{ splitn "$" 2 "a$b$c" }}', "b [a b] map[_0:a _1:b$c]"),
    ('{{ join "," .Values.l }}|{{ join "," nil }}|{{ join "-" (list 1 nil "x") }}', "a,b||1-x"),
    ('{{ list "c" "a" | sortAlpha }}{{ upper "a" }}{{ lower "B" }}{{ trim " x " }}{{ repeat 2 "z" }}', "[a c]Abxzz"),
    # defaults and types
    ('{{ default "d" "" }}{{ default "d" 0 }}{{ default "d" nil }}{{ .Values.no | default "d" }}{{ default "d" "v" }}', "ddddv"),
    ('{{ empty 0 }} {{ coalesce 0 "" "x" }} {{ ternary "a" "b" true }} {{ all 1 0 }} {{ any 1 0 }}', "true x a false true"),
    ("{{ kindOf 1 }} {{ kindOf (add 1 1) }} {{ kindOf nil }} {{ typeOf (list) }} {{ kindIs \"map\" .Values.m }}", "int int64 invalid []interface {} true"),
    # lists
    ("{{ first .Values.l }}{{ last .Values.l }}{{ rest .Values.l }}{{ initial .Values.l }}{{ reverse .Values.l }}", "ab[b][a][b a]"),
    ("{{ append .Values.l \"c\" }}{{ prepend .Values.l \"z\" }}{{ .Values.l }}", "[a b c][z a b][a b]"),
    ("{{ uniq (list 1 1 2) }}{{ without (list 1 2) 1 }}{{ has 2 (list 1 2) }}{{ has 1 nil }}", "[1 2][2]truefalse"),
    ("{{ slice (list 1 2 3) 1 2 }}{{ concat (list 1) (list 2) }}{{ chunk 2 (list 1 2 3) }}{{ compact (list 0 1) }}", "[2][1 2][[1 2] [3]][1]"),
    ("{{ until 3 }}{{ untilStep 3 0 -1 }} {{ seq 1 2 7 }}", "[0 1 2][3 2 1] 1 3 5 7"),
    # maps
    ('{{ $d := dict "a" 1 }}{{ get $d "a" }}{{ get $d "b" }}{{ $_ := set $d "b" 2 }}{{ $d }}{{ hasKey $d "b" }}', "1map[a:1 b:2]true"),
    ('{{ $d := dict "b" 1 "a" 2 }}{{ keys $d }}{{ values $d }}{{ pick $d "a" }}{{ omit $d "a" }}{{ unset $d "a" }}', "[a b][2 1]map[a:2]map[b:1]map[b:1]"),
    ('{{ dig "a" "b" "?" (dict "a" (dict "b" 1)) }}{{ dig "a" "c" "?" (dict "a" (dict "b" 1)) }}', "1?"),
    ('{{ merge (dict "a" 1) (dict "a" 2 "b" 3) }}{{ mergeOverwrite (dict "a" 1) (dict "a" 2) }}', "map[a:1 b:3]map[a:2]"),
    ('{{ $d := dict "a" (list 1) }}{{ $e := deepCopy $d }}{{ $_ := set $e "a" 2 }}{{ $d }}', "map[a:[1]]"),
    # numbers
    ('{{ add 1 "2" 3.9 }} {{ sub 5 3 }} {{ mul 2 3 }} {{ div 7 2 }} {{ mod -7 3 }} {{ add1 1 }}', "6 2 6 3 -1 2"),
    ("{{ max 1 3 2 }}{{ min 3 1 }}{{ ceil 1.2 }}{{ floor 1.8 }} {{ round 1.2345 2 }} {{ addf 0.1 0.2 }} {{ divf 1 4 }}", "3121 1.23 0.3 0.25"),
    ('{{ int "12" }}{{ int64 "0x10" }}{{ float64 "1.5" }}{{ atoi "x" }}{{ toDecimal "777" }}', "12161.50511"),
    ("{{ add 9223372036854775807 1 }}", "-9223372036854775808"),
    # encodings
    ('{{ toJson (dict "b" (list 1 nil 1.5) "a" "<") }}', '{"a":"\\u003c","b":[1,null,1.5]}'),
    ('{{ toPrettyJson (dict "a" (list 1)) }}', '{\n  "a": [\n    1\n  ]\n}'),
    ('{{ (fromJson "{\\"a\\": 10}").a }} {{ hasKey (fromJson "{") "Error" }} {{ fromJsonArray "[1, 2]" }}', "10 true [1 2]"),
    ('{{ urlParse "file:///etc/x" | urlJoin }} {{ urlJoin (dict "path" "a:b/c") }}', "file:///etc/x ./a:b/c"),
    ('{{ (urlParse "pkg:u%zz").opaque }}', "u%zz"),
    ('{{ urlParse "http://é/a(b)?q#(c)" | urlJoin }}', "http://%C3%A9/a%28b%29?q#(c)"),
    ('{{ toYaml (list "2020-1-05" "2020-13-01" "2020-02-30") }}', '- "2020-1-05"\n- 2020-13-01\n- 2020-02-30'),
    ('{{ toYaml (dict "b" (list 1 (dict "x" "yes")) "a" "t: x" "c" "two\\nlines\\n") }}', "a: 't: x'\nb:\n- 1\n- x: \"yes\"\nc: |\n  two\n  lines"),
    ('{{ (fromYaml "a: [1, x]").a }} {{ hasKey (fromYaml "a: [") "Error" }} {{ fromYamlArray "- 1" }}', "[1 x] true [1]"),
    ('{{ toToml (dict "b" (dict "x" 1) "a" 1.0) }}', "a = 1.0\n\n[b]\n  x = 1\n"),
    ('{{ b64enc "x" }} {{ b64dec "eA==" }} {{ b32enc "x" }} {{ b32dec "PA======" }}', "eA== x PA====== x"),
    ('{{ sha256sum "" }}', "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ('{{ sha1sum "" }} {{ adler32sum "abc" }}', "da39a3ee5e6b4b0d3255bfef95601890afd80709 38600999"),
    # patterns, paths, versions, URLs
    ('{{ regexMatch "^a.c$" "abc" }}{{ regexFind "[a-z]+" "1ab2" }}{{ regexFindAll "[0-9]" "1a2" -1 }}', "trueab[1 2]"),
    ('{{ regexReplaceAll "a(x*)b" "-ab-axxb-" "${1}W" }} {{ regexReplaceAll "a(x*)b" "-ab-" "$1W" }}', "-W-xxW- --"),
    ('{{ regexSplit "z+" "pizza" -1 }}{{ regexQuoteMeta "1.2" }}{{ regexReplaceAll "a*" "baaac" "-" }}', "[pi a]1\\.2-b-c-"),
    ('{{ base "/a/b.c" }} {{ dir "/a/b.c" }} {{ clean "/a/../b//c" }} {{ ext "a.tar.gz" }} {{ isAbs "/a" }}', "b.c /a /b/c .gz true"),
    ('{{ semverCompare "^1.2" "1.9.0" }} {{ semverCompare "~1.2" "1.3.0" }} {{ (semver "v1.2.3-a").Patch }}', "true false 3"),
    ('{{ (urlParse "http://u:p@h:1/p?q=1#f").host }} {{ urlJoin (dict "scheme" "http" "host" "h" "path" "/p") }}', "h:1 http://h/p"),
    # dates
    ('{{ date "2006-01-02 15:04:05 MST" 0 }} {{ htmlDate 86400 }}', "1970-01-01 00:00:00 UTC 1970-01-02"),
    ('{{ dateInZone "15:04 -0700" 1609459200 "Europe/Berlin" }}', "01:00 +0100"),
    ('{{ toDate "2006-01-02" "2017-12-31" | dateModify "24h" | htmlDate }} {{ duration "3661" }} {{ durationRound "2h10m" }}', "2018-01-01 1h1m1s 2h"),
    # text/template's own
    ("{{ len \"héy\" }} {{ index .Values.l 1 }} {{ print 1 2 \"a\" 3 }} {{ println 1 }}", "4 b 1 2a3 1\n"),
    ("{{ html \"<a'b>\" }} {{ js \"it's\" }} {{ urlquery \"a b&c\" }}", "&lt;a&#39;b&gt; it\\'s a+b%26c"),
    ("{{ lt 1 2 }}{{ le 2 2 }}{{ gt \"b\" \"a\" }}{{ ge 1.5 2.5 }}", "truetruetruefalse"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_functions(text: str, expected: str) -> None:
    assert render(text) == expected


def test_numbers_have_any_number_of_digits() -> None:
    """Python reads none of more than 4300."""
    zeros, ones = "0" * 5000, "1" * 5000
    assert render(f'{{{{ (toDate "MST" "GMT+{zeros}3").Unix }}}}|{{{{ dateModify "{zeros}1h" DAY }}}}'.replace(
        "DAY", '(toDate "2006" "2020")')) == "-62167219200|2020-01-01 01:00:00 +0000 UTC"  # fmt: skip
    assert render(f'{{{{ atoi "-{zeros}7" }}}}|{{{{ atoi "{ones}" }}}}|{{{{ atoi "-{ones}" }}}}') == (
        f"-7|{2**63 - 1}|{-(2**63)}"
    )
    assert render(f'{{{{ printf "%.{zeros}3d|%.{ones}d" 5 5 }}}}').startswith("005|%!")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('"%5d|%-5d|%05d|%+d|%x|%o|%b|%c|%q|%U" 42 42 42 42 255 8 5 65 65 65', "   42|42   |00042|+42|ff|10|101|A|'A'|U+0041"),
        ('"%s|%6s|%-6s|%q|%x|%.2s|%v|%T" "abc" "abc" "abc" "a\\"" "abc" "abc" "abc" "abc"', 'abc|   abc|abc   |"a\\""|616263|ab|abc|string'),
        ('"%f|%.2f|%8.3f|%e|%g|%v" 1.5 1.555 3.14159 1234.5 1e10 2.5', "1.500000|1.55|   3.142|1.234500e+03|1e+10|2.5"),
        ('"%d" "x"', "%!d(string=x)"),
        ('"%s" 5', "%!s(int=5)"),
        ('"%s" nil', "%!s(<nil>)"),
        ('"%d"', "%!d(MISSING)"),
        ('"x" 1 "a"', "x%!(EXTRA int=1, string=a)"),
        ('"%%|%t|%v" true nil', "%|true|<nil>"),
        ('"%[2]d %[1]d|%*d" 1 2 5 7', "2 1| 5"),
        ('"%v %q" (list 1 "a") (list "b")', '[1 a] ["b"]'),
    ],
)  # fmt: skip
def test_printf(arguments: str, expected: str) -> None:
    found = render(f"{{{{ printf {arguments} }}}}")
    assert found.startswith(expected)


@pytest.mark.parametrize(
    "call",
    [
        'replace "a" "b"', 'replace "a" "b" 5', "upper nil", 'until "x"', 'get "x" "y"', "first nil", "div 1 0", "dig 1",
        'substr 4 2 "hello"', "slice (list 1) 0 5", 'mustFromJson "{"', 'mustRegexMatch "(" "x"', 'semver "x"',
        'mustToDate "2006" "x"', 'mustRegexFind "(?=a)" "a"', "append nil 1", "len 5", "len nil", "eq 1", "eq 1 1.0",
        "eq (list) (list)", "lt nil 1", "lt true false", "call 5", "index nil 1", 'index .Values.l "x"', 'ternary 1 2 "x"',
        'semverCompare "foo" "1.0"', 'date 5 5', 'has "a" "abc"',
    ],
)  # fmt: skip
def test_wrong_arguments_are_faults(call: str) -> None:
    with pytest.raises(SpecError) as caught:
        render(f"\n{{{{ {call} }}}}")
    assert caught.value.reason == "template"
    assert caught.value.where is not None
    assert caught.value.where.line == 2


@pytest.mark.parametrize(
    "call",
    [
        'semverCompare (printf "^%s" (repeat 1000000 "1")) "1.0.0"',
        'semverCompare (printf "%s - " (repeat 1000000 "1")) "1.0.0"',
        'semverCompare (printf ">%sz" (repeat 1000000 " ")) "1.0.0"',
        'semverCompare (printf "1-%s!" (repeat 500000 "a.")) "1.0.0"', 'semver (printf "1-%s!" (repeat 500000 "a."))',
        'semver (repeat 1000000 "1")',
    ],
)  # fmt: skip
def test_long_versions_are_judged_in_one_go(call: str) -> None:
    """With time that grew with the square of their length, these would take days."""
    with pytest.raises(SpecError) as caught:
        render(f"{{{{ {call} }}}}")
    assert caught.value.reason == "template"


def test_every_name_of_sprig_parses() -> None:
    """The whole text table of sprig 3.2 plus luet's eight; what we refuse is refused when called, not when parsed."""
    assert len(NAMES) == 234
    for name in sorted(NAMES):
        assert render(f"{{{{ if false }}}}{{{{ {name} 1 }}}}{{{{ end }}}}" if name != "not" else "") == ""


@pytest.mark.parametrize(
    "text", ["a: 1\rb: *x", "a: 1\x85b: *x", "a: 1\u2028b: *x", "a: '\u2029*y'\r\nb: *x", "\ufeffb: *x"]
)
def test_an_unknown_anchor_is_named_after_all_that_ends_a_line_of_yaml(text: str) -> None:
    given = Templates().render("{{ fromYaml .Values.text }}", {"text": text}, file="f")
    assert given == "map[Error:yaml: unknown anchor 'x' referenced]"


@pytest.mark.parametrize(("text", "shown"), [("é", "Ã"), ("\udcff", "ÿ"), ("\udc85", "\\u0085"), ("\ufffd", "ï")])
def test_what_is_no_json_is_shown_as_its_first_byte(text: str, shown: str) -> None:
    given = Templates().render("{{ fromJson .Values.text }}", {"text": text}, file="f")
    assert given == f"map[Error:invalid character '{shown}' looking for beginning of value]"


def test_nil_in_a_map_inside_a_toml_list_is_left_out_and_in_the_list_itself_comes_before_all_other_faults() -> None:
    text = '{{ toToml (dict "a" (list 1 (dict "t" 1 "z" nil) (dict "b" nil "c" (dict "x" 1) "e" 3))) }}'
    assert render(text) == "a = [1, {t = 1, }, {e = 3, c = {x = 1}}]\n"
    odd = Templates().render('{{ toToml (dict "a" (list .Values.m nil)) }}', {"m": AnyMap()}, file="f")
    assert odd == "toml: cannot encode array with nil element"
    assert render("{{ toToml 1i }}") == "unsupported type for key '': complex128"


def test_the_user_of_a_url_is_read_and_escaped_anew() -> None:
    text = (
        '{{ urlJoin (dict "scheme" "https" "host" "h" "userinfo" "a!:b:c") }}|{{ (urlParse "//a%c3%a9:@h").userinfo }}'
    )
    assert render(text) == "https://a%21:b%3Ac@h|a%C3%A9:"
    for call in ('urlJoin (dict "host" "h" "userinfo" "a b")', 'urlParse "http://{@h"'):
        with pytest.raises(SpecError, match="invalid userinfo"):
            render(f"{{{{ {call} }}}}")
