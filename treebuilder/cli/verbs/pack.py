"""Packs a folder as a package, without a build: its archive and its metadata, for create-repo.

The definition.yaml here says what the package is.

examples:
  treebuild pack utils/hello@1.0 --source root --destination build
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from treebuilder.cli.session import Session, add_output_flags


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("package", metavar="PACKAGE", help="category/name@VERSION")
    parser.add_argument("--source", default=".", metavar="DIR", help="what is packed (default: this folder)")
    parser.add_argument("--destination", default=".", metavar="DIR", help="where it is written (default: here)")
    parser.add_argument("--definition", default="definition.yaml", metavar="FILE", help="default: definition.yaml")
    parser.add_argument("--compression", choices=("none", "gzip", "zstd"), default="gzip", help="default: gzip")
    add_output_flags(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    from treebuilder.app import repositories
    from treebuilder.app.packing import PackOptions, pack
    from treebuilder.app.workspace import lock_path
    from treebuilder.model.words import parse_selector
    from treebuilder.system import clock
    from treebuilder.ui import tables

    ref = parse_selector(args.package)
    with session.workspace() as work:
        epoch_s = repositories.source_epoch(lock_path(""))
        if getattr(args, "luet", False) and not os.environ.get("SOURCE_DATE_EPOCH"):
            epoch_s = clock.now_epoch_s()  # as luet: a package packed anew is a newer one
        options = PackOptions(
            ref, Path(args.source), Path(args.destination), Path(args.definition), args.compression,
            epoch_s,
        )  # fmt: skip
        made = pack(options, work.store, session.events)
    session.close()
    value = {
        "schema": "treebuild.pack/1", "path": made.path, "sha256": made.sha256.hex, "content": made.content.hex,
        "size": made.size_bytes, "package": {"category": ref.category, "name": ref.name, "version": ref.version},
    }  # fmt: skip
    tables.write(value, session.output, made.path)
    return 0
