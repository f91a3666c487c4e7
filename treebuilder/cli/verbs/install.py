"""Installs packages of repositories, and what they require, into a root.

examples:
  treebuild install --system-target /mnt system/sampleOS
  treebuild install --system-target root --local build app/web@>=1.2
"""

from __future__ import annotations

import argparse
from pathlib import Path

from treebuilder.cli.session import Session, add_output_flags


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("packages", nargs="+", metavar="PACKAGE", help="category/name, or category/name@VERSION")
    parser.add_argument("--system-target", required=True, metavar="DIR", help="the root to install into")
    parser.add_argument(
        "-l", "--local", action="append", default=[], metavar="DIR",
        help="a folder with a repository, preferred to the configured ones; may be repeated",
    )  # fmt: skip
    parser.add_argument("--nodeps", action="store_true", help="install only what is named")
    parser.add_argument("-y", "--yes", action="store_true", help="accepted: nothing is asked")
    add_output_flags(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    session.needs_containers()
    from treebuilder.app.installing import InstallOptions, install
    from treebuilder.model.words import parse_selector
    from treebuilder.ui import tables

    refs = tuple(parse_selector(word) for word in args.packages)
    options = InstallOptions(refs, Path(args.system_target), tuple(args.local), args.nodeps)
    with session.workspace() as work:
        report = install(options, work)
    session.close()
    rows = [[id.pkgname, id.version, where, str(files)] for id, where, files in report.installed]
    text = tables.table(["package", "version", "repository", "files"], rows) if rows else "nothing to install"
    tables.write(report.to_json(), session.output, text)
    return 0
