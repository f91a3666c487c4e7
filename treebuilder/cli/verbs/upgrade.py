"""Upgrades everything that is installed to the newest versions that fit together. What is held stays.

A package that no repository has any more is exchanged for one that provides its name, or else left alone.

examples:
  treebuild upgrade --system-target /mnt
  treebuild upgrade --sync --clean --oscheck
  treebuild upgrade --dry-run --json
"""

from __future__ import annotations

import argparse

from treebuilder.cli import changing, outcome
from treebuilder.cli.session import Session


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--universe", action="store_true", help="as luet; it is always one decision over everything")
    parser.add_argument(
        "--clean", action="store_true", help="remove what no repository has any more (as luet: with --universe only)"
    )
    parser.add_argument("--sync", action="store_true", help="also what was only built again, at the same version")
    parser.add_argument("--oscheck", action="store_true", help="also what has lost files")
    parser.add_argument("--full", action="store_true", help=argparse.SUPPRESS)
    changing.add_change_flags(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    changing.needs_root(session)
    from treebuilder.client.operations import UpgradeRequest
    from treebuilder.events import Warned

    luet = changing.is_luet(args)
    clean = args.clean and (args.universe or not luet)
    if args.clean and not clean:
        session.events.emit(Warned("--clean has no effect without --universe, as in luet: nothing is removed"))
    with (
        changing.opened(args, session, strict=clean, perhaps_none=not clean) as client,
        outcome.shown(args, session),
    ):
        # luet looks for files in two packages among new ones only
        request = UpgradeRequest(clean, args.sync, args.oscheck, args.force, luet, args.nodeps)
        report = client.upgrade(request, changing.manner_of(args, client.settings))
    return changing.show(report, args, session, "Nothing to upgrade")
