"""Removes packages that nobody asked for and nothing needs any more.

examples:
  treebuild autoremove --dry-run
  treebuild autoremove --system-target /mnt
"""

from __future__ import annotations

import argparse

from treebuilder.cli import changing, outcome
from treebuilder.cli.session import Session


def configure(parser: argparse.ArgumentParser) -> None:
    changing.add_change_flags(parser, sources=False)


def run(args: argparse.Namespace, session: Session) -> int:
    changing.needs_root(session)
    with changing.opened(args, session) as client, outcome.shown(args, session):
        report = client.autoremove(changing.manner_of(args, client.settings))
    return changing.show(report, args, session, "Nothing to do")
