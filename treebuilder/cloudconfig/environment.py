"""The modules `environment` (with `environment_file`): variables merged into a file of KEY="value" lines."""

from __future__ import annotations

import re

from treebuilder.cloudconfig.machine import Machine
from treebuilder.nodes import Node

_DEFAULT = "/etc/environment"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*\Z")
_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)\s*=")


def environment(step: Node, machine: Machine) -> None:
    """Lines of the file that say something else stay where they are; new names follow, sorted. Mode 0644."""
    node = step.get("environment")
    if node is None or not node.entries("environment"):
        return
    file_node = step.get("environment_file")
    file = (
        _DEFAULT
        if file_node is None
        else machine.render(machine.text_of(file_node, "environment_file"), file_node.place)
    )
    with machine.attempt(node.place):
        wanted: dict[str, str] = {}
        for name, value in node.entries("environment"):
            if name in ("true", "false"):  # what YAML makes of a bare `Y:` or `ON:`
                value.fail(
                    "the name of this variable is a word of YAML", hint="write it in quotes", reason="environment"
                )
            if not _NAME.match(name):
                value.fail(f"{name!r} is no name for a variable", reason="environment")
            wanted[name] = machine.render(machine.text_of(value, name), value.place)
        lines: list[str] = []
        for line in machine.root.lines(file):
            found = _LINE.match(line)
            if found is None or found[1] not in wanted:
                lines.append(line)
            else:
                lines.append(f"{found[1]}={quoted(wanted[found[1]])}")
        there = {found[1] for line in lines if (found := _LINE.match(line)) is not None}
        lines += [f"{name}={quoted(wanted[name])}" for name in sorted(wanted) if name not in there]
        machine.root.write_text(file, "".join(f"{line}\n" for line in lines), mode=0o644)


def quoted(value: str) -> str:
    """As a shell, systemd and dotenv readers agree to read it; whole numbers stand bare."""
    if re.fullmatch(r"-?[0-9]+", value):
        return value
    for char in '\\"$`':
        value = value.replace(char, f"\\{char}")
    return '"' + value.replace("\n", "\\n").replace("\r", "\\r") + '"'
