"""Results as tables for people and as JSON or YAML for programs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from treebuilder.annotations import Any
from treebuilder.ui.terminal import one_line, say


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of text, as wide as they need to be; numbers (right-aligned) are recognised by their look."""
    if not rows:
        return ""
    rows = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    numeric = [all(_is_number(row[i]) for row in rows) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = [
            f"{cell:>{width}}" if right else f"{cell:<{width}}"
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        return "  ".join(cells).rstrip()

    return "\n".join([line(head), *(line(row) for row in rows)])


def _is_number(cell: str) -> bool:
    return bool(cell) and cell[0].isdigit() and cell.replace(".", "").split(" ")[0].isdigit()


def size(count: int) -> str:
    """A count of bytes for people: 1023 B, 1.5 MiB."""
    if count < 1024:
        return f"{count} B"
    value = float(count)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        value /= 1024
        if value < 1024 or unit == "TiB":
            break
    return f"{value:.1f} {unit}"


def write(value: Mapping[str, Any] | Sequence[Any], output: str, text: str) -> None:
    """Prints a result on stdout: `output` is terminal, json or yaml."""
    if output == "json":
        import json

        sys.stdout.write(json.dumps(value, sort_keys=True, separators=(",", ":")) + "\n")  # as Go writes it
    elif output == "yaml":
        import yaml

        sys.stdout.write(yaml.safe_dump(value, sort_keys=True, default_flow_style=False) + "\n")
    elif text:
        say(text)
    sys.stdout.flush()
