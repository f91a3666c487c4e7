"""Checks that the files of installed packages are there, and brings them back when asked.

examples:
  treebuild oscheck --system-target /mnt
  treebuild oscheck --reinstall
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from treebuilder.cli import changing, outcome
from treebuilder.cli.session import Session


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reinstall", action="store_true", help="install what has lost files again")
    parser.add_argument("--onlydeps", action="store_true", help=argparse.SUPPRESS)
    changing.add_change_flags(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    if args.reinstall:
        changing.needs_root(session)
    from treebuilder.ui import tables

    with changing.opened(args, session) as client, outcome.shown(args, session):
        hurt = client.oscheck()
        missing = [{"package": name, "files": list(files)} for name, files in hurt.items()]
        if not hurt or not args.reinstall or session.output == "terminal":
            tables.write({"schema": "treebuild.oscheck/1", "missing": missing}, session.output, _text(hurt, args))
        if hurt and args.reinstall:
            nodeps = args.nodeps or changing.is_luet(args)
            report = client.repair(changing.manner_of(args, client.settings), nodeps=nodeps)
            changing.show(report, args, session, "")
    return 0


def _text(hurt: Mapping[str, tuple[str, ...]], args: argparse.Namespace) -> str:
    if args.quiet:
        return " ".join(hurt)
    if not hurt:
        return "All good!"
    lines = [f"- {name}: {', '.join(files[:3])}{' …' if len(files) > 3 else ''}" for name, files in hurt.items()]
    return "\n".join(["Following packages are missing files or are incomplete:", *lines])
