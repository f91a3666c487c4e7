"""Makes and shows the keys that sign repositories and images.

  new FILE    a private key in FILE, which only you can read, and its public part in FILE.pub
  show FILE   what is public of a key: its id, its type, and the text that clients need

ECDSA P-256 is what `cosign import-key-pair --key FILE` and `cosign verify --key FILE.pub` take too; Ed25519 signs the
indexes of repositories only.

examples:
  treebuild key new team.key
  treebuild key show team.key.pub --json
  treebuild key new index.key --type ed25519
"""

from __future__ import annotations

import argparse

from treebuilder.cli.session import Session, add_output_flags


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("new", "show"), help="what to do")
    parser.add_argument("file", metavar="FILE", help="a key in PEM")
    parser.add_argument(
        "--type", choices=("ecdsa-p256", "ed25519"), default="ecdsa-p256", help="of a new key (default: ecdsa-p256)"
    )
    add_output_flags(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    from treebuilder.app import trusting
    from treebuilder.ui import tables

    report = trusting.new_key(args.file, args.type) if args.what == "new" else trusting.show_key(args.file)
    session.close()
    rows = [["key", report.file], ["type", report.key.type], ["id", report.key.id]]
    if report.public_file:
        rows.append(["public", report.public_file])
    text = "\n".join(f"{name:<7} {value}" for name, value in rows)
    tables.write(report.to_json(), session.output, f"{text}\n{report.key.pem.decode().rstrip()}")
    return 0
