"""Laws of the template language."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from treebuilder.errors import SpecError
from treebuilder.template import Templates
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


@settings(max_examples=60)
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
