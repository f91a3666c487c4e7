"""Looks at the system database and changes it, without touching files.

  get-all-installed [--output FILE]   all packages, in luet's form
  get PACKAGE [--files]               one package, in luet's form
  create METADATA...                  record packages from their metadata files
  remove PACKAGE...                   forget packages; their files stay
  import FILE                         take over what luet's get-all-installed or search --installed -o json printed

examples:
  treebuild database get-all-installed --output installed.yaml
  treebuild database get --files app/web
  treebuild database create build/web-app-1.0.metadata.yaml
"""

from __future__ import annotations

import argparse
from pathlib import Path

from treebuilder.cli import changing
from treebuilder.cli.session import Session

_WORDS = ("get-all-installed", "get", "create", "remove", "import")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=_WORDS, help="what to do")
    parser.add_argument("names", nargs="*", metavar="NAME", help="packages or files")
    parser.add_argument("--files", action="store_true", help="list files too")
    parser.add_argument("--output", default="", metavar="FILE", help="write it there instead of printing it")
    changing.add_system_flags(parser)
    parser.add_argument("--json", action="store_true", help="the result as one JSON document on stdout")


def run(args: argparse.Namespace, session: Session) -> int:
    from treebuilder.app import client_database as use
    from treebuilder.errors import ConfigError
    from treebuilder.ui import tables

    if args.what not in ("get-all-installed",) and not args.names:
        raise ConfigError(f"database {args.what} needs a name", reason="arguments")
    with changing.opened(args, session) as client:
        if args.what == "get-all-installed":
            value, text = use.everything(client)
            if args.output:
                from treebuilder.system.files import write_atomic

                write_atomic(Path(args.output), text.encode())
                text = ""
        elif args.what == "get":
            value, text = use.one(client, changing.refs_of(args.names), files=args.files)
        elif args.what == "create":
            value, text = use.create(client, tuple(map(Path, args.names)))
        elif args.what == "remove":
            value, text = use.remove(client, changing.refs_of(args.names))
        else:
            value, text = use.take_over(client, Path(args.names[0]))
    session.close()
    tables.write({"schema": "treebuild.database/1", "packages": value}, session.output, text.rstrip("\n"))
    return 0
