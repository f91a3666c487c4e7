"""Records packages of repositories whose files are in the root already, without touching them.

examples:
  treebuild reclaim --system-target /mnt
  treebuild reclaim --dry-run --json
"""

from __future__ import annotations

import argparse

from treebuilder.cli import changing, outcome
from treebuilder.cli.session import Session


def configure(parser: argparse.ArgumentParser) -> None:
    changing.add_change_flags(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    changing.needs_root(session)
    args.yes = True  # nothing is touched, so luet does not ask
    with changing.opened(args, session) as client, outcome.shown(args, session):
        report = client.reclaim(changing.manner_of(args, client.settings))
    return changing.show(report, args, session, "Nothing to do")
