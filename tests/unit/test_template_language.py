"""The template language: what its constructs print, and where it says a fault is."""
# ruff: noqa: E501 - a case stands on one line

from __future__ import annotations

import subprocess
import sys

import pytest

from treebuilder.errors import Place, SpecError
from treebuilder.template import Templates

VALUES: dict[str, object] = {
    "name": "x", "version": "1.0+2", "arch": "amd64", "fips": True, "count": 3, "ratio": 1.5, "none": None,
    "labels": {"github.owner": "me", "nested": {"deep": "yes"}}, "list": ["a", "b"], "empty": [],
}  # fmt: skip


def render(text: str, **values: object) -> str:
    return Templates().render(text, {**VALUES, **values}, file="build.yaml")


def fault(text: str, *, shared: tuple[tuple[str, str], ...] = ()) -> SpecError:
    with pytest.raises(SpecError) as caught:
        Templates(shared=shared).render(text, VALUES, file="build.yaml")
    assert caught.value.reason == "template"
    return caught.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text\n", "plain text\n"),
        ("{{ .Values.name }}", "x"),
        ("a {{- .Values.name -}} b", "axb"),
        ("a\n\n{{- /* gone */ -}}\n\nb", "ab"),
        ("a{{/* gone */}}b", "ab"),
        ("{{ .Values.nope }}", "<no value>"),
        ("{{ .Values.none }}", "<no value>"),
        ("{{ .Values.nope.deeper }}", "<no value>"),
        ('{{ index .Values.labels "github.owner" }}', "me"),
        ("{{ .Values.labels.nested.deep }}", "yes"),
        ("{{ .Values.list }} {{ .Values.labels }}", "[a b] map[github.owner:me nested:map[deep:yes]]"),
        ("{{ .Values.ratio }} {{ 3.0 }} {{ 1000000.0 }} {{ 1e21 }}", "1.5 3 1e+06 1e+21"),
        ('{{ if eq .Values.arch "arm64" }}arm{{ else if eq .Values.arch "amd64" }}amd{{ else }}?{{ end }}', "amd"),
        ("{{ if .Values.nope }}y{{ else }}n{{ end }}{{ if .Values.empty }}y{{ else }}n{{ end }}", "nn"),
        ("{{ with .Values.labels }}{{ .nested.deep }}{{ $.Values.name }}{{ end }}", "yesx"),
        ("{{ with .Values.nope }}y{{ else }}n{{ end }}", "n"),
        ("{{ range .Values.list }}<{{ . }}>{{ end }}", "<a><b>"),
        ("{{ range $i, $e := .Values.list }}{{ $i }}{{ $e }}{{ end }}", "0a1b"),
        ("{{ range $k, $v := .Values.labels.nested }}{{ $k }}={{ $v }}{{ end }}", "deep=yes"),
        ("{{ range .Values.empty }}x{{ else }}none{{ end }}", "none"),
        ("{{ range until 9 }}{{ if eq . 2 }}{{ continue }}{{ end }}{{ if gt . 4 }}{{ break }}{{ end }}{{ . }}{{ end }}", "0134"),
        ("{{ range .Values.list }}{{ break }}{{ else }}none{{ end }}", ""),
        ("{{ $x := 1 }}{{ range until 3 }}{{ $x = add $x 10 }}{{ end }}{{ $x }}", "31"),
        ("{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ $x }}{{ end }}{{ $x }}", "21"),
        ('{{ define "t" }}[{{ . }}]{{ end }}{{ template "t" .Values.name }}{{ template "t" }}', "[x][<no value>]"),
        ('{{ block "b" .Values.name }}({{ . }}){{ end }}', "(x)"),
        ('{{ define "t" }}a\n  b{{ end }}{{ include "t" . | nindent 2 }}', "\n  a\n    b"),
        ('{{ and 1 "" (fail "never") }}{{ or 1 (fail "never") }}{{ not 0 }}', "1true"),
        ('{{ or "" 0 "last" }}{{ and 1 "last" }}', "lastlast"),
        ('{{ .Values.version | replace "+" "-" | printf "v%s" }}', "v1.0-2"),
        ('{{ eq .Values.arch "arm64" "amd64" }} {{ eq .Values.nope "x" }} {{ ne .Values.nope "x" }}', "true false true"),
        ("{{ `raw\\n` }}{{ \"esc\\t\\u00e9\" }}{{ 'a' }}{{ 0x10 }}{{ 017 }}{{ 1_000 }}", "raw\\nesc\té971615" + "1000"),
        ('{{ printf "%s-%d-%v" "a" 1 .Values.list }}', "a-1-[a b]"),
        ("{{ .Values.list | len }}{{ len .Values.labels }}", "22"),
    ],
)  # fmt: skip
def test_constructs(text: str, expected: str) -> None:
    assert render(text) == expected


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a\nb {{ .Values.name", 2, "not closed"),
        ("a\n{{ if .Values.name }}\nb\n", 2, "no {{end}}"),
        ("{{ end }}", 1, "ends nothing"),
        ("a\n\n{{ nosuch 1 }}", 3, '"nosuch" is not defined'),
        ("{{ $x }}", 1, "$x is not declared"),
        ("{{ range .Values.list }}{{ $x := 1 }}{{ end }}\n{{ $x }}", 2, "$x is not declared"),
        ('x\n{{ template "t" . }}', 2, '"t" is not defined'),
        ('{{ define "t" }}a{{ end }}\n{{ define "t" }}b{{ end }}', 2, "defined twice"),
        ('a\n{{ "x\n" }}', 2, "string that does not end"),
        ("{{ break }}", 1, "outside of a range"),
        ('{{ if true }}\n{{ define "x" }}{{ end }}{{ end }}', 2, "inside another"),
        ("a\nb\n{{ index .Values.list 7 }}", 3, "out of range"),
        ("{{ if true }}\n\n{{ range .Values.list }}\n{{ upper 5 }}{{ end }}{{ end }}", 4, "must be string, not int"),
        ("a\n{{ eq .Values.count .Values.ratio }}", 2, "incompatible types"),
        ('a\n{{ fail "told you" }}', 2, "told you"),
        ("{{ range 5.5 }}{{ end }}", 1, "can't iterate"),
        ("{{ .Values.name.first }}", 1, "can't evaluate field first"),
        ("{{ add 1 2 | 3 }}", 1, "no function"),
        ("{{ 1 2 }}", 1, "no function"),
        ("{{ nil }}", 1, "nil is not a command"),
        ("{{/* open", 1, "comment"),
        ("{{ if 1 }}{{ else }}{{ else }}{{ end }}", 1, "second {{else}}"),
        ("x\n{{ div 1 0 }}", 2, "division by zero"),
        ('{{ "\\q" }}', 1, "escape"),
        ("{{ 99999999999999999999 }}", 1, "too large"),
        ("{{ ( 1 }}", 1, "parenthesis"),
        ("{{ 1 ) }}", 1, "parenthesis"),
        ("{{ # }}", 1, "unexpected '#'"),
    ],
)
def test_a_fault_names_file_and_line(text: str, line: int, says: str) -> None:
    error = fault(text)
    assert error.where == Place("build.yaml", line)
    assert says in error.message


