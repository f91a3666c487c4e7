"""Removes packages from a root, and their files. What others need is not removed unless that is asked for.

examples:
  treebuild uninstall --system-target /mnt app/web
  treebuild uninstall --full app/web
  treebuild uninstall --dry-run --json app/web
"""

from __future__ import annotations

import argparse

from treebuilder.cli import changing, outcome
from treebuilder.cli.session import Session


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help="category/name, or category/name@VERSION")
    parser.add_argument("--full", action="store_true", help="also what only these packages needed")
    parser.add_argument(
        "--full-clean", action="store_true", help="also what needs these packages, and what only they needed"
    )
    parser.add_argument(
        "--conflictscheck",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="refuse to remove what others need",
    )
    parser.add_argument("-k", "--keep-protected-files", action="store_true", help="leave protected configuration")
    changing.add_change_flags(parser, sources=False)


def run(args: argparse.Namespace, session: Session) -> int:
    changing.needs_root(session)
    from treebuilder.client import ChangeReport
    from treebuilder.client.uninstall import UninstallRequest
    from treebuilder.errors import TreebuildError

    refs = changing.packages_of(args)
    check = args.conflictscheck and not (args.force or args.nodeps)
    request = UninstallRequest(
        refs, check, args.full, args.full_clean, args.keep_protected_files, changing.is_luet(args)
    )
    with changing.opened(args, session) as client, outcome.shown(args, session):
        try:
            report = client.uninstall(request, changing.manner_of(args, client.settings))
        except TreebuildError as err:
            if err.reason != "needed" or not (changing.is_luet(args) and args.full):
                raise
            report = ChangeReport("uninstall", state="nothing")  # what luet makes of it
    return changing.show(report, args, session, "Nothing to do")
