"""Says which snapshot of a repository a fleet of devices is to run, and how fast it gets there.

  publish NAME           the channel names a snapshot
  promote NAME OTHER     the channel OTHER names what NAME names
  rollout NAME           change who is offered the version
  halt NAME              nobody is offered it any more
  show NAME              what is published
  watch NAME             count the results that devices post, and halt at the limit

examples:
  treebuild channel publish stable --repository build --snapshot 7 --package system/sampleOS --steps 1@0h,10@6h,100@1d
  treebuild channel promote candidate stable --repository build --percentage 5 --critical
  treebuild channel rollout stable --repository build --percentage 50
  treebuild channel halt stable --repository build --sign team.key --reason "does not find its disk"
  treebuild channel show stable --repository build --json
  treebuild channel watch stable --repository build --sign team.key --listen :8080 --results stable.results
  treebuild channel promote candidate stable --type docker --repository registry.example.org/team/os --sign team.key
"""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.cli.session import Session, add_output_flags

if TYPE_CHECKING:
    from treebuilder.app.workspace import Workspace
    from treebuilder.channel.places import Place
    from treebuilder.channel.publishing import Terms
    from treebuilder.channel.rules import Channel


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("publish", "promote", "rollout", "halt", "show", "watch"), help="what to do")
    parser.add_argument("names", nargs="+", metavar="NAME", help="channels")
    parser.add_argument(
        "--repository", default="build", metavar="WHERE",
        help="the repository's folder (default: build); for type docker HOST/NAME, for type http its address",
    )  # fmt: skip
    parser.add_argument(
        "--type", choices=("disk", "docker", "http"), default="disk",
        help="disk, docker, or http, which can only be shown (default: disk)",
    )  # fmt: skip
    parser.add_argument(
        "--insecure-registry", action="append", default=[], metavar="HOST[:PORT]", help="speak plain HTTP to it"
    )
    parser.add_argument(
        "--snapshot", default="", metavar="ID", help="publish: what create-repo --snapshot-id was given"
    )
    parser.add_argument("--package", default="", metavar="NAME", help="publish: the operating system: category/name")
    parser.add_argument("--version", default="", metavar="VERSION", help="publish: of it (default: the newest there)")
    parser.add_argument("--percentage", default=None, metavar="N", help="how much of the fleet is offered it now")
    parser.add_argument("--steps", default=None, metavar="STEPS", help="how that grows: 1@0h,10@6h,100@1d")
    parser.add_argument("--minimum-version", default=None, metavar="VERSION", help="older devices are not offered it")
    parser.add_argument("--not-before", default=None, metavar="TIME", help="2026-12-24T18:00Z, or +6h")
    parser.add_argument("--expires", default=None, metavar="SPAN", help="how long devices believe this (90d)")
    critical = parser.add_mutually_exclusive_group()
    critical.add_argument("--critical", action="store_true", default=None, help="wait for no maintenance window")
    critical.add_argument("--not-critical", dest="critical", action="store_false", help="wait for one")
    parser.add_argument("--report-url", default=None, metavar="URL", help="where devices post results")
    parser.add_argument("--halt-at", default=None, metavar="LIMIT", help="too many failures: 5:2%% of all results")
    parser.add_argument("--resume", action="store_true", help="rollout: go on after a halt")
    parser.add_argument("--reason", default="by hand", metavar="TEXT", help="halt: why")
    parser.add_argument("--sign", action="append", default=[], metavar="KEY", help="sign the channel; may be repeated")
    parser.add_argument("--trust", action="append", default=[], metavar="KEY", help="a public key that is believed too")
    parser.add_argument("--listen", default=":9091", metavar="ADDRESS", help="watch: HOST:PORT (127.0.0.1:9091)")
    parser.add_argument("--results", default="", metavar="FILE", help="watch: keep the counted results here")
    add_output_flags(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    from treebuilder.app import channels
    from treebuilder.channel.places import Place
    from treebuilder.errors import ConfigError

    wanted = 2 if args.what == "promote" else 1
    if len(args.names) != wanted:
        raise ConfigError(f"channel {args.what} takes {'two names' if wanted == 2 else 'one name'}")
    terms = _terms(args)
    if args.trust and not args.sign and args.what != "show":
        raise ConfigError(f"channel {args.what} writes, and a channel that is signed needs --sign")
    seal = channels.seal_of(tuple(args.sign), tuple(args.trust))
    place = Place(args.type, args.repository, seal, tuple(args.insecure_registry))
    with session.workspace() as work:
        if args.what == "watch":
            return _watch(args, session, work, place)
        found = _done(args, work, place, terms)
        session.close()
    _tell(place, found, session.output)
    return 0


def _done(args: argparse.Namespace, work: Workspace, place: Place, terms: Terms) -> Channel:
    from treebuilder.app import channels
    from treebuilder.channel.publishing import Terms
    from treebuilder.errors import ConfigError

    name = args.names[0]
    match args.what:
        case "publish":
            if not args.snapshot or not args.package:
                raise ConfigError("channel publish needs --snapshot and --package")
            return channels.publish(
                work, place, name, channels.Chosen(args.snapshot, args.package, args.version), terms
            )
        case "promote":
            return channels.promote(work, place, name, args.names[1], terms)
        case "rollout":
            if terms == Terms() and not args.resume:
                raise ConfigError("channel rollout needs to be told what changes", hint="for example --percentage 50")
            return channels.roll_out(work, place, name, terms, resume=args.resume)
        case "halt":
            return channels.halt(work, place, name, args.reason)
        case _:
            return channels.show(work, place, name)


def _watch(args: argparse.Namespace, session: Session, work: Workspace, place: Place) -> int:
    from treebuilder.app import watching
    from treebuilder.app.serving import parse_address
    from treebuilder.serve.server import Listening
    from treebuilder.ui import tables, terminal

    name = args.names[0]

    def ready(address: str) -> None:
        value = {"schema": "treebuild.channel-watch/1", "channel": name, "address": address, "url": f"http://{address}"}
        tables.write(value, session.output, f"counting the results of {name} on http://{address}")

    def log(line: str) -> None:
        if not args.quiet:
            terminal.say(line, sys.stderr)

    host, port = parse_address(args.listen)
    results = Path(args.results) if args.results else None
    with suppress(KeyboardInterrupt):  # that is how it is stopped
        watching.watch(work, place, name, results, Listening(host, port, log=log, headers={}), ready)
    return 0


def _terms(args: argparse.Namespace) -> Terms:
    from treebuilder.app import channels
    from treebuilder.channel.publishing import Terms
    from treebuilder.system import clock

    return Terms(
        None if args.percentage is None else channels.parse_share(args.percentage),
        None if args.steps is None else channels.parse_steps(args.steps), args.minimum_version,
        None if args.not_before is None else channels.parse_time(args.not_before, clock.now_epoch_s()),
        None if args.expires is None else channels.parse_span(args.expires), args.critical, args.report_url,
        None if args.halt_at is None else channels.parse_limit(args.halt_at),
    )  # fmt: skip


def _tell(place: Place, found: Channel, output: str) -> None:
    from treebuilder.app import channels
    from treebuilder.channel.document import channel_json, percentage
    from treebuilder.channel.rules import share_at
    from treebuilder.system import clock
    from treebuilder.ui import tables

    now = clock.now_epoch_s()
    share = 0 if found.halted else share_at(found, now)
    said = channels.warnings(place, found, now)
    value = {
        "schema": channels.SCHEMA, "channel": channel_json(found), "percentage_now": percentage(share),
        "warnings": list(said),
    }  # fmt: skip

    def at(epoch_s: int) -> str:
        return clock.utc(epoch_s, "%Y-%m-%d %H:%M UTC")

    rows = [
        ["channel", f"{found.name}, revision {found.revision}"], ["names", f"{found.package}@{found.version}"],
        ["snapshot", f"{found.snapshot} ({found.index})"], ["offered to", f"{percentage(share)} % of the fleet now"],
    ]  # fmt: skip
    rows += [["", f"{percentage(step.share)} % from {at(step.at_epoch_s)}"] for step in found.steps]
    rows += [["minimum version", found.minimum_version]] if found.minimum_version else []
    rows += [["not before", at(found.not_before_epoch_s)]] if found.not_before_epoch_s else []
    rows += [["critical", "yes"]] if found.critical else []
    rows += [["halted", found.halt_reason or "yes"]] if found.halted else []
    rows += [["believed until", at(found.expires_epoch_s)]]
    rows += [["note", text] for text in said]
    tables.write(value, output, tables.table(["what", "is"], rows))
