"""Makes bootable ISOs out of specs: hybrid for BIOS and UEFI, for CDs and USB disks, the same bytes every time.

examples:
  treebuild iso iso.yaml --local build
  treebuild iso iso.yaml --local build --output my.iso --json
"""

from __future__ import annotations

import argparse
from pathlib import Path

from treebuilder.cli.session import Session, add_insecure_flag, add_output_flags


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("specs", nargs="+", metavar="SPEC", help="specs of images; each makes one ISO")
    parser.add_argument(
        "-l", "--local", action="append", default=[], metavar="DIR",
        help="a folder with a repository, preferred to those of the spec; may be repeated",
    )  # fmt: skip
    parser.add_argument("-i", "--image", default="", metavar="IMAGE", help="a container image as root file system")
    parser.add_argument("-o", "--output", default="", metavar="FILE", help="the ISO's name (default: the spec's)")
    parser.add_argument("--lock", default="", metavar="FILE", help="the lock (default: treebuild.lock)")
    add_insecure_flag(parser)
    add_output_flags(parser, short=False)


def run(args: argparse.Namespace, session: Session) -> int:
    session.needs_containers()
    from treebuilder.app.images import IsoOptions, make_iso, to_json
    from treebuilder.app.workspace import lock_path
    from treebuilder.errors import ConfigError
    from treebuilder.ui import tables

    if args.output and len(args.specs) > 1:
        raise ConfigError("--output names one file, and several specs make several", hint="leave it out")
    with session.workspace() as work:
        images = [
            make_iso(IsoOptions(Path(spec), tuple(args.local), args.image, args.output, lock_path(args.lock)), work)
            for spec in args.specs
        ]
    session.close()
    rows = [[str(image.path), tables.size(image.size_bytes), image.sha256.hex] for image, _ in images]
    tables.write(to_json(images), session.output, tables.table(["image", "size", "sha256"], rows))
    return 0
