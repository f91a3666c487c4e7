"""Composes a repository from built packages: repository.yaml, tree, recipes and meta, in luet's forms.

examples:
  treebuild create-repo --tree packages --packages build --output build --name sampleOS
  treebuild create-repo --tree packages --packages build --output build --name x --type http --urls https://example.org
  treebuild create-repo --tree packages --packages build --output build --name x --sign team.key --expires 30d
  treebuild create-repo --tree packages --packages build --type docker --output 127.0.0.1:5000/os --push-images
"""

from __future__ import annotations

import argparse
from pathlib import Path

from treebuilder.annotations import Any
from treebuilder.cli import changing, signing
from treebuilder.cli.session import Session, add_insecure_flag, add_output_flags
from treebuilder.cli.verbs.build import add_tree_flags, trees_of

_COMPRESSIONS = ("none", "gzip", "zstd")


def configure(parser: argparse.ArgumentParser) -> None:
    add_tree_flags(parser)
    parser.add_argument("--packages", default="", metavar="DIR", help="where built packages are (default: build)")
    parser.add_argument(
        "--output", default="", metavar="WHERE",
        help="the repository's folder (default: build); for type docker HOST/NAME",
    )  # fmt: skip
    parser.add_argument("--name", default="luet", help="the repository's name (default: luet)")
    parser.add_argument("--descr", default="", help="its description (default: luet)")
    parser.add_argument("--urls", action="append", default=[], metavar="URL", help="its addresses; may be repeated")
    parser.add_argument("--type", default="disk", help="disk, http or docker (default: disk)")
    parser.add_argument("--tree-compression", choices=_COMPRESSIONS, default="gzip", help="default: gzip")
    parser.add_argument("--tree-filename", default="tree.tar", metavar="NAME", help="default: tree.tar")
    parser.add_argument("--meta-compression", choices=_COMPRESSIONS, default="none", help="default: none")
    parser.add_argument("--meta-filename", default="repository.meta.yaml.tar", metavar="NAME")
    parser.add_argument("--reset-revision", action="store_true", help="begin again at revision 1")
    parser.add_argument("--snapshot-id", default="", metavar="ID", help="write ID-repository.yaml and its files too")
    parser.add_argument("--from-metadata", action="store_true", help="take in packages that no tree has")
    parser.add_argument(
        "--from-repositories", action="store_true", help="definitions of the configured repositories count too"
    )
    parser.add_argument(
        "--prune", type=_count, metavar="N", default=None,
        help="then delete the packages that neither this repository nor its last N snapshots name",
    )  # fmt: skip
    parser.add_argument(
        "--delta-from", type=_count, metavar="N", default=0,
        help="then make patches from the packages of the last N states: clients download what changed",
    )  # fmt: skip
    signing.add_flags(parser)
    parser.add_argument(
        "--repo", default="", metavar="NAME", help="name, description, type and addresses of a configured one"
    )
    parser.add_argument("--lock", default="", metavar="FILE", help="the lock (default: treebuild.lock)")
    add_insecure_flag(parser)
    parser.add_argument("--backend", default="", metavar="NAME", help=argparse.SUPPRESS)
    parser.add_argument("--push-images", action="store_true", help="type docker: send it to the registry")
    parser.add_argument("--force-push", action="store_true", help="type docker: send packages that are there, too")
    parser.add_argument(
        "--insecure-registry", action="append", default=[], metavar="HOST[:PORT]", help="speak plain HTTP to it"
    )
    add_output_flags(parser, short=False)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of snapshots")
    return int(text)


def _urls(given: list[str]) -> tuple[str, ...]:
    return tuple(url for item in given for url in item.split(",") if url)


def _take_configured(args: argparse.Namespace) -> None:
    """`--repo`: what the configuration says counts where the command line says nothing. Raises ConfigError."""
    if not args.repo:
        return
    from treebuilder.app import client_settings
    from treebuilder.errors import ConfigError
    from treebuilder.events import Silent

    flags: dict[str, Any] = getattr(args, "overrides", {})
    # Others say what is wrong with the file.
    known = client_settings.load(args.config, flags, Silent(), luet=changing.is_luet(args)).repositories
    found = next((found for found in known if found.name == args.repo), None)
    if found is None:
        raise ConfigError(f"no repository {args.repo} is configured", reason="no-repository")
    args.name = found.name
    args.descr = args.descr or found.description
    args.type = found.type if args.type == "disk" else args.type
    args.urls = args.urls or list(found.urls)


