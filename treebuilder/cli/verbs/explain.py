"""Says, without building, what a build would do with each package and which input makes it so.

`--versions` says why each package is there in its version; `--why-not category/name@VERSION` why another is not.

examples:
  treebuild explain --tree packages system/sampleOS
  treebuild explain --tree packages --versions app/web
  treebuild explain --tree packages --why-not lib/ssl@3.1 app/web
"""

from __future__ import annotations

import argparse
from pathlib import Path

from treebuilder.cli.session import Session, add_output_flags
from treebuilder.cli.verbs.build import add_deps_flag, add_tree_flags, tree_deps_of, trees_of, values_of


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("packages", nargs="+", metavar="PACKAGE")
    add_tree_flags(parser)
    add_deps_flag(parser)
    parser.add_argument("--destination", default="", metavar="DIR", help="as for build (default: build)")
    parser.add_argument("--versions", action="store_true", help="why these versions")
    parser.add_argument("--why-not", default="", metavar="PACKAGE@VERSION", help="why not this version")
    parser.add_argument("--lock", default="", metavar="FILE", help="the lock (default: treebuild.lock)")
    add_output_flags(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    from treebuilder.app import explaining
    from treebuilder.app.options import BuildOptions
    from treebuilder.app.workspace import lock_path
    from treebuilder.model.words import parse_selector
    from treebuilder.ui import tables

    with session.workspace() as work:
        options = BuildOptions(
            trees_of(args, work.settings), tuple(parse_selector(word) for word in args.packages), False,
            values_of(args, work.settings), Path(args.destination or work.settings.destination or "build"),
            lock_file=lock_path(args.lock), layering=args.layering, dockerfiles=args.dockerfiles,
            tree_deps=tree_deps_of(args, work.settings),
        )  # fmt: skip
        if args.versions or args.why_not:
            said = explaining.versions(options, work, parse_selector(args.why_not) if args.why_not else None)
            session.close()
            tables.write({"schema": "treebuild.versions/1", "reasons": said}, session.output, "\n".join(said))
            return 0
        found = explaining.builds(options, work)
        session.close()
        lines = []
        for node in found:
            lines.append(f"{node['category']}/{node['name']}-{node['version']}: {node['verdict']}")
            lines += [f"  {reason}" for reason in node["reasons"]]
        tables.write({"schema": "treebuild.explain/1", "nodes": found}, session.output, "\n".join(lines))
    return 0
