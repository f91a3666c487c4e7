"""Templates that would take for ever, fill the memory or look at the machine."""
# ruff: noqa: E501 - a template stands on one line

from __future__ import annotations

import os
import sys
from types import FrameType
from typing import TYPE_CHECKING

import pytest

from treebuilder.errors import SpecError
from treebuilder.template import Templates, parser, scope
from treebuilder.template.functions import NAMES
from treebuilder.template.functions.lists import effort
from treebuilder.template.functions.refused import REFUSED

if TYPE_CHECKING:
    from _typeshed import TraceFunction

_PARSER = (parser.__file__, scope.__file__)


def render(text: str) -> str:
    return Templates().render(text, {}, file="f")


@pytest.mark.parametrize(
    "text",
    [
        '{{ regexMatch "^(a+)+$" (print (repeat 40 "a") "b") }}',
        '{{ regexMatch "^(a|aa)+$" (print (repeat 60 "a") "b") }}',
        '{{ regexMatch "^(([a-z])+.)+[A-Z]([a-z])+$" (repeat 60 "a") }}',
        '{{ regexMatch "(.*)*x(.*)*y(.*)*z" (repeat 60 "a") }}',
        '{{ regexMatch "a*a*a*a*a*b" (repeat 2000 "a") }}',
    ],
)
def test_patterns_take_time_that_grows_with_the_text(text: str) -> None:
    assert render(text) == "false"


def test_the_linear_way_finds_what_backtracking_finds() -> None:
    text = '{{ regexReplaceAll "((\\\\d+)\\\\.)+(\\\\d+)" "version 1.22.333 and 4.5 of a long line" "<$1|$2|$3>" }}'
    assert render(text) == "version <22.|22|333> and <4.|4|5> of a long line"
    named = '{{ regexReplaceAll "(?i)(?:(?P<w>[a-z]+?)-?)+$" "Alpha-Beta-Gamma-Delta" "${w}" }}'
    assert render(named) == "a"


@pytest.mark.parametrize(
    "text",
    [
        '{{ range until 100000 }}{{ $x := repeat 10000000 "x" }}{{ end }}',
        '{{ $x := repeat 10000000 "x" }}{{ range until 100000 }}{{ $y := sha256sum $x }}{{ end }}',
        '{{ define "r" }}{{ if lt . 60 }}{{ range list 1 2 }}{{ template "r" 1 }}{{ end }}{{ end }}{{ end }}{{ template "r" 0 }}',
        '{{ $f := repeat 2000 "%1000000[1]d" }}{{ printf $f 1 }}',
        '{{ define "d" }}{{ . }}{{ . }}{{ end }}{{ $x := "x" }}{{ range until 60 }}{{ $x = include "d" $x }}{{ end }}',
        "{{ $x := list 1 }}{{ range until 60 }}{{ $x = list $x $x }}{{ end }}{{ deepEqual $x $x }}",
        '{{ regexMatch "(a|b|ab)*c" (repeat 3000000 "ab") }}',
        '{{ range until 100000 }}{{ if regexMatch "(a|b|ab)*c" (repeat 5000 "ab") }}{{ end }}{{ end }}',
        '{{ range until 100000 }}{{ if regexMatch ".*.*x" (repeat 50 "ab") }}{{ end }}{{ end }}',
        '{{ regexFindAll "a(.*x)?" (repeat 2000 "a") -1 }}',
        "{{ range until 6000 }}{{ $x := uniq (until 900) }}{{ end }}",
        '{{ $l := repeat 20000 "2006" }}{{ range until 100000 }}{{ $x := now.Format $l }}{{ end }}',
        '{{ $l := repeat 50000 "2006" }}{{ now.Format $l }}',
        '{{ $l := repeat 20000 "1" }}{{ range until 100000 }}{{ $x := toDate $l $l }}{{ end }}',
        '{{ $d := repeat 4000 "0h" }}{{ range until 100000 }}{{ $x := dateModify $d now }}{{ end }}',
        "{{ $l := until 3000 }}{{ range until 100000 }}{{ if has -1 $l }}{{ end }}{{ end }}",
        '{{ range until 1000 }}{{ $x := derivePassword 1 "long" "a" "b" "c" }}{{ end }}',
        '{{ $r := repeat 1000000 "$1" }}{{ regexReplaceAll "(x?)" (repeat 4000000 "a") $r }}',
        '{{ $r := repeat 4000000 "r" }}{{ regexReplaceAllLiteral "a" (repeat 4000000 "a") $r }}',
        '{{ $r := repeat 10000 "$1" }}{{ range until 1000 }}{{ $x := regexReplaceAll "(a)" "aaa" $r }}{{ end }}',
        '{{ regexMatch (repeat 100000 "\\pL") "x" }}',
        '{{ regexMatch (print "(?i)[" (repeat 100000 "\\pL") "]") "x" }}',
    ],
)  # fmt: skip
def test_what_costs_too_much_is_one_error(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        render(text)
    assert caught.value.reason == "template"
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "call",
    [
        "snakecase $t", "kebabcase $t", "camelcase $t", "swapcase $t", "title $t", "untitle $t", "upper $t", "lower $t",
        "initials $t", "nospace $t", "quote $t", 'wrapWith 2 "" $t', "wrap 2 $t", "now.Format $t",
        'regexMatch $t "x"', 'regexFind $t "x"', "fromJson $t", "fromJson (toJson $t)", "fromYaml $t", "toYaml $t",
    ],
)  # fmt: skip
def test_what_goes_through_all_characters_counts_them(call: str) -> None:
    before = effort.compared
    render(f'{{{{ $t := repeat 25000 "é x " }}}}{{{{ $x := {call} }}}}')
    assert effort.compared - before > 100_000 >> 5


