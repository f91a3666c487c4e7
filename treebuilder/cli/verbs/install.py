"""Installs packages of repositories, and what they require, into a root. What is installed stays as it is.

examples:
  treebuild install --system-target /mnt system/sampleOS
  treebuild install --system-target root --local build app/web@>=1.2
  treebuild install --dry-run --json app/web
"""

from __future__ import annotations

import argparse
from functools import partial

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.cli import changing, outcome
from treebuilder.cli.session import Session
from treebuilder.records import replace

if TYPE_CHECKING:
    from treebuilder.client import AfterChange, ChangeReport


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help="category/name, or category/name@VERSION")
    parser.add_argument("--onlydeps", action="store_true", help="install what the packages require, not them")
    parser.add_argument("--relax", action="store_true", help="as luet: do not upgrade the system first")
    changing.add_change_flags(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    changing.needs_root(session)
    from treebuilder.app.client import InstallWish
    from treebuilder.client.operations import UpgradeRequest
    from treebuilder.errors import TreebuildError
    from treebuilder.events import Warned

    refs = changing.packages_of(args)
    before: ChangeReport | None = None
    first: UpgradeRequest | None = None
    failures: tuple[AfterChange, ...] = ()
    with outcome.shown(args, session), changing.opened(args, session) as client:
        manner = changing.manner_of(args, client.settings)
        if changing.is_luet(args) and not args.relax:
            with client.reading() as database:
                used = bool(database.packages())
            if used:  # as luet does; `treebuild install` leaves everything else alone
                first = UpgradeRequest(force=args.force, over_installed=True)
            if first is not None and not (args.dry_run or args.download_only):
                before, failures = outcome.done(partial(client.upgrade, first, manner))
                first = None
                if session.output == "terminal":
                    changing.show(before, args, session, "")
        wish = InstallWish(
            refs, args.nodeps, args.onlydeps, args.force, changing.is_luet(args), getattr(args, "some", False)
        )
        try:
            report, more = outcome.done(partial(client.install, wish, manner, first))
        except TreebuildError:
            for failure in failures:
                session.events.emit(Warned(failure.message))
            if before is not None and session.output != "terminal":
                changing.show(before, args, session, "")  # it happened, whatever came after it
            raise
        if before is not None and session.output != "terminal":
            report = _together(before, report)
        if failures or more:
            from treebuilder.client.finalize import together

            raise together((*failures, *more), report)
    return changing.show(report, args, session, "No packages to install")


def _together(first: ChangeReport, then: ChangeReport) -> ChangeReport:
    """Two changes, one after the other, as one: a result is one document."""
    if first.state == "nothing":
        return then
    if then.state == "nothing":
        return replace(first, operation=then.operation)
    return replace(
        then, installed=tuple(dict.fromkeys((*first.installed, *then.installed))),
        removed=tuple(sorted({*first.removed, *then.removed}, key=str)),
        adopted=tuple(dict.fromkeys((*first.adopted, *then.adopted))), diverted=(*first.diverted, *then.diverted),
        fetched_bytes=first.fetched_bytes + then.fetched_bytes,
    )  # fmt: skip
