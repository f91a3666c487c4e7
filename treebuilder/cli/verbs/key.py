"""Makes and shows the keys that sign repositories and images, and verifies images in a registry.

  new FILE           a private key in FILE, which only you can read, and its public part in FILE.pub
  show FILE          what is public of a key: its id, its type, and the text that clients need
  verify REFERENCE   whether one of the keys signed an image: its `.sig` tag, and the bundles that refer to it

ECDSA P-256 is what `cosign import-key-pair --key FILE` and `cosign verify --key FILE.pub` take too; Ed25519 signs the
indexes of repositories only. `verify` ends with 2 when there is no signature, or none that is right.

examples:
  treebuild key new team.key
  treebuild key show team.key.pub --json
  treebuild key new index.key --type ed25519
  treebuild key verify --key team.key.pub 127.0.0.1:5000/os:repository.yaml
  treebuild key verify --key old.pub --key new.pub registry.example.org/os/images:web-app-1.0 --json
"""

from __future__ import annotations

import argparse

from treebuilder.cli.session import Session, add_output_flags


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("new", "show", "verify"), help="what to do")
    parser.add_argument("file", metavar="FILE|REFERENCE", help="a key in PEM; for verify HOST/NAME:TAG or @DIGEST")
    parser.add_argument(
        "--key", action="append", default=[], metavar="FILE", help="verify: who may have signed; may be repeated"
    )
    parser.add_argument(
        "--insecure-registry", action="append", default=[], metavar="HOST[:PORT]", help="speak plain HTTP to it"
    )
    parser.add_argument(
        "--type", choices=("ecdsa-p256", "ed25519"), default="ecdsa-p256", help="of a new key (default: ecdsa-p256)"
    )
    add_output_flags(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    from treebuilder.app import trusting
    from treebuilder.errors import ConfigError
    from treebuilder.ui import tables

    if args.what == "verify":
        return _verify(args, session)
    if args.key:
        raise ConfigError("--key is for verify", hint="treebuild key verify --key FILE REFERENCE")
    report = trusting.new_key(args.file, args.type) if args.what == "new" else trusting.show_key(args.file)
    session.close()
    rows = [["key", report.file], ["type", report.key.type], ["id", report.key.id]]
    if report.public_file:
        rows.append(["public", report.public_file])
    text = "\n".join(f"{name:<7} {value}" for name, value in rows)
    tables.write(report.to_json(), session.output, f"{text}\n{report.key.pem.decode().rstrip()}")
    return 0


def _verify(args: argparse.Namespace, session: Session) -> int:
    from treebuilder.app import trusting
    from treebuilder.ui import tables

    report = trusting.verify_image(args.file, tuple(args.key), tuple(args.insecure_registry), session.cancel)
    session.close()
    rows = [[each.form, ", ".join(id[:16] for id in each.signers) or each.fault] for each in report.signatures]
    text = f"{args.file} is {report.image}\n{tables.table(['signature', 'signed by'], rows)}"
    tables.write(report.to_json(), session.output, text)
    return 0
