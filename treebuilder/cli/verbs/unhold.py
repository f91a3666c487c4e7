"""Lets held packages be upgraded again.

examples:
  treebuild unhold system/kernel
  treebuild unhold --json system/kernel
"""

from __future__ import annotations

import argparse

from treebuilder.cli import changing
from treebuilder.cli.session import Session, add_output_flags


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("packages", nargs="+", metavar="PACKAGE", help="category/name")
    changing.add_system_flags(parser)
    add_output_flags(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    from treebuilder.ui import tables

    with changing.opened(args, session) as client:
        held = client.hold(changing.refs_of(args.packages), on=False)
    tables.write({"schema": "treebuild.unhold/1", "held": list(held)}, session.output, "\n".join(held))
    return 0
