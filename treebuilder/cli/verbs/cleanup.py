"""Deletes packages that were fetched; the next command fetches them again. What describes cached repositories stays.

examples:
  treebuild cleanup
  treebuild cleanup --json
"""

from __future__ import annotations

import argparse

from treebuilder.cli import changing
from treebuilder.cli.session import Session, add_output_flags


def configure(parser: argparse.ArgumentParser) -> None:
    changing.add_system_flags(parser)
    add_output_flags(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    from treebuilder.app.client_cleanup import cleanup
    from treebuilder.ui import tables

    settings = changing.settings_of(args, session)
    folder, count = cleanup(settings, args.cache_dir, luet=changing.is_luet(args))
    value = {"schema": "treebuild.cleanup/1", "files": count, "folder": str(folder)}
    tables.write(value, session.output, f"Cleaned: {count} files from {folder}")
    return 0
