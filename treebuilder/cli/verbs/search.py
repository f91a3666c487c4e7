"""Searches packages: a regular expression on category/name-version, on labels, or on files.

examples:
  treebuild search 'system/.*'
  treebuild search --installed --files bin/sh
  treebuild search --by-label-regex 'emerge.packages=.*' --json
"""

from __future__ import annotations

import argparse

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.cli import changing
from treebuilder.cli.session import Session, add_output_flags
from treebuilder.errors import TreebuildError

if TYPE_CHECKING:
    from treebuilder.client.lookup import Found


# In the order in which they count where luet's users name several.
_KINDS = {
    "files": (("--files", "--file"), "the argument is matched with paths of files"),
    "label": (("--by-label",), "it is a label's key"),
    "label-regex": (("--by-label-regex",), "it is matched with key=value of labels"),
    "revdeps": (("--revdeps",), "what needs the packages that match"),
    "deps": (("--deps",), "what the packages that match need"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("patterns", nargs="*", metavar="REGEX", help="what is looked for, one (default: all)")
    parser.add_argument("--installed", action="store_true", help="among what is installed")
    parser.add_argument("--hidden", action="store_true", help="hidden packages too")
    for names, text in _KINDS.values():
        parser.add_argument(*names, action="store_true", help=text)
    parser.add_argument("--table", action="store_true", help="as a table")
    changing.add_system_flags(parser)
    changing.add_source_flags(parser)
    add_output_flags(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    from treebuilder.client.lookup import Search, search_installed, search_repositories
    from treebuilder.ui import tables

    if len(args.patterns) > 1:
        raise TreebuildError(f"search takes one expression, and not {len(args.patterns)}", reason="usage")
    chosen = [kind for kind, (names, _) in _KINDS.items() if getattr(args, names[0][2:].replace("-", "_"))]
    if len(chosen) > 1 and not changing.is_luet(args):
        first, second = (_KINDS[kind][0][0] for kind in chosen[:2])
        raise TreebuildError(f"{first} and {second} are two questions: one can be asked", reason="usage")
    how = chosen[0] if chosen else "name"
    found: tuple[Found, ...]
    with changing.opened(args, session, perhaps_none=True) as client, client.reading() as database:
        # as luet, flags have been weighed against keys of the configuration
        installed = args.installed or (not changing.is_luet(args) and client.settings.flag("installed"))
        search = Search(args.patterns[0] if args.patterns else ".", how, installed, args.hidden)
        if installed:
            found = search_installed(search, database)
        else:
            there = frozenset(package.id for package in database.packages())
            found = search_repositories(search, client.repositories, there)
    session.close()
    value = [item.to_json() for item in found]
    if session.output == "json" and changing.is_luet(args):
        import json

        from treebuilder.ui import terminal

        terminal.say(json.dumps({"packages": value or None}, sort_keys=True, separators=(",", ":")))
        return 0
    tables.write({"packages": value or None}, session.output, _text(found, args))
    return 0


def _text(found: tuple[Found, ...], args: argparse.Namespace) -> str:
    from treebuilder.ui import tables
    from treebuilder.ui.terminal import one_line

    if args.quiet:
        return "\n".join(one_line(item.package.id.human) for item in found)
    if args.table or not changing.is_luet(args):
        rows = [
            [
                i.package.id.human, i.package.id.category, i.package.id.name, i.package.id.version, i.repository,
                i.package.license, "yes" if i.installed else "",
            ] for i in found
        ]  # fmt: skip
        head = ["Package", "Category", "Name", "Version", "Repository", "License", "Installed"]
        return tables.table(head, rows) if rows or not changing.is_luet(args) else ""
    lines: list[str] = []
    for item in found:
        id, package = item.package.id, item.package
        shown = [
            f"> {id.human}", f" -> Category: {id.category}", f" -> Name: {id.name}", f" -> Version: {id.version}",
            f" -> Description: {package.description}", f" -> Repository: {item.repository}",
            f" -> Uri: {' '.join(package.uri)}", f" -> Installed: {'true' if item.installed else 'false'}",
        ]  # fmt: skip
        shown += [f" -> File: {path}" for path in item.files or () if args.files]
        lines += map(one_line, shown)
    return "\n".join(lines)