def test_words_of_a_text_that_is_too_long_are_an_error() -> None:
    with pytest.raises(SpecError, match="a text of 4000000 characters"):
        render('{{ snakecase (repeat 2000000 "aB") }}')


def test_a_long_reference_in_a_replacement_is_read_once() -> None:
    text = '{{ $r := print "<$1>$" (repeat 1000000 "é") "<$1>" }}{{ regexReplaceAll "(a)" (repeat 100 "a") $r }}'
    assert render(text) == "<a><a>" * 100


def test_the_environment_is_what_is_listed() -> None:
    assert os.environ.get("PATH")
    assert render('{{ env "PATH" }}{{ expandenv "$PATH ${HOME}" }}') == " "
    assert Templates(env={"A": "1"}).render('{{ env "A" }}{{ expandenv "$A${A}$PATH" }}', {}, file="f") == "111"


def test_dates_start_from_the_epoch_that_is_given() -> None:
    text = '{{ now.Unix }}|{{ now | date "2006-01-02" }}|{{ ago (now) }}|{{ htmlDate "nothing" }}|{{ unixEpoch now }}'
    assert Templates(epoch_s=86_400).render(text, {}, file="f") == "86400|1970-01-02|0s|1970-01-02|86400"


@pytest.mark.parametrize(
    "call",
    ["randAlphaNum 9", "randAlpha 9", "randAscii 9", "randNumeric 20", "randBytes 9", "randInt 0 1000000000", "uuidv4",
     'shuffle "abcdefghijklmnopqrstuvwxyz"'],
)  # fmt: skip
def test_chance_comes_from_the_seed(call: str) -> None:
    text = f"{{{{ {call} }}}}"
    one = Templates(seed=b"1").render(text, {}, file="f")
    assert one == Templates(seed=b"1").render(text, {}, file="g")
    assert one != Templates(seed=b"2").render(text, {}, file="f")


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_the_network_keys_and_certificates_are_refused(name: str) -> None:
    assert name in NAMES
    with pytest.raises(SpecError, match=rf"template: {name}: "):
        render(f'{{{{ {name} "a" }}}}')


def steps(text: str) -> int:
    """How many lines of the parser are run to render the text, those within a comprehension each time."""
    found = 0

    def count(frame: FrameType, event: str, given: object) -> TraceFunction | None:
        nonlocal found
        found += event == "line"
        return count if frame.f_code.co_filename in _PARSER else None

    before = sys.gettrace()
    sys.settrace(count)
    try:
        render(text)
    finally:
        sys.settrace(before)
    return found


@pytest.mark.parametrize("use", ["", "{{ $v0 }}", "{{ $w := $v0 }}", "{{ if $v0 }}{{ $v0 = 1 }}{{ end }}"])
def test_steps_grow_with_the_number_of_variables(use: str) -> None:
    few, many = ("".join(f"{{{{ $v{i} := {i} }}}}" for i in range(size)) + use * size for size in (100, 400))
    assert 0 < steps(many) < 5 * steps(few)
