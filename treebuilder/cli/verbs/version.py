"""Prints the version.

examples:
  treebuild version
  treebuild version --json
"""

from __future__ import annotations

import argparse

from treebuilder import __version__
from treebuilder.cli.session import Session, add_output_flags


def configure(parser: argparse.ArgumentParser) -> None:
    add_output_flags(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    from treebuilder.ui import tables

    tables.write({"schema": "treebuild.version/1", "version": __version__}, session.output, f"treebuild {__version__}")
    return 0