def test_a_fault_in_a_shared_file_names_that_file() -> None:
    shared = (("templates/a.yaml", '{{ define "a" }}\n{{ upper . }}{{ end }}'), ("templates/b.yaml", "\n\n"))
    assert fault('x\n{{ template "a" 5 }}', shared=shared).where == Place("templates/a.yaml", 2)
    broken = (("templates/a.yaml", '{{ define "a" }}\n{{ nosuch }}{{ end }}\n'),)
    assert fault("x", shared=broken).where == Place("templates/a.yaml", 2)


def test_a_fault_behind_shared_files_names_the_own_line() -> None:
    for tail in ("", "\n", "\n\n"):
        shared = (("templates/a.yaml", '{{ define "a" }}1{{ end }}' + tail),)
        assert fault("one\ntwo {{ nosuch }}", shared=shared).where == Place("build.yaml", 2)


def test_shared_files_are_glued_without_a_separator() -> None:
    shared = (("a", "text"), ("b", '{{ define "t" }}T{{ end }}more\n'))
    assert Templates(shared=shared).render('{{ template "t" }}!', {}, file="f") == "textmore\nT!"
    trimmed = (("a", "text \n {{- "), ("b", ' "x" }}'))
    assert Templates(shared=trimmed).render("y", {}, file="f") == "textxy"


def test_lines_of_the_output_are_traced_to_their_source() -> None:
    shared = (("templates/t.yaml", '{{ define "two" }}- one\n- two{{ end }}\nfree\n'),)
    text = 'a\n{{ if true }}\nb\n{{ end }}{{ template "two" . }}\nc {{ .Values.name }}\n{{- range .Values.list }}\n- {{ . }}\n{{- end }}\nend\n'
    found = Templates(shared=shared).render_mapped(text, VALUES, file="f")
    traced = list(zip(found.text.split("\n"), found.lines, strict=True))
    assert traced == [
        ("", 0), ("free", 0), ("a", 1), ("", 2), ("b", 3), ("- one", 4), ("- two", 4), ("c x", 5), ("- a", 7), ("- b", 7),
        ("end", 9), ("", 10),
    ]  # fmt: skip


