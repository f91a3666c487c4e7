"""Looks at a tree without building: pkglist, validate, images, graph.

examples:
  treebuild tree pkglist --tree packages
  treebuild tree validate --tree packages
  treebuild tree images --tree packages system/sampleOS -o json
  treebuild tree graph --tree packages system/sampleOS | dot -Tsvg > tree.svg
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from treebuilder.cli.session import Session, add_output_flags
from treebuilder.cli.verbs.build import add_tree_flags, trees_of

if TYPE_CHECKING:
    from treebuilder.app.options import BuildOptions
    from treebuilder.app.workspace import Workspace


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("pkglist", "validate", "images", "graph"))
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help="for images and graph (default: all)")
    add_tree_flags(parser)
    parser.add_argument("-b", "--buildtime", action="store_true", help="pkglist: requirements of the build")
    parser.add_argument("-f", "--full", action="store_true", help="pkglist: with versions")
    parser.add_argument("-s", "--with-solver", action="store_true", help="validate: accepted, it always solves")
    parser.add_argument("--lock", default="", metavar="FILE", help="the lock (default: treebuild.lock)")
    add_output_flags(parser)


def _options(args: argparse.Namespace, work: Workspace) -> BuildOptions:
    from pathlib import Path

    from treebuilder.app.options import BuildOptions
    from treebuilder.app.workspace import lock_path
    from treebuilder.model.words import parse_selector

    return BuildOptions(
        trees_of(args, work.settings), tuple(parse_selector(word) for word in args.packages), not args.packages,
        tuple(args.values) or work.settings.values, Path(work.settings.destination or "build"),
        lock_file=lock_path(args.lock), layering=args.layering, dockerfiles=args.dockerfiles,
    )  # fmt: skip


def run(args: argparse.Namespace, session: Session) -> int:
    from treebuilder.app import trees
    from treebuilder.app.building import open_tree
    from treebuilder.ui import tables

    with session.workspace() as work:
        options = _options(args, work)
        if args.what == "validate":
            return _validate(options, work, session)
        value: Any
        if args.what == "pkglist":
            tree = open_tree(options, work, 0, recipes=args.buildtime)
            text = "\n".join(trees.names(tree, full=args.full)) if session.output == "terminal" else ""
            rows = trees.packages(tree, build_time=args.buildtime) if session.output != "terminal" else []
            value = {"schema": "treebuild.pkglist/1", "packages": rows}
        elif args.what == "images":
            found = trees.images(options, work)
            value = {"schema": "treebuild.tree-images/1", "packages": found}
            cells = [
                [f"{p['category']}/{p['name']}", p["version"], p["plan_key"][:16], "hit" if p["cached"] else "build"]
                for p in found
            ]
            text = tables.table(["package", "version", "plan key", "cache"], cells)
        else:
            value = trees.graph(options, work)
            text = trees.to_dot(value)
        session.close()
        tables.write(value, session.output, text)
    return 0


def _validate(options: BuildOptions, work: Workspace, session: Session) -> int:
    from treebuilder.app import validating
    from treebuilder.ui import failures, tables

    count, faults = validating.validate(options, work, validating.Wanted())
    session.close()
    for fault in faults:
        sys.stderr.write(f"{fault.package.id} ({fault.side}): {failures.render(fault.error)}\n")
    value = {
        "schema": "treebuild.validate/1", "packages": count,
        "faults": [{"package": str(f.package.id), "side": f.side, **failures.to_json(f.error)} for f in faults],
    }  # fmt: skip
    tables.write(value, session.output, f"{count} packages, {len(faults)} faults")
    return 2 if faults else 0