def _judge(args: argparse.Namespace, session: Session) -> None:
    """Says what has no effect. Raises ConfigError for what cannot be meant."""
    from treebuilder.errors import ConfigError
    from treebuilder.events import Warned

    said: list[str] = []
    if not args.name.strip() or not args.name.isprintable():
        raise ConfigError(
            f"{args.name!r} is no name for a repository: clients must be able to show it", reason="repository-name"
        )
    if args.type == "docker":
        if not args.output:
            raise ConfigError(
                "type docker is published to a registry", hint="--output HOST/NAME", reason="repository-type"
            )
        if args.prune is not None:
            raise ConfigError("--prune is for folders: nothing of a registry is deleted here")
        if args.backend:
            said.append("--backend has no effect: images are made without an engine")
        if not args.push_images:
            said.append("nothing is sent to the registry: that is what --push-images does")
    else:
        flags = ("backend", args.backend), ("force-push", args.force_push), ("push-images", args.push_images)
        said += [
            f"--{flag} has no effect: a repository of type {args.type} has no images" for flag, on in flags if on
        ]  # fmt: skip
    for message in said:
        session.events.emit(Warned(message))


def run(args: argparse.Namespace, session: Session) -> int:
    if args.from_repositories:
        session.needs_owners()  # what comes from outside is unpacked with its owners
    from treebuilder.app import repositories
    from treebuilder.app.options import BuildOptions
    from treebuilder.app.plugin_builds import ToldTransfers, told
    from treebuilder.app.publishing import PublishOptions
    from treebuilder.app.workspace import lock_path
    from treebuilder.plan.lock import FIRST_EPOCH_S
    from treebuilder.repository import CreateOptions
    from treebuilder.ui import tables
    from treebuilder.ui.failures import counted

    with session.workspace() as work:
        lock = lock_path(args.lock)
        folder = work.settings.destination or "build"
        output = args.output or folder
        _take_configured(args)
        _judge(args, session)
        epoch_s = repositories.source_epoch(lock)
        luet = bool(getattr(args, "luet", False))
        options = CreateOptions(
            args.name, args.descr or "luet", Path(args.packages or folder), _urls(args.urls), args.type,
            args.tree_compression, args.tree_filename, args.meta_compression, args.meta_filename,
            args.reset_revision, args.snapshot_id, args.from_metadata,
            FIRST_EPOCH_S if luet else epoch_s, epoch_s, always=luet,
        )  # fmt: skip
        trees = BuildOptions(
            trees_of(args, work.settings), values=tuple(args.values) or work.settings.values, lock_file=lock,
            layering=args.layering, dockerfiles=args.dockerfiles,
        )  # fmt: skip
        plugins = changing.plugins_of(args, session)
        watcher = ToldTransfers(plugins) if plugins is not None else None
        publish = PublishOptions(args.push_images, args.force_push, tuple(args.insecure_registry), watcher)
        deltas = None
        if args.delta_from and (args.type != "docker" or args.push_images):
            from treebuilder.app.deltas import before

            deltas = before(options, output, publish, args.delta_from, work)
        repo = {"name": args.name, "description": options.description, "urls": list(options.urls), "type": args.type}
        with told(plugins, "repository build", {"Repo": repo, "Path": output}):
            report = repositories.create(
                options, trees, output, work, from_repositories=args.from_repositories, signing=signing.of(args),
                publish=publish,
            )  # fmt: skip
        patches = deltas.make(work) if deltas is not None else 0
        if args.prune is not None:
            report = repositories.pruned(report, options, args.prune, work)
    session.close()
    state = "" if report.created.changed else " (unchanged)"
    count = len(report.created.packages)
    text = f"{output}: {args.name}, revision {report.created.index.revision}{state}, {counted(count, 'package')}"
    if report.removed:
        text += f", {counted(len(report.removed), 'file')} deleted"
    if args.type == "docker":
        text += f", {report.pushed} sent"
    if deltas is not None:
        text += f", {patches} patches"
    text += signing.said(report.created)
    tables.write(report.to_json(), session.output, text)
    return 0
