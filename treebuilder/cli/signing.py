"""The flags that sign what is published."""

from __future__ import annotations

import argparse

from treebuilder.annotations import TYPE_CHECKING

if TYPE_CHECKING:
    from treebuilder.repository import Created
    from treebuilder.trust.index import Signing


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sign", action="append", default=[], metavar="KEY",
        help="sign the repository, and its images; repeated while keys change, or where several must agree",
    )  # fmt: skip
    parser.add_argument(
        "--expires", default="30d", metavar="TIME", help="how long signatures hold: 30d, 12h, …, never (default: 30d)"
    )
    parser.add_argument(
        "--threshold", type=int, default=1, metavar="N", help="how many of the keys clients have to find (default: 1)"
    )


def of(args: argparse.Namespace) -> Signing | None:
    """What the flags say, from now on; None without `--sign`. Raises ConfigError."""
    if not args.sign:
        return None
    from treebuilder.app import trusting

    return trusting.signing(tuple(args.sign), args.expires, args.threshold)


def said(created: Created) -> str:
    """The end of the sentence about a repository."""
    if not created.signed:
        return ""
    from treebuilder.system.clock import utc

    end = utc(created.expires_s, "until %Y-%m-%d %H:%M UTC") if created.expires_s else "without end"
    return f", signed by {', '.join(id[:16] for id in created.signed)} {end}"
