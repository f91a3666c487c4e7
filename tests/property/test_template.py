"""Laws of the template language."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.property.fuzzing import examples
from treebuilder.errors import SpecError
from treebuilder.template import Templates
from treebuilder.template.shared import Shared
from treebuilder.template.values import print_float

_TEXT = st.text(alphabet=st.characters(codec="utf-8"), max_size=60)
_PLAIN = _TEXT.filter(lambda text: "{{" not in text)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(text=_PLAIN)
def test_a_text_without_actions_is_itself(text: str) -> None:
    assert Templates().render(text, {}, file="f") == text


@settings(max_examples=60)
@given(before=_PLAIN, after=_PLAIN)
def test_what_stands_around_an_action_stays(before: str, after: str) -> None:
    if before.endswith("{") or after.startswith("}"):
        before, after = before + " ", " " + after
    found = Templates().render_mapped(before + '{{ "x" }}' + after, {}, file="f")
    assert found.text == before + "x" + after
    assert found.lines == tuple(range(1, found.text.count("\n") + 2))


@settings(max_examples=60)
@given(parts=st.lists(_PLAIN, min_size=1, max_size=4))
def test_shared_texts_are_glued_in_order(parts: list[str]) -> None:
    shared = tuple((f"t{number}", text) for number, text in enumerate(parts))
    whole = "".join(parts)
    if "{{" not in whole:
        assert Templates(shared=shared).render("end", {}, file="f") == whole + "end"


@pytest.mark.fuzz
@examples(60)
@given(body=st.text(alphabet="{}-. $:=|()\"`'/*abcifelsndrag019\n", max_size=40))
def test_any_text_renders_or_is_refused_with_a_place(body: str) -> None:
    refused: SpecError | None = None
    try:
        Templates().render("{{ " + body, {"a": 1}, file="f")
    except SpecError as err:
        refused = err
    if refused is not None:
        assert refused.reason == "template"
        assert refused.where is not None
        assert 1 <= refused.where.line <= body.count("\n") + 1


@settings(max_examples=60)
@given(value=_JSON)
def test_json_round_trip(value: object) -> None:
    made = Templates().render("{{ toJson .Values.v }}", {"v": value}, file="f")
    assert json.loads(made) == value
    again = Templates().render("{{ mustFromJson .Values.t | toJson }}", {"t": made}, file="f")
    assert json.loads(again) == value


@settings(max_examples=60)
@given(value=st.dictionaries(st.text("abcxyz_-1. ", min_size=1, max_size=6), _JSON, max_size=4))
def test_yaml_round_trip(value: dict[str, object]) -> None:
    from treebuilder.nodes import load

    made = Templates().render("{{ toYaml .Values.v }}", {"v": value}, file="f")
    assert load(made, "f").plain() == value


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_floats_are_printed_exactly(value: float) -> None:
    assert float(print_float(value)) == value


@settings(max_examples=60)
@given(value=_TEXT)
def test_quoted_texts_read_back(value: str) -> None:
    quoted = Templates().render("{{ printf `%q` .Values.v }}", {"v": value}, file="f")
    assert Templates().render("{{ " + quoted + " }}", {}, file="f") == value


_FRAGMENTS = st.sampled_from(
    [
        "a", " ", "\n", "\n\n  ", "{", "}", "x: y\n",
        "{{ .Values.a }}", "{{- .Values.b }}", "{{ .Values.n -}}", "{{.}}",
        "{{ if .Values.a }}", "{{ else }}", "{{- else if .Values.b -}}", "{{ end }}", "{{- end -}}", "{{ end }}\n",
        "{{ range $i, $e := .Values.l }}", "{{ $i }}", "{{ $e -}}", "{{ break }}", "{{ with .Values.m }}", "{{ .k }}",
        "{{ with $x := .Values.m }}{{ $x.k }}", '{{ template "t" . }}', '{{ include "t" .Values }}', "{{ $v := 1 }}",
        "{{ $v = .Values.a }}", "{{ $v }}", '{{ define "t" }}', '{{ block "u" . }}',
        "{{ .Values.a.b.c }}", '{{ "}}" }}',
        "{{ `a` }}", "{{/* c */}}", "{{- /* c */ -}}", '{{ fail "x" }}', '{{ .Values.a | default "d" | quote }}',
        "{{ toYaml .Values.m }}", "{{- -}}", "{{ - }}", "{{ nonsense }}", "{{ .Values.m\n.k }}", "{{\n.Values.a }}",
    ]
)  # fmt: skip
_SHARED = st.sampled_from(
    [
        (), (("t", '{{ define "t" }}T{{ .a }}\n\n{{ .Values.n }}{{ end }}'),), (("t", "x\n{{ $v := 7 }}\n"),),
        (("t", '{{ define "t" }}{{ end -}} '),), (("t", '{{ define "t" }}{{ include "t" . }}{{ end }}{'),),
    ]
)  # fmt: skip


def told(templates: Templates, text: str) -> object:
    """What rendering gives, with the line of each line, or refuses, with its place."""
    values = {"a": "A\nB", "n": 3, "l": [1, "x\n", None], "m": {"k": "\nm"}}
    try:
        found = templates.render_mapped(text, values, file="f")
    except SpecError as err:
        return err.message, err.where
    return found.text, found.lines


@settings(max_examples=600, deadline=None)
@example(parts=["{", "{"], tails=["a"], shared=())
@given(parts=st.lists(_FRAGMENTS, max_size=9), tails=st.lists(_FRAGMENTS, max_size=2), shared=_SHARED)
def test_texts_with_equal_actions_take_a_short_cut_to_the_same(
    parts: list[str], tails: list[str], shared: tuple[tuple[str, str], ...]
) -> None:
    templates = Templates(shared=shared)
    for text in ("".join(parts), "\n" + "".join(parts), "".join(["b ", *parts, *tails]), "".join(parts)):
        said = told(templates, text)
        is_open = isinstance(said, tuple) and "an action that is not closed" in str(said[0])  # a comment would be in it
        if not is_open and not "".join([*(part for _, part in shared), text]).endswith("{"):
            # a comment leads past the short cut
            assert said == told(Templates(shared=shared), text + "{{/**/}}"), text


def test_lines_are_those_of_the_text_not_of_one_before() -> None:
    templates = Templates()
    for text in ("{{ .Values.x }}\n", "a\n\n{{ .Values.x }}\n{{ .Values.x }}\n", "{{/**/}}\n{{ .Values.x }}"):
        found = templates.render_mapped(text, {"x": 1}, file="f")
        assert found.lines == tuple(range(1, text.count("\n") + 2))


def test_what_specfiles_are_made_of_takes_the_short_cut() -> None:
    shared = Shared((("t", '{{ define "t" }}{{ end }}\n'),))
    text = 'requires:\n- NAME\n{{- if hasKey .Values "a" }}\n- {{ .Values.a | quote }}\n{{- end }}\n'
    first, second = (shared.short_cut(text.replace("NAME", name)) for name in ("a", "{b}\n- c"))
    assert first is not None
    assert second is not None
    assert first[0] is second[0]
    assert shared.short_cut(text + "{{/* c */}}") is None
