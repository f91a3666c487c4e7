"""Runs a command in a root, in namespaces of its own: other user ids work, and there is no network.

The command reads the standard input.

examples:
  treebuild box exec --rootfs root --entrypoint /bin/id
  treebuild box exec --rootfs root --entrypoint /bin/ls --env PATH=/bin --mount /srv:/mnt -- /mnt
"""

from __future__ import annotations

import argparse

from treebuilder.cli import changing
from treebuilder.cli.session import Session


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("exec",), help="what to do")
    parser.add_argument("words", nargs="*", metavar="WORD", help="arguments of the entry point, after `--`")
    parser.add_argument("--rootfs", default=".", metavar="DIR", help="the root (default: here)")
    parser.add_argument("--entrypoint", default="/bin/sh", metavar="FILE", help="what runs (default: /bin/sh)")
    parser.add_argument(
        "-e", "--env", action="append", default=[], metavar="K=V", help="its environment; may be repeated"
    )
    parser.add_argument("-m", "--mount", action="append", default=[], metavar="SRC[:DST]", help="bind it there too")
    parser.add_argument("--decode", action="store_true", help="the arguments are base64, each by itself")
    for name in ("stdin", "stdout", "stderr"):
        parser.add_argument(f"--{name}", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="output and status as one JSON document on stdout")


def run(args: argparse.Namespace, session: Session) -> int:
    session.needs_owners()
    import base64
    import sys

    from treebuilder.app.client_images import Box, run_box
    from treebuilder.errors import ConfigError
    from treebuilder.ui import tables

    words = args.words
    if args.decode:
        try:
            words = [base64.b64decode(word, validate=True).decode() for word in words]
        except ValueError as err:
            raise ConfigError(f"an argument is no base64: {err}") from err
    said: list[bytes] = []

    def out(data: bytes) -> None:
        if args.json:
            said.append(data)
        else:
            sys.stdout.buffer.write(data)
            sys.stdout.flush()

    box = Box(changing.local_path(args.rootfs), (args.entrypoint, *words), tuple(args.env), tuple(args.mount))
    status = run_box(box, out, session.cancel)
    if args.json:
        text = b"".join(said).decode("utf-8", "replace")
        tables.write({"schema": "treebuild.box/1", "status": status, "output": text}, "json", "")
    return status
