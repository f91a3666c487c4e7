"""Looks at the build cache and cleans it.

examples:
  treebuild cache list
  treebuild cache gc --older-than 30 --dry-run
  treebuild cache verify
"""

from __future__ import annotations

import argparse

from treebuilder.cli.session import Session, add_output_flags, duration


def _days(text: str) -> float:
    return 0.0 if text == "0" else duration(text)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("list", "gc", "verify"))
    parser.add_argument("--older-than", type=_days, default=30.0, metavar="DAYS", help="gc: not used for so long (30)")
    parser.add_argument("--dry-run", action="store_true", help="gc: only say what would go")
    add_output_flags(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    from treebuilder.app import caching, config_files
    from treebuilder.ui import tables

    config_files.existing_cache(args.cache_dir)
    if args.what != "list":
        session.needs_owners()  # layers hold files that only their owners may read
    with session.workspace() as work:
        if args.what == "verify":
            good, damaged = caching.verify(work.store, work.events)
            value = {"schema": "treebuild.cache-verify/1", "good": good, "damaged": [str(d) for d in damaged]}
            session.close()
            tables.write(value, session.output, f"{good} good, {len(damaged)} damaged and removed")
            return 2 if damaged else 0
        if args.what == "gc":
            found = caching.collect(work.store, older_than_s=int(args.older_than * 86400), dry_run=args.dry_run)
        else:
            found = caching.listing(work.store)
        session.close()
        total = sum(kept.size_bytes for kept in found)
        value = {
            "schema": f"treebuild.cache-{args.what}/1", "size": total,
            "entries": [
                {"kind": k.kind, "digest": str(k.digest), "size": k.size_bytes, "packages": list(k.names)}
                for k in found
            ],
        }  # fmt: skip
        rows = [[k.kind, k.digest.hex[:16], tables.size(k.size_bytes), " ".join(k.names[:3])] for k in found]
        word = {"list": "kept", "gc": "would go" if args.dry_run else "removed"}[args.what]
        text = tables.table(["kind", "digest", "size", "of"], rows)
        tables.write(value, session.output, f"{text}\n{tables.size(total)} {word}".strip())
    return 0
