"""Graphs as text: Graphviz's language, Mermaid's, and SVG in layers, drawn here."""

from __future__ import annotations

from collections.abc import Mapping

from treebuilder.annotations import Any

_ROW, _GAP, _LETTER, _PAD = 34, 90, 7.3, 10  # pixels
_HEAD = (
    '<style>text{font:13px sans-serif;fill:#1b2733}rect{fill:#eef4fa;stroke:#4a6b8a;rx:4}'
    "path{fill:none;stroke:#8299ad;stroke-width:1.2}.artifact{stroke-dasharray:5 3}"
    "@media(prefers-color-scheme:dark){text{fill:#dce6ef}rect{fill:#22303d;stroke:#7ea2c2}path{stroke:#5f7a92}}</style>"
)  # fmt: skip


def to_dot(value: Mapping[str, Any]) -> str:
    """The graph in Graphviz's language."""
    lines = ["digraph tree {", "  rankdir=LR; node [shape=box, fontname=sans];"]
    lines += [f'  "{node["id"]}" [label={_quoted(node["package"])}];' for node in value["nodes"]]
    for edge in value["edges"]:
        style = "" if edge["kind"] == "image" else " [style=dashed]"
        lines.append(f'  "{edge["from"]}" -> "{edge["to"]}"{style};')
    return "\n".join([*lines, "}"])


def to_mermaid(value: Mapping[str, Any]) -> str:
    """The graph in Mermaid's language, for pages that draw it."""
    number = {node["id"]: f"n{at}" for at, node in enumerate(value["nodes"])}
    lines = ["flowchart RL"]
    lines += [f'  {number[node["id"]]}["{node["package"].replace(chr(34), "#quot;")}"]' for node in value["nodes"]]
    for edge in value["edges"]:
        lines.append(f"  {number[edge['from']]} {'-->' if edge['kind'] == 'image' else '-.->'} {number[edge['to']]}")
    return "\n".join(lines)


def to_svg(value: Mapping[str, Any]) -> str:
    """The graph as a picture: what stands on nothing at the left, what stands on it further right."""
    below: dict[str, list[tuple[str, str]]] = {node["id"]: [] for node in value["nodes"]}
    for edge in value["edges"]:
        below[edge["from"]].append((edge["to"], edge["kind"]))
    names = {node["id"]: str(node["package"]) for node in value["nodes"]}
    layer: dict[str, int] = {}
    for id in names:  # what a node stands on comes before it
        layer[id] = max((layer[other] + 1 for other, _ in below[id]), default=0)
    columns: list[list[str]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for id, at in layer.items():
        columns[at].append(id)
    y: dict[str, float] = {}
    x: dict[str, float] = {}
    width: dict[str, float] = {id: _LETTER * len(name) + 2 * _PAD for id, name in names.items()}
    left = float(_PAD)
    for column in columns:
        # near to what it stands on, so that lines are short and cross little
        ordered = sorted((sum(y[o] for o, _ in below[id]) / (len(below[id]) or 1), names[id], id) for id in column)
        for row, (_, _, id) in enumerate(ordered):
            x[id], y[id] = left, _PAD + row * _ROW
        left += max(width[id] for id in column) + _GAP
    height = max((len(column) for column in columns), default=0) * _ROW + 2 * _PAD
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {max(left - _GAP, 0) + _PAD:.0f} {height}">{_HEAD}']
    for id, others in below.items():
        for other, kind in others:
            x1, y1, x2, y2 = x[other] + width[other], y[other] + 12, x[id], y[id] + 12
            bend = (x2 - x1) / 2
            line = f"M{x1:.0f} {y1:.0f}C{x1 + bend:.0f} {y1:.0f} {x2 - bend:.0f} {y2:.0f} {x2:.0f} {y2:.0f}"
            parts.append(f'<path class="{kind}" d="{line}"/>')
    for id, name in names.items():
        text = name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        parts.append(f'<rect x="{x[id]:.0f}" y="{y[id]:.0f}" width="{width[id]:.0f}" height="24"/>')
        parts.append(f'<text x="{x[id] + _PAD:.0f}" y="{y[id] + 16:.0f}">{text}</text>')
    return "\n".join([*parts, "</svg>"])


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
