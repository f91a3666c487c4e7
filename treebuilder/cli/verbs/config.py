"""Prints the configuration as it counts: defaults, file, environment and flags together.

examples:
  treebuild config
  treebuild config --json --config .luet.yaml
"""

from __future__ import annotations

import argparse

from treebuilder.cli import changing
from treebuilder.cli.session import Session, add_output_flags


def configure(parser: argparse.ArgumentParser) -> None:
    changing.add_system_flags(parser)
    add_output_flags(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    from treebuilder.ui import tables

    settings = changing.settings_of(args, session)
    value = dict(settings.values)
    value["system"] = dict(settings.value("system")) | {
        "rootfs": str(settings.root.folder), "database_path": settings.root.database_path
    }  # fmt: skip
    if session.output == "terminal":
        from treebuilder.nodes.writing import write_yaml

        tables.write(value, "terminal", write_yaml(value, sort_keys=True).decode().rstrip("\n"))
    else:
        tables.write(value, session.output, "")
    return 0
