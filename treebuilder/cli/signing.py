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
        "--expires", default=None, metavar="TIME", help="how long signatures hold: 30d, 12h, …, never (default: 30d)"
    )
    parser.add_argument(
        "--threshold",
        type=int,
        default=None,
        metavar="N",
        help="how many of the keys clients have to find (default: 1)",
    )


def of(args: argparse.Namespace) -> Signing | None:
    """What the flags say, from now on; None without `--sign`. Raises ConfigError, also for flags that need it."""
    if not args.sign:
        said = [f"--{name}" for name in ("expires", "threshold") if getattr(args, name) is not None]
        if said:
            from treebuilder.errors import ConfigError

            raise ConfigError(f"{' and '.join(said)}: nothing is signed without --sign", hint="--sign KEY")
        return None
    from treebuilder.app import trusting

    return trusting.signing(
        tuple(args.sign),
        "30d" if args.expires is None else args.expires,
        1 if args.threshold is None else args.threshold,
    )


def said(created: Created) -> str:
    """The end of the sentence about a repository."""
    if not created.signed:
        return ""
    from treebuilder.system.clock import utc

    end = utc(created.expires_s, "until %Y-%m-%d %H:%M UTC") if created.expires_s else "without end"
    return f", signed by {', '.join(id[:16] for id in created.signed)} {end}"
