"""Serves a folder as an OCI registry: docker, podman, skopeo, oras and treebuild push to it and pull from it.

The folder is an OCI layout; without `--tls-cert` the connection is not encrypted, so it listens on this machine alone
unless an address says otherwise. A folder that holds other things is refused. Ctrl-C stops it;
`--quiet` prints no line for each request.

While it serves, blobs that no manifest mentions are deleted an hour after their last use, and uploads that were broken
off after a day; manifests stay until somebody deletes them, with tags or without: older snapshots of a repository need
what these name. `gc` does the same once, while nobody serves. A layout that others made is taken in when it starts, and
its index.json written anew when it stops.

examples:
  treebuild registry serve registry
  treebuild registry serve registry --address 0.0.0.0:5000 --tls-cert cert.pem --tls-key key.pem --users users
  treebuild registry gc registry
  printf 'me:%s\\n' "$(openssl passwd -6)" > users
"""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from pathlib import Path

from treebuilder.cli.session import Session, add_output_flags


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("serve", "gc"))
    parser.add_argument("folder", metavar="DIR", help="where the registry's content is; made if it is not there")
    parser.add_argument("--address", default="127.0.0.1:5000", metavar="HOST:PORT", help="default: 127.0.0.1:5000")
    parser.add_argument("--tls-cert", metavar="FILE", help="a certificate (chain) in PEM")
    parser.add_argument("--tls-key", metavar="FILE", help="its key, if it is not in the same file")
    parser.add_argument("--users", metavar="FILE", help="who may come in: lines NAME:$6$SALT$HASH")
    add_output_flags(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    from treebuilder.app.serving import ServeOptions, collect, serve
    from treebuilder.ui import tables, terminal

    def path(name: str | None) -> Path | None:
        return Path(name) if name else None

    def ready(address: str) -> None:
        scheme = "https" if args.tls_cert else "http"
        value = {"schema": "treebuild.registry/1", "address": address, "url": f"{scheme}://{address}"}
        tables.write(value, session.output, f"serving {args.folder} on {scheme}://{address}")
        sys.stdout.flush()

    def log(line: str) -> None:
        if not args.quiet:
            terminal.say(line, sys.stderr)

    if args.what == "gc":
        freed = collect(Path(args.folder))
        said = f"{freed.blobs} unused blobs and {freed.uploads} uploads deleted, {freed.size_bytes} bytes freed"
        value = {
            "schema": "treebuild.registry-gc/1", "blobs": freed.blobs,
            "uploads": freed.uploads, "freed_bytes": freed.size_bytes,
        }  # fmt: skip
        tables.write(value, session.output, said)
        return 0
    options = ServeOptions(Path(args.folder), args.address, path(args.tls_cert), path(args.tls_key), path(args.users))
    with suppress(KeyboardInterrupt):  # that is how it is stopped
        serve(options, ready, log, session.cancel)
    return 0
