"""Installs packages again as they are, with all their files.

examples:
  treebuild reinstall app/web
  treebuild reinstall --installed
"""

from __future__ import annotations

import argparse

from treebuilder.cli import changing, outcome
from treebuilder.cli.session import Session


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help="installed packages")
    parser.add_argument("--installed", action="store_true", help="everything that is installed")
    parser.add_argument("--onlydeps", action="store_true", help=argparse.SUPPRESS)
    changing.add_change_flags(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    from treebuilder.errors import ConfigError

    if not args.packages and not args.installed:
        raise ConfigError("no package is named", hint="name packages, or --installed")
    changing.needs_root(session)
    refs = () if args.installed else changing.refs_of(args.packages)
    with changing.opened(args, session) as client, outcome.shown(args, session):
        manner = changing.manner_of(args, client.settings)
        as_luet = changing.is_luet(args)
        nodeps = args.nodeps or as_luet
        report = client.reinstall(refs, manner, force=args.force, nodeps=nodeps, over_installed=as_luet)
    return changing.show(report, args, session, "Nothing to do")
