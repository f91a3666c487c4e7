"""Installs packages of repositories, and what they require, into a root. What is installed stays as it is.

examples:
  treebuild install --system-target /mnt system/sampleOS
  treebuild install --system-target root --local build app/web@>=1.2
  treebuild install --dry-run --json app/web
"""

from __future__ import annotations

import argparse

from treebuilder.cli import changing
from treebuilder.cli.session import Session


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("packages", nargs="+", metavar="PACKAGE", help="category/name, or category/name@VERSION")
    parser.add_argument("--onlydeps", action="store_true", help="install what the packages require, not them")
    parser.add_argument("--relax", action="store_true", help="as luet: do not upgrade the system first")
    changing.add_change_flags(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    changing.needs_root(session)
    from treebuilder.app.client import InstallWish
    from treebuilder.client import ChangeReport
    from treebuilder.client.operations import UpgradeRequest

    refs = changing.refs_of(args.packages)
    with changing.opened(args, session) as client:
        manner = changing.manner_of(args, client.settings)
        if changing.is_luet(args) and not args.relax:
            with client.reading() as database:
                used = bool(database.packages())
            if used:  # as luet does; `treebuild install` leaves everything else alone
                changing.show(client.upgrade(UpgradeRequest(force=True), manner), args, session, "")
        wish = InstallWish(refs, args.nodeps, args.onlydeps, args.force, changing.is_luet(args))
        report: ChangeReport = client.install(wish, manner)
    return changing.show(report, args, session, "No packages to install")
