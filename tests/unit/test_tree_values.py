"""Values of trees: what their files say, what files of values add, and the types that templates see."""
# ruff: noqa: E501 - a case stands on one line

from __future__ import annotations

import json
from pathlib import Path

from tests.unit.test_tree_loading import Write, definition, load, one, steps, write

__all__ = ["write"]  # a fixture


def test_values_files_override_deeply_and_the_rightmost_wins(tmp_path: Path, write: Write) -> None:
    root = write(
        {
            "x/definition.yaml": definition("x", more="fips: true\nnum: 10\nlist: [1, 2]\nm: {a: {b: 1, c: 2}, d: 3}\n"),
            "x/build.yaml": "steps:\n- '{{ .Values.fips }} {{ .Values.num }} {{ .Values.list }} {{ .Values.m }} {{ .Values.name }} {{ eq .Values.num 7 }}'\n",
        }
    )  # fmt: skip
    first, second = tmp_path / "1.yaml", tmp_path / "2.yaml"
    first.write_text("fips: false\nlist: []\nnum: 5\nm: {a: {b: 9}}\nname: other\n")
    second.write_text("num: 7\n")
    found = one(load(root, values_files=[first, second]))
    assert steps(found) == ["false 7 [] map[a:map[b:9 c:2] d:3] other true"]
    assert found.package.id.name == "x"
    assert json.loads(found.values)["m"] == {"a": {"b": 9, "c": 2}, "d": 3}
    assert found.values.startswith('{"category":"app","fips":false,"list":[]')
    swapped = one(load(root, values_files=[second, first]))
    assert steps(swapped)[0].startswith("false 5 ")


def test_values_keep_gos_types(write: Write) -> None:
    root = write(
        {
            "d/definition.yaml": definition("d", more="num: 2000000\nf: 1.5\n"),
            "d/build.yaml": 'steps: ["{{ .Values.num }} {{ kindOf .Values.num }} {{ kindOf .Values.f }}"]',
            "c/collection.yaml": "packages: [{name: c, category: app, version: '1', num: 2000000, b: true, l: [1]}]",
            "c/build.yaml": 'steps: ["{{ .Values.num }} {{ kindOf .Values.num }} {{ .Values.b }} {{ .Values.l }}"]',
        }
    )
    collection, single = load(root).packages
    assert steps(single) == ["2000000 int float64"]
    assert steps(collection) == ["2e+06 float64 true [1]"]


def test_keys_of_nested_maps_are_what_yaml_says(write: Write) -> None:
    build = 'steps: ["{{ range $k, $v := .Values.m }}{{ $k }}={{ kindOf $k }} {{ end }}{{ index .Values.m `80` }}"]\n'
    root = write(
        {
            "a/definition.yaml": "{name: a, category: app, version: '1', m: {80: x, 9: y}}",
            "a/build.yaml": build,
            "b/definition.yaml": "{name: b, category: app, version: '1', m: {'80': x, '9': y}}",
            "b/build.yaml": build,
            "c/collection.yaml": "packages: [{name: c, category: app, version: '1', m: {80: x, 9: y}}]",
            "c/build.yaml": build,
        }
    )
    one, two, three = load(root).packages
    assert steps(one) == ["9=int 80=int x"]
    assert steps(two) == steps(three) == ["80=string 9=string x"]
    assert one.values != two.values
