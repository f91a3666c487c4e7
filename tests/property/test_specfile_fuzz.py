"""Whatever a tree holds: verbs answer, or say file and line in one error with exit code 2; never a traceback.

A case that does not end within minutes fails as a whole: specfiles are small, and what they may cost is bounded.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.property.fuzzing import examples
from treebuilder.cli.main import main
from treebuilder.errors import SpecError
from treebuilder.model.version import compare, fault
from treebuilder.model.words import parse_selector

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(1800)]

GOOD = {
    "definition.yaml": 'category: "a"\nname: "one"\nversion: "1.0"\n'
    'requires:\n- {category: a, name: two, version: ">=1"}\n'
    'provides:\n- {category: v, name: any, version: "1"}\nlabels:\n  x: "y"\nuri: [u]\n',
    "build.yaml": "image: base\nenv: [A=b]\nprelude:\n- echo {{ .Values.name | quote }}\nsteps:\n"
    '{{ range $i, $v := list 1 2 }}- echo {{ $i }} {{ $v }}\n{{ end }}includes: ["/usr(/|$)"]\nexcludes: [^/var]\n'
    "copy:\n- image: other\n  source: /a\n  destination: /b\nretrieve: [x]\nunpack: true\n",
    "collection.yaml": "packages:\n- &p {category: a, name: two, version: '1'}\n"
    "- {<<: *p, name: three, version: 2.0-r1+5}\n",
    "finalize.yaml": "shell: [/bin/sh, -c]\ninstall:\n- echo {{ .Values.version }}\nuninstall: []\n",
}
FILE_FAULTS = ("yaml", "template", "wrong-type", "selector", "version", "missing-key")
PIECES = (
    "{{", "}}", "{{ end }}", "{{ range .Values }}", "{{ if }}", "{{ template \"x\" . }}", "{{ .Values.a.b.c }}",
    '{{ define "x" }}{{ template "x" }}{{ end }}{{ template "x" }}', '{{ repeat 100000000 "xy" }}',
    "{{ until 99999999 }}",
    '{{ regexMatch "(a+)+$" "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!" }}', "{{ index .Values 5 }}", "{{ fail \"no\" }}",
    "{{ 1 | div 0 }}", "{{/* x", "{{- \"\\u00ff\" -}}", "{{ $x }}", "{{ printf \"%1000000000d\" 1 }}",
    "{{ b64dec \"/w==\" }}",
    "&x [*x]", "*none", "<<: 5", "<<: [*p, *p]", "!!binary x", "!!python/object:os.system {}", "!!timestamp x", "? ",
    "- ", ": ", "\t", "|+\n", ">-\n ", "---\n", "...\n", "%YAML 3.0\n", "\0", "\ufeff", "\x85", "\u2028", "#", "'", '"',
    "[", "]", "{", "}", "[" * 300, "{a: " * 60, "1e999", "0x", "0o14", "010", "1_000", ".inf", "~", "null", "yes",
    "2020-01-01",
    '">=1 <1"', '"=="', '"~1.x"', '"1' + "0" * 3000 + '"', "requires: 5\n", "requires: [{}]\n", "steps: {a: b}\n",
    "name: {}\n", "version: []\n", "image: 5\n", "includes: ['(']\n", "env: [5]\n", "join: x\n", "packages: {}\n",
    "category: ../../x\n", "name: \"a b\"\n", "requires_final_images: 7\n", "package_dir: ../..\n",
)  # fmt: skip
EDIT = st.tuples(
    st.floats(0, 1, exclude_max=True), st.integers(0, 12),
    st.one_of(st.sampled_from(PIECES), st.text(st.characters(codec="utf-8"), max_size=6)),
)  # fmt: skip


def edited(text: str, edits: list[tuple[float, int, str]]) -> str:
    """Each edit puts a piece over so many letters at a place."""
    for place, length, piece in edits:
        at = int(place * (len(text) + 1))
        text = text[:at] + piece + text[at + length :]
    return text


def answered(*words: str) -> tuple[int, Any, str]:
    """Exit code, document and messages of a verb in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([*words, "--json", "-q"])
    return code, json.loads(out.getvalue()), err.getvalue()


def judge(code: int, value: Any, said: str, folder: Path) -> None:
    assert code in (0, 1, 2), said
    assert "Traceback" not in said
    errors = [value["error"]] if "error" in value else value.get("faults", [])
    assert errors or value.get("findings") or code < 2, value
    for error in errors:
        assert error["reason"] != "bug"
        assert error["message"]
        if error["reason"] in FILE_FAULTS:
            assert error["where"]["file"].startswith(str(folder)), error
            assert error["where"]["line"] >= 1, error


@examples(120)
@given(st.dictionaries(st.sampled_from(sorted(GOOD)), st.lists(EDIT, max_size=3), min_size=1), st.booleans())
def test_any_tree_is_read_or_refused_with_its_place(edits: dict[str, list[tuple[float, int, str]]], both: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        package = folder / "tree/one"
        package.mkdir(parents=True)
        (folder / "tree/two").mkdir()
        for file, text in GOOD.items():
            if file == "collection.yaml":
                text, target = edited(text, edits.get(file, [])), folder / "tree/two" / file
            else:
                text, target = edited(text, edits.get(file, [])), package / file
            target.write_bytes(text.encode("utf-8", "surrogatepass"))
        words = ["--tree", str(folder / "tree"), "--cache-dir", str(folder / "cache")]
        for verb in (["validate", "-s"], ["pkglist", "--deps"], ["lint"]) if both else (["validate", "--plan"],):
            code, value, said = answered("tree", *verb, *words)
            judge(code, value, said, folder)


@examples(200)
@given(st.one_of(st.text(max_size=40), st.lists(st.sampled_from([
    "a", "/", "b", "@", ">=", "<", "1", ".", "-", "r", "+", "_", "~", " ", "=", "!", "||", "*", "x", "0" * 40, "\n",
    "é",
]), max_size=10).map("".join)))  # fmt: skip
def test_any_selector_and_version_is_one_or_refused(text: str) -> None:
    with contextlib.suppress(SpecError):
        assert parse_selector(text).name
    if fault(text) is None:
        assert compare(text, text) == 0
        assert compare(text, "1.0") == -compare("1.0", text)
