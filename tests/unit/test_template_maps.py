"""Maps whose keys are no texts, and what else YAML says that is not as it is written."""

from __future__ import annotations

import pytest

from treebuilder.errors import SpecError
from treebuilder.nodes import Key, load
from treebuilder.template import Templates

PORTS = """\
ports: {80: http, 443: https, true: yes, 0x10: hex, "8": text}
"""


def render(text: str) -> str:
    return Templates().render(text, load(PORTS, "values").plain(keys=True), file="f")


def test_a_range_gives_keys_as_numbers_in_their_order() -> None:
    text = "{{ range $port, $name := .Values.ports }}{{ $port }}={{ kindOf $port }} {{ end }}"
    assert render(text) == "true=bool 16=int 80=int 443=int 8=string "


def test_keys_are_found_as_what_they_are_and_as_texts() -> None:
    text = '{{ index .Values.ports 80 }}|{{ get .Values.ports "443" }}|{{ hasKey .Values.ports "80" }}'
    assert render(text) == "http|https|true"
    assert render('{{ index .Values.ports "8" }}{{ index .Values.ports 81 }}{{ index .Values.ports 16 }}') == (
        "text<no value>hex"
    )
    assert render("{{ keys .Values.ports | join `,` }}") == "16,443,8,80,true"


def test_maps_are_written_with_their_keys() -> None:
    assert render("{{ toYaml .Values.ports }}") == 'true: true\n16: hex\n80: http\n443: https\n"8": text'
    assert render("{{ toJson .Values.ports }}") == '{"16":"hex","443":"https","8":"text","80":"http","true":true}'


def test_keys_are_texts_to_all_others() -> None:
    node = load(PORTS, "values")
    assert all(type(key) is str for key in node.plain()["ports"])
    keys = node.plain(keys=True)["ports"]
    assert [key.value for key in keys if isinstance(key, Key)] == [80, 443, True, 16]
    assert keys == node.plain()["ports"]


def test_the_last_of_equal_keys_says_what_it_is() -> None:
    assert not any(isinstance(key, Key) for key in load('m: {80: a, "80": b}', "f").plain(keys=True)["m"])
    merged = load("m: {<<: {1: a, 2: b}, 3: c}", "f").plain(keys=True)["m"]
    assert {key.value for key in merged} == {1, 2, 3}


def test_binary_is_decoded() -> None:
    assert load("a: !!binary aGVs\nb: !!binary |\n  aGVs\n  bG8=", "f").plain() == {"a": "hel", "b": "hello"}
    with pytest.raises(SpecError, match="invalid base64"):
        load("b: 1\na: !!binary '??'", "f")
