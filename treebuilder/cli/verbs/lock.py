"""Resolves everything a build takes from outside (images, URLs, Debian packages, the epoch) and writes the lock.

examples:
  treebuild lock --tree packages
  treebuild lock --tree packages --update
  treebuild lock --tree packages --update debian/bookworm/minbase
"""

from __future__ import annotations

import argparse
from pathlib import Path

from treebuilder.cli.session import Session, add_output_flags
from treebuilder.cli.verbs.build import (
    add_deps_flag,
    add_registry_flag,
    add_tree_flags,
    tree_deps_of,
    trees_of,
    values_of,
)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help="what to lock for (default: the whole tree)")
    add_tree_flags(parser)
    add_deps_flag(parser)
    parser.add_argument("--lock", default="", metavar="FILE", help="the lock (default: treebuild.lock)")
    parser.add_argument(
        "--update", nargs="?", const="", metavar="NAME", help="ask anew, for all or for what begins with NAME"
    )
    parser.add_argument("--locked", action="store_true", help="change nothing; fail when something is missing")
    add_registry_flag(parser)
    add_output_flags(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    from treebuilder.app import locking
    from treebuilder.app.options import BuildOptions
    from treebuilder.app.workspace import lock_path
    from treebuilder.model.words import parse_selector
    from treebuilder.ui import tables

    with session.workspace() as work:
        options = BuildOptions(
            trees_of(args, work.settings), tuple(parse_selector(word) for word in args.packages),
            not args.packages, values_of(args, work.settings), Path("build"),
            lock_file=lock_path(args.lock), locked=args.locked, layering=args.layering, dockerfiles=args.dockerfiles,
            insecure_registries=tuple(args.insecure_registry), tree_deps=tree_deps_of(args, work.settings),
        )  # fmt: skip
        lock = locking.lock(options, work, args.update)
        session.close()
        value = {
            "schema": "treebuild.lock/1", "file": str(options.lock_file), "epoch": lock.epoch_s,
            "images": {ref: str(digest) for ref, digest in lock.images.items()},
            "urls": {url: str(digest) for url, digest in lock.urls.items()},
            "bootstraps": {key: len(found.packages) for key, found in lock.bootstraps.items()},
        }  # fmt: skip
        rows = [["epoch", str(lock.epoch_s)]]
        rows += [[key, f"{len(found.packages)} packages"] for key, found in sorted(lock.bootstraps.items())]
        rows += [[name, str(digest)] for name, digest in sorted({**lock.images, **lock.urls}.items())]
        tables.write(value, session.output, tables.table(["what", "locked to"], rows))
    return 0
