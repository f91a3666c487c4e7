"""Boots an image in a virtual machine, waits for what it should do, and ends it.

examples:
  treebuild boot sampleOS-0.5.0.iso
  treebuild boot sampleOS-0.5.0.iso --firmware uefi --as-disk --http 8090/fortuneteller
  treebuild boot sampleOS-0.5.0.iso --login root:sampleos:root@sampleos
"""

from __future__ import annotations

import argparse
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.cli.session import Session, add_output_flags, duration, positive

if TYPE_CHECKING:
    from treebuilder.vm import BootReport, BootRequest

SCHEMA = "treebuild.boot/1"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE", help="an ISO or a disk image; it is not changed")
    parser.add_argument("--firmware", choices=("bios", "uefi"), default="bios", help="default: bios")
    parser.add_argument("--as-disk", action="store_true", help="attach it as a USB disk instead of a CD")
    parser.add_argument("--memory", type=positive, default=2048, metavar="MB", help="default: 2048")
    parser.add_argument("--expect", default="", metavar="TEXT", help="wait for this on the serial console")
    parser.add_argument("--http", default="", metavar="PORT/PATH", help="wait for an answer of the machine")
    parser.add_argument("--login", default="", metavar="USER:PASSWORD:TEXT", help="log in, and wait for the text")
    parser.add_argument("--timeout", type=duration, default=300.0, metavar="SECONDS", help="default: 300")
    parser.add_argument("--accel", choices=("auto", "kvm", "tcg"), default="auto", help="default: what works")
    add_output_flags(parser, short=False)


def _request(args: argparse.Namespace) -> BootRequest:
    from treebuilder.errors import ConfigError
    from treebuilder.vm import BootRequest

    http = None
    if args.http:
        port, _, path = args.http.lstrip(":").partition("/")
        if not (port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65536):
            raise ConfigError(f"--http {args.http} begins with no port", hint="write --http 8090/path")
        http = (int(port), f"/{path}")
    login = None
    if args.login:
        words = args.login.split(":", 2)
        if len(words) != 3 or not all(words):
            raise ConfigError("--login needs three parts", hint="write --login root:password:text")
        login = (words[0], words[1], words[2])
    return BootRequest(
        Path(args.image), args.firmware, args.as_disk, args.memory, args.expect, http, login, args.timeout, args.accel
    )


def run(args: argparse.Namespace, session: Session) -> int:
    request = _request(args)
    from treebuilder.ui import tables
    from treebuilder.vm import boot

    report = boot(request, events=session.events, cancel=session.cancel)
    session.close()
    value = {
        "schema": SCHEMA, "image": args.image, "firmware": args.firmware, "accel": report.accel,
        "seconds_to_expect": report.seconds_to_expect, "seconds_to_http": report.seconds_to_http,
        "seconds_to_login": report.seconds_to_login, "http_status": report.http_status, "http_body": report.http_body,
        "serial_tail": list(report.serial_tail),
    }  # fmt: skip
    tables.write(value, session.output, _text(args, report))
    return 0


def _text(args: argparse.Namespace, report: BootReport) -> str:
    lines = [f"{args.image}: booted ({args.firmware}, {report.accel})"]
    for seconds, what in (
        (report.seconds_to_expect, args.expect or "login prompt"),
        (report.seconds_to_login, "logged in"),
        (report.seconds_to_http, f"HTTP {report.http_status} from {args.http}"),
    ):
        if seconds is not None:
            lines.append(f"  {seconds:6.1f} s  {what}")
    return "\n".join([*lines, *([report.http_body.rstrip()] if report.http_body else [])])
