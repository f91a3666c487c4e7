"""Tools for images, without an engine.

  unpack IMAGE DIR          lay an image's files into a folder; IMAGE: a reference, oci:FOLDER or file://ARCHIVE
  pack IMAGE SRC DST        wrap a tar as an image of one layer that `docker load` takes
  image-exist IMAGE         ends with 0 when a registry has the image, else with 1

examples:
  treebuild util unpack localhost:5000/base:1.0 rootfs
  treebuild util pack mine:1.0 files.tar image.tar
  treebuild util image-exist localhost:5000/base:1.0
"""

from __future__ import annotations

import argparse
from pathlib import Path

from treebuilder.cli import changing
from treebuilder.cli.session import Session

_AUTH = (
    ("username", "NAME", "unpack: who comes into the registry (default: as Docker's and podman's logins say)"),
    ("password", "TEXT", "unpack: the password"),
    ("identity-token", "TOKEN", "unpack: a token that gets others"),
    ("registry-token", "TOKEN", "unpack: a token that goes with every request"),
)
_WORDS = {"unpack": 2, "pack": 3, "image-exist": 1}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=tuple(_WORDS), help="what to do")
    parser.add_argument("words", nargs="*", metavar="WORD", help="image, folder or files")
    parser.add_argument("--arch", default="", metavar="NAME", help="pack: the architecture (default: ours)")
    parser.add_argument("--os", default="linux", metavar="NAME", help="pack: the system (default: linux)")
    changing.add_owner_flag(parser)
    parser.add_argument(
        "--insecure-registry", action="append", default=[], metavar="HOST[:PORT]", help="speak plain HTTP to it"
    )
    parser.add_argument(
        "--platform", default="", metavar="OS/ARCH", help="unpack: of an image for several (default: ours)"
    )
    parser.add_argument("--local", dest="from_engine", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--verify", action="store_true", help=argparse.SUPPRESS)
    for name, kind, text in _AUTH:
        parser.add_argument(f"--auth-{name}", default="", metavar=kind, help=text)
    for name in ("type", "server-address"):
        parser.add_argument(f"--auth-{name}", default="", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="the result as one JSON document on stdout")


def run(args: argparse.Namespace, session: Session) -> int:
    from treebuilder.app import client_images as use
    from treebuilder.errors import ConfigError
    from treebuilder.oci.platform import Platform, architecture, parse_platform
    from treebuilder.ui import tables

    if len(args.words) != _WORDS[args.what]:
        raise ConfigError(f"util {args.what} takes {_WORDS[args.what]} words", reason="arguments")
    value: dict[str, object] = {"schema": "treebuild.util/1", "image": args.words[0]}
    if args.what == "image-exist":
        there = use.exists(args.words[0], session.events, session.cancel, tuple(args.insecure_registry))
        tables.write(
            value | {"exists": there}, session.output, "the image exists" if there else "there is no such image"
        )
        return 0 if there else 1
    if args.what == "pack":
        from treebuilder.oci.reference import parse_reference

        parse_reference(args.words[0])  # what it refuses, nobody could load
        platform = Platform(args.arch or architecture(), args.os)
        bound = changing.settings_of(args, session).bound
        use.pack(args.words[0], Path(args.words[1]), Path(args.words[2]), platform, bound)
        tables.write(value | {"file": args.words[2]}, session.output, f"{args.words[2]} written")
        return 0
    platform = parse_platform(args.platform)
    given = {name.replace("-", ""): str(getattr(args, f"auth_{name.replace('-', '_')}")) for name, _, _ in _AUTH}
    access = use.Access(tuple(args.insecure_registry), platform, tuple(given.items()))
    session.needs_owners()
    from treebuilder.app.plugin_builds import told

    with changing.opened(args, session) as client:
        plugins = changing.plugins_of(args, session)
        with told(plugins, "image unpack", {"Image": args.words[0], "Dest": args.words[1]}):
            count = use.unpack(
                args.words[0], Path(args.words[1]), client.store, session.events, session.cancel,
                access, own=client.settings.root.same_owner,
            )  # fmt: skip
    session.close()
    tables.write(value | {"entries": count}, session.output, f"{count} entries in {args.words[1]}")
    return 0
