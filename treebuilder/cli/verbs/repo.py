"""Looks at and changes the configured repositories; copies and cleans up those of publishers.

  list                what is configured, and its revision
  get NAME            one of them
  add URL|FILE|NAME   write one to the folder of repository files
  update [NAME...]    fetch what is new of all that are enabled (as luet: enabled and cached)
  copy SRC DST        mirror a repository, every file checked, the index last
  gc REPOSITORY       what no index of a folder or HOST/NAME reaches; --yes deletes it

SRC and DST are HOST/NAME of a registry, a folder, or FILE.tar; SRC may be a URL. A folder to copy to is new, empty, or
holds a repository. Registries of type docker that clients reach without TLS have the address http://HOST/NAME.

examples:
  treebuild repo list
  treebuild repo update --ignore-errors
  treebuild repo add mine --type http --url https://example.org/repository --trust team.pub
  treebuild repo add own --type docker --url registry.example.org/team/os --trust team.pub
  treebuild repo copy registry.example.org/team/os os.tar
  treebuild repo gc build --keep 3 --yes
"""

from __future__ import annotations

import argparse

from treebuilder.annotations import Any
from treebuilder.cli import changing
from treebuilder.cli.session import Session, add_insecure_flag, add_output_flags


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("list", "get", "add", "update", "up", "copy", "gc"), help="what to do")
    parser.add_argument("names", nargs="*", metavar="NAME", help="repositories; copy, gc: where they are")
    parser.add_argument("--enabled", action="store_true", help="list: only what is enabled")
    parser.add_argument(
        "-t", "--type", default="", metavar="TYPE", help="list: only this type; add: disk, http or docker"
    )
    parser.add_argument("--url", action="append", default=[], metavar="URL", help="add: an address; may be repeated")
    parser.add_argument("--description", default="", metavar="TEXT", help="add: what it is")
    parser.add_argument("--reference", default="", metavar="NAME", help="add: a snapshot's index")
    parser.add_argument("-p", "--priority", type=int, default=99, metavar="N", help="add: lower is preferred (99)")
    parser.add_argument(
        "--trust", action="append", default=[], metavar="KEY", help="add: whose signature it needs, or `none`"
    )
    parser.add_argument(
        "--dir",
        default="",
        metavar="DIR",
        help="add: where the file is written: in the root, or relative to here (as luet: in the root)",
    )
    parser.add_argument("--username", default="", metavar="NAME", help="add: who asks for its files")
    parser.add_argument("--passwd", default="", metavar="WORD", help="add: the password; the file is yours alone then")
    parser.add_argument("-f", "--force", action="store_true", help="update: always so; copy: also over what is newer")
    parser.add_argument("-i", "--ignore-errors", action="store_true", help="update: go on after errors")
    parser.add_argument("-y", "--yes", action="store_true", help="ask nothing; gc: delete")
    parser.add_argument("--snapshot", default="", metavar="ID", help="copy: only this snapshot")
    parser.add_argument(
        "--keep", type=_count, default=None, metavar="N", help="gc: the N last snapshots stay (default: all)"
    )
    parser.add_argument(
        "--insecure-registry", action="append", default=[], metavar="HOST[:PORT]",
        help="copy, gc: speak plain HTTP to it",
    )  # fmt: skip
    add_insecure_flag(parser)
    changing.add_system_flags(parser)
    add_output_flags(parser)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of snapshots")
    return int(text)


def run(args: argparse.Namespace, session: Session) -> int:
    if args.what in ("copy", "gc"):
        return _run_on_places(args, session)
    from treebuilder.app import client_repositories as use
    from treebuilder.errors import ConfigError
    from treebuilder.ui import tables, terminal

    if args.insecure_registry:
        raise ConfigError(
            f"repo {args.what} takes no --insecure-registry: an address says what is spoken",
            hint="urls: [http://HOST/NAME] of a repository of type docker",
        )
    if args.what in ("get", "add") and len(args.names) != 1:
        raise ConfigError(f"repo {args.what} takes one name", reason="arguments")
    with changing.opened(args, session) as client:
        if args.what == "list":
            found = use.listed(client, enabled=args.enabled, type=args.type)
            value = [item.to_json() for item in found]
            text = "\n".join(item.repository.name if args.quiet else item.text() for item in found)
        elif args.what == "get":
            item = use.get(client, args.names[0])
            value, text = [item.to_json()], use.yaml(item)
        elif args.what == "add":
            folder = args.dir if not args.dir or not changing.is_luet(args) else f"/{args.dir.lstrip('/')}"
            options = use.NewRepository(
                args.names[0], args.type or "disk", tuple(args.url), args.description, args.reference, args.priority,
                folder, tuple(args.trust), args.username, args.passwd,
            )  # fmt: skip
            if changing.is_luet(args) and not args.yes and not client.settings.flag("yes") and not terminal.agreed():
                terminal.say("Aborted by user")
                return 0
            path = use.add(client, options)
            value, text = [{"name": args.names[0], "file": str(path)}], f"{path} written"
        else:
            done = use.update(client, tuple(args.names), ignore_errors=args.ignore_errors)
            value = [{"name": updated.name, "revision": updated.revision} for updated in done]
            text = "\n".join(updated.text() for updated in done)
    session.close()
    document: dict[str, Any] = {"schema": "treebuild.repo/1", "repositories": value}
    if args.what == "get" and changing.is_luet(args):
        document = value[0]  # luet's users take a key of it
    tables.write(document, session.output, text)
    return 0


def _run_on_places(args: argparse.Namespace, session: Session) -> int:
    """What needs no client: repositories are named by where they are."""
    from treebuilder.app import mirroring
    from treebuilder.errors import ConfigError
    from treebuilder.ui import tables

    wanted = 2 if args.what == "copy" else 1
    if len(args.names) != wanted:
        raise ConfigError("repo copy takes a source and a destination" if wanted == 2 else "repo gc takes one place")
    insecure = tuple(args.insecure_registry)
    with session.workspace() as work:
        if args.what == "copy":
            source, to = args.names
            copied = mirroring.copy(source, to, args.snapshot, insecure, work, force=args.force)
            key, said, text = "copied", copied.to_json(), copied.text()
        else:
            found = mirroring.gc(args.names[0], args.keep, insecure, work, delete=args.yes)
            key, said, text = "collected", found.to_json(), found.text()
    session.close()
    tables.write({"schema": "treebuild.repo/1", "repositories": [], key: said}, session.output, text)
    return 0
