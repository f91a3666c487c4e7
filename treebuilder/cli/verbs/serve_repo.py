"""Serves a folder with a repository over HTTP, to be read by clients of type http.

It listens on this machine alone unless an address says otherwise. Ctrl-C stops it; `--quiet` prints no line for each
request.

examples:
  treebuild serve-repo --dir build
  treebuild serve-repo --dir build --address 0.0.0.0 --port 8080
"""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from pathlib import Path

from treebuilder.cli.session import Session, add_output_flags

_LAST_PORT = 65535


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dir", default=".", metavar="DIR", help="the folder (default: this one)")
    parser.add_argument("--address", default="", metavar="HOST", help="default: 127.0.0.1; as luet 0.0.0.0")
    parser.add_argument("--port", type=_port, default=9090, metavar="N", help="default: 9090; 0 takes a free one")
    add_output_flags(parser)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:6]) <= _LAST_PORT):
        raise argparse.ArgumentTypeError(f"{text!r} is no port")
    return int(text)


def run(args: argparse.Namespace, session: Session) -> int:
    from treebuilder.app.serving import serve_folder
    from treebuilder.ui import tables, terminal

    def ready(address: str) -> None:
        value = {"schema": "treebuild.serve/1", "address": address, "url": f"http://{address}", "folder": args.dir}
        tables.write(value, session.output, f"serving {args.dir} on http://{address}")
        sys.stdout.flush()

    def log(line: str) -> None:
        if not args.quiet:
            terminal.say(line, sys.stderr)

    host = args.address or ("0.0.0.0" if getattr(args, "luet", False) else "127.0.0.1")  # noqa: S104 - as luet
    with suppress(KeyboardInterrupt):  # that is how it is stopped
        serve_folder(Path(args.dir), host, args.port, ready, log, session.cancel)
    return 0