def test_a_text_without_actions_is_itself_and_loads_no_template_library() -> None:
    code = (
        "import sys; from treebuilder.template import Templates;"
        "assert Templates().render('a: {b}\\n', {}, file='f') == 'a: {b}\\n'; assert 'jinja2' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_templates_may_call_each_other_deep_but_not_for_ever() -> None:
    text = '{{ define "r" }}{{ if . }}{{ include "r" (rest .) }}x{{ end }}{{ end }}{{ include "r" (until COUNT) }}'
    assert render(text.replace("COUNT", "900")) == "x" * 900
    limits = ("1000 deep", "nested too deeply")  # ours, or that of Python's own stack, which 3.12 made smaller
    for endless in (text.replace("COUNT", "3000"), '{{ define "r" }}{{ template "r" . }}{{ end }}{{ template "r" . }}'):
        assert any(limit in fault(endless).message for limit in limits)


@pytest.mark.parametrize(
    "text",
    [
        "{{ range until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}",
        '{{ repeat 1000000000 "x" }}',
        "{{ until 1000000000 }}",
        '{{ $x := "aaaaaaaa" }}{{ range until 60 }}{{ $x = print $x $x }}{{ end }}',
        "{{ $x := list 1 }}{{ range until 60 }}{{ $x = list $x $x }}{{ end }}{{ $x }}",
        '{{ $d := dict }}{{ $_ := set $d "me" $d }}{{ $d }}',
        '{{ range until 100 }}{{ printf "%1000000d" 1 }}{{ end }}',
        '{{ indent 1000000000 "x" }}',
        "{{ " + "(" * 100_000 + "1" + ")" * 100_000 + " }}",
        "{{ if 1 }}" * 100_000 + "{{ end }}" * 100_000,
    ],
)
def test_a_template_cannot_eat_the_machine(text: str) -> None:
    fault(text)


def test_a_long_else_if_chain_is_no_deep_nesting() -> None:
    chain = '{{ if eq .Values.name "0" }}' + "".join(
        f'{{{{ else if eq .Values.name "{n}" }}}}{n}' for n in range(1, 300)
    )
    assert Templates().render(chain + "{{ end }}", {"name": "299"}, file="f") == "299"


def test_bodies_may_nest_deeper_than_python_would_let_them() -> None:
    assert render("{{ if 1 }}" * 200 + "x" + "{{ end }}" * 200) == "x"
    assert render("{{ range list 1 }}" * 60 + "x" + "{{ end }}" * 60) == "x"


def test_values_are_not_reached_as_python_objects() -> None:
    for attribute in ("__class__", "keys", "items", "__init__"):
        assert render(f"{{{{ .Values.{attribute} }}}}") == "<no value>"
        assert "can't evaluate" in fault(f"{{{{ .Values.name.{attribute} }}}}").message


def test_equal_input_gives_equal_random_values() -> None:
    text = "{{ uuidv4 }} {{ randAlphaNum 8 }} {{ randInt 0 1000000 }}"
    one = Templates(seed=b"1").render(text, VALUES, file="a")
    assert one == Templates(seed=b"1").render(text, VALUES, file="b")
    assert one != Templates(seed=b"2").render(text, VALUES, file="a")
    assert one != Templates(seed=b"1").render(text, {}, file="a")
    first, second = Templates().render("{{ uuidv4 }} {{ uuidv4 }}", {}, file="a").split()
    assert first != second


def test_the_world_is_what_the_caller_gives() -> None:
    templates = Templates(env={"GIVEN": "1"}, epoch_s=86400)
    text = '{{ env "GIVEN" }}{{ env "HOME" }}{{ expandenv "<$GIVEN$PATH>" }} {{ now.Unix }} {{ date "2006-01-02" now }}'
    assert templates.render(text, {}, file="f") == "1<1> 86400 1970-01-02"
    assert "network" in fault('{{ getHostByName "localhost" }}').message
    assert "at first boot" in fault('{{ htpasswd "me" "secret" }}').message


def test_what_one_template_remembers_is_not_in_the_way_of_another() -> None:
    """`or` behind a pipe keeps its value in a hidden variable, which is another one in each template."""
    action = '{{ .Values.nothing | or "else" }}'
    assert render(action) == "else"
    assert render("{{ $x := 7 }}" + action + "{{ $x }}") == "else7"
    action = '{{ "then" | and .Values.name }}'
    assert render("{{ $x := 7 }}{{ $y := 8 }}" + action + "{{ $x }}{{ $y }}") == "then78"
    assert render(action) == "then"


def test_the_variables_of_a_range_are_its_whole_value_where_it_has_no_turns() -> None:
    assert render("{{ range $x := list }}{{ else }}{{ $x }}{{ end }}") == "[]"
    assert render("{{ $x := 1 }}{{ range $x = list }}{{ end }}{{ $x }}") == "[]"
    assert render("{{ $x := 1 }}{{ range $x = (list 5 6) }}{{ end }}{{ $x }}") == "6"


def test_an_assignment_to_nothing_is_refused_where_it_is_reached() -> None:
    text = "{{ if .Values.nothing }}{{ $late = 1 }}{{ $late }}{{ end }}ok"
    assert render(text) == "ok"
    assert "$late is not declared" in fault(text.replace("nothing", "name")).message
    assert fault("{{ if 1 }}\n{{ range $i, $e = list 1 }}{{ end }}{{ end }}").where == Place("build.yaml", 2)
