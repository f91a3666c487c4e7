"""Exchanges installed packages for others, in one step.

examples:
  treebuild replace app/old --for app/new
  treebuild replace app/old --for app/new@>=2.0 --for lib/new
"""

from __future__ import annotations

import argparse

from treebuilder.cli import changing, outcome
from treebuilder.cli.session import Session


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("packages", nargs="+", metavar="PACKAGE", help="installed packages that go")
    parser.add_argument(
        "--for", dest="others", action="append", default=[], metavar="PACKAGE", help="what comes; may be repeated"
    )
    parser.add_argument("--onlydeps", action="store_true", help="install what the new packages require, not them")
    changing.add_change_flags(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    changing.needs_root(session)
    from treebuilder.app.client import InstallWish
    from treebuilder.errors import ConfigError

    if not args.others and not changing.is_luet(args):
        raise ConfigError("nothing is named that comes instead", hint="--for PACKAGE; uninstall removes without that")
    refs = changing.refs_of(args.packages)
    others = changing.refs_of([word for item in args.others for word in item.split(",")])
    as_luet = changing.is_luet(args)
    wish = InstallWish(others, args.nodeps, args.onlydeps, args.force, as_luet)
    with changing.opened(args, session) as client, outcome.shown(args, session):
        manner = changing.manner_of(args, client.settings)
        report = client.replace(refs, wish, manner, check=not (args.nodeps or args.force or as_luet))
    return changing.show(report, args, session, "Nothing to do")
