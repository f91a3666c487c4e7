"""Builds packages of a tree into a folder: `NAME-CATEGORY-VERSION.package.tar.zst` and its metadata.

examples:
  treebuild build --tree packages system/sampleOS
  treebuild build --tree packages --all --destination build --json
  treebuild build --tree packages --tree overlay --values values.yaml app/web@>=1.2
  treebuild build --tree mine --tree-deps upstream --all
  treebuild build --tree packages app/web --pretend -o json
  treebuild build --tree packages app/web --push-final-images --image-repository 127.0.0.1:5000/os --sign team.key
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING, Any
from treebuilder.cli import changing, luetflags
from treebuilder.cli.session import Session, add_insecure_flag, add_output_flags, duration

if TYPE_CHECKING:
    from treebuilder.app.finalimages import FinalImages
    from treebuilder.app.options import BuildOptions
    from treebuilder.app.plugins import Plugins
    from treebuilder.app.settings import Settings
    from treebuilder.app.workspace import Workspace
    from treebuilder.build.report import BuildReport
    from treebuilder.errors import TreebuildError


def add_tree_flags(parser: argparse.ArgumentParser) -> None:
    """Flags that name trees and values, for every verb that reads them."""
    parser.add_argument(
        "-t", "--tree", action="append", default=[], metavar="DIR", help="a tree of specfiles; may be repeated"
    )
    parser.add_argument("--values", action="append", default=[], metavar="FILE", help="template values (the last wins)")
    parser.add_argument("--dockerfiles", action="store_true", help="folders with a Dockerfile are packages too")
    parser.add_argument(
        "--layering", choices=("chain", "merge"), default="chain", help="what a package is built on (default: chain)"
    )


def add_deps_flag(parser: argparse.ArgumentParser) -> None:
    """The flag of every verb that reads a tree as a build does."""
    parser.add_argument(
        "--tree-deps", action="append", default=[], metavar="DIR",
        help="a tree whose packages are built on but are no targets; may be repeated",
    )  # fmt: skip


def add_registry_flag(parser: argparse.ArgumentParser) -> None:
    """The flag of every verb that may ask a registry."""
    parser.add_argument(
        "--insecure-registry", action="append", default=[], metavar="HOST[:PORT]", help="speak plain HTTP to it"
    )


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help="category/name, or category/name@VERSION")
    add_tree_flags(parser)
    parser.add_argument("--destination", default="", metavar="DIR", help="where packages are written (default: build)")
    parser.add_argument("--all", action="store_true", help="every package of the tree")
    parser.add_argument("--full", action="store_true", help="every package that no other is built on")
    parser.add_argument("--revdeps", action="store_true", help="also every package that is built on a target")
    add_deps_flag(parser)
    parser.add_argument("--engine", "--backend", default="native", help="native or docker (default: native)")
    parser.add_argument("--compression", choices=("none", "gzip", "zstd"), default="zstd", help="of packages")
    parser.add_argument("--only-target-package", action="store_true", help="pack only what is named")
    parser.add_argument("--nodeps", action="store_true", help="take what the packages stand on from the cache, or fail")
    parser.add_argument("--onlydeps", action="store_true", help="build what the packages stand on, not them")
    parser.add_argument("--pretend", action="store_true", help="print what the targets stand on, build nothing")
    parser.add_argument("--rebuild", action="store_true", help="build again what the cache has, and compare")
    parser.add_argument("--lock", default="", metavar="FILE", help="the lock (default: treebuild.lock)")
    parser.add_argument("--locked", action="store_true", help="fail when the lock is incomplete")
    parser.add_argument("--step-timeout", type=duration, metavar="SECONDS", help="a time limit for each step")
    parser.add_argument("--keep-failed", action="store_true", help="keep a failed root, and say how to enter it")
    parser.add_argument("--keep-failed-in", metavar="DIR", help="where (default: failed); means --keep-failed too")
    parser.add_argument("--from-repositories", action="store_true", help="take recipes of configured repositories too")
    add_insecure_flag(parser)
    parser.add_argument("--image-repository", default="", metavar="HOST/NAME", help="where the cache is shared")
    parser.add_argument("--pull", action="store_true", help="take from there what others have built")
    parser.add_argument("--wait", action="store_true", help="with --pull: wait for what targets stand on")
    parser.add_argument("--wait-limit", type=duration, metavar="SECONDS", help="for how long in all (default: 3600)")
    parser.add_argument("--push", action="store_true", help="put there what is built here")
    parser.add_argument("--push-final-images", action="store_true", help="push each package as an image that runs")
    parser.add_argument(
        "--generate-final-images", action="store_true",
        help="the same into the folder final-images of the destination, an OCI layout",
    )  # fmt: skip
    parser.add_argument(
        "--push-final-images-repository", default="", metavar="HOST/NAME", help="where to (default: --image-repository)"
    )
    parser.add_argument("--push-final-images-force", action="store_true", help="replace what a tag leads to")
    parser.add_argument(
        "--sign",
        action="append",
        default=[],
        metavar="KEY",
        help="sign what is pushed: final images, as cosign does, and build records; may be repeated",
    )
    parser.add_argument("--cmd", default="", metavar="COMMAND", help="what images of targets run by themselves")
    parser.add_argument(
        "-p", "--pull-repository", action="append", default=[], metavar="HOST/NAME", help="pull from here too"
    )
    parser.add_argument(
        "--cache-from", action="append", default=[], metavar="DIR", help="take it from a folder (an OCI layout)"
    )
    parser.add_argument(
        "--cache-to", action="append", default=[], metavar="DIR", help="put it into a folder (an OCI layout)"
    )
    parser.add_argument("--luet-cache", action="store_true", help="take from there too what luet has built")
    add_registry_flag(parser)
    luetflags.add(parser)
    add_output_flags(parser)


def trees_of(args: argparse.Namespace, settings: Settings) -> tuple[str, ...]:
    """`--tree`, or `TREE`, or the configuration's, or the folder `packages`."""
    named = luetflags.parted(args.tree) or tuple(os.environ.get("TREE", "").split())
    return named or settings.trees or ("packages",)


def tree_deps_of(args: argparse.Namespace, settings: Settings) -> tuple[str, ...]:
    """`--tree-deps`, or the configuration's."""
    return luetflags.parted(args.tree_deps) or settings.tree_deps


def values_of(args: argparse.Namespace, settings: Settings) -> tuple[str, ...]:
    """`--values`, or the configuration's."""
    return luetflags.parted(args.values) or settings.values


def options_of(args: argparse.Namespace, settings: Settings) -> BuildOptions:
    from treebuilder.app.options import BuildOptions
    from treebuilder.app.workspace import lock_path
    from treebuilder.model.words import parse_selector

    return BuildOptions(
        trees_of(args, settings), tuple(parse_selector(word) for word in args.packages), args.all,
        values_of(args, settings), Path(args.destination or settings.destination or "build"),
        args.engine, args.compression, settings.concurrency, args.only_target_package, args.nodeps, args.onlydeps,
        args.rebuild,
        args.locked, lock_path(args.lock), args.step_timeout,
        _kept(args), args.layering, args.dockerfiles,
        tuple(args.insecure_registry), args.full, args.revdeps, tree_deps_of(args, settings),
        args.image_repository, luetflags.parted(args.pull_repository), args.pull or bool(args.pull_repository),
        args.push, tuple(map(Path, args.cache_from)), tuple(map(Path, args.cache_to)),
        args.luet_cache, tuple(args.sign), _waits_s(args), _stamp_epoch_s(args),
    )  # fmt: skip


def _waits_s(args: argparse.Namespace) -> float:
    """For how long `--wait` does; 0 without it."""
    limit: float = 3600.0 if args.wait_limit is None else args.wait_limit
    return limit if args.wait else 0.0


def _stamp_epoch_s(args: argparse.Namespace) -> int | None:
    """As luet, packages say when they were really built; None for the time that the build takes for now."""
    if not getattr(args, "luet", False) or os.environ.get("SOURCE_DATE_EPOCH"):
        return None
    from treebuilder.system import clock

    return clock.now_epoch_s()


def _kept(args: argparse.Namespace) -> Path | None:
    """Where failed roots are kept, if they are."""
    return Path(args.keep_failed_in or "failed").absolute() if args.keep_failed or args.keep_failed_in else None


def _final_images(args: argparse.Namespace, session: Session) -> FinalImages | None:
    """What `--push-final-images` and its friends say. Raises ConfigError."""
    if not args.push_final_images:
        for flag in ("push_final_images_repository", "push_final_images_force"):
            if getattr(args, flag):
                _say_needs(flag, "--push-final-images", session)
        if args.cmd and not args.generate_final_images:
            _say_needs("cmd", "--push-final-images or --generate-final-images", session)
        if args.sign and not (args.push or args.cache_to):
            _say_needs("sign", "--push-final-images, --push or --cache-to", session)
        return None
    from treebuilder.app import finalimages

    return finalimages.chosen(
        args.push_final_images_repository or args.image_repository, force=args.push_final_images_force,
        command=args.cmd, insecure=tuple(args.insecure_registry), sign=tuple(args.sign),
    )  # fmt: skip


def _say_needs(flag: str, needed: str, session: Session) -> None:
    from treebuilder.events import Warned

    session.events.emit(Warned(f"{luetflags.flag(flag)} has no effect without {needed}"))


def run(args: argparse.Namespace, session: Session) -> int:
    from treebuilder.app import unchanged

    if not args.packages and not args.all and not args.full:
        from treebuilder.errors import ConfigError

        raise ConfigError("no package is named", hint="name packages, or --all, or --full")
    luetflags.judge(args, session.events)
    args.engine = luetflags.engine(args.engine, session.events)
    images = _final_images(args, session)
    if args.wait and not (args.pull or args.pull_repository):
        _say_needs("wait", "--pull", session)
    if args.wait_limit is not None and not args.wait:
        _say_needs("wait_limit", "--wait", session)
    with session.workspace() as work:
        options = options_of(args, work.settings)
        if args.pretend:
            return _pretend(options, work, session, joined=args.from_repositories)
        if args.generate_final_images:
            from treebuilder.app import finalimages

            finalimages.generated(options, args.cmd)
        shares = args.push or args.cache_to or images is not None or args.luet_cache or args.generate_final_images
        trees = "" if args.from_repositories or shares else unchanged.trees_key(options, work.settings.template_env)
        key = unchanged.request_key(options, trees) if trees else ""
        known = unchanged.recall(work.store, key, options.destination) if key and not args.rebuild else None
        if known is not None:
            session.events.again(known["warnings"])
            return _show({**known, "warnings": session.events.warnings()}, (), session)
        of_this_run = len(session.events.warnings())  # of flags and configuration: they are no part of the result
        if args.engine == "docker":
            session.needs_owners()
        else:
            session.needs_containers()
        plugins = changing.plugins_of(args, session)
        report = _build(options, work, plugins, joined=args.from_repositories)
        pushed = _make_images(args, images, report, options, work, session, plugins)
        session.close()
        value = {**report.to_json(), **pushed, "warnings": session.events.warnings()}
        if key and not report.failed and not value["counts"]["skipped"]:
            # The lock may have been written by this very build.
            watched = options.destination if report.watches_destination else None
            key = unchanged.request_key(options, trees)
            kept = {**value, "warnings": value["warnings"][of_this_run:]}
            unchanged.remember(work.store, key, kept, watched)
        return _show(value, [node.error for node in report.failed if node.error is not None], session)


def _build(options: BuildOptions, work: Workspace, plugins: Plugins | None, *, joined: bool) -> BuildReport:
    from treebuilder.app import building

    images, watcher = None, None
    if plugins is not None:
        from treebuilder.app.plugin_builds import ToldBuild, ToldImages

        images, watcher = ToldImages(building.registry_images(options, work), plugins), ToldBuild(plugins)
    if joined:
        from treebuilder.app.repositories import build_from_repositories

        return build_from_repositories(options, work, images, watcher)
    return building.build(options, work, images, watcher=watcher)


def _make_images(
    args: argparse.Namespace, images: FinalImages | None, report: BuildReport, options: BuildOptions, work: Workspace,
    session: Session, plugins: Plugins | None,
) -> dict[str, Any]:  # fmt: skip
    """What was built as images, if that is wanted; what a registry then has of them, for the result."""
    if images is None and not args.generate_final_images:
        return {}
    from treebuilder.app import finalimages
    from treebuilder.events import Said

    pushed = {}
    if images is not None:
        watcher = None
        if plugins is not None:
            from treebuilder.app.plugin_builds import ToldTransfers

            watcher = ToldTransfers(plugins)
        found = finalimages.push_final_images(report, images, options, work, watcher)
        pushed = {"images": [{"reference": reference, "digest": str(digest)} for reference, digest in found]}
    if args.generate_final_images:
        folder = finalimages.generate_final_images(report, args.cmd, options, work)
        session.events.emit(
            Said("final images: none, for no package was built" if folder is None else f"final images: {folder}")
        )
    return pushed


def _pretend(options: BuildOptions, work: Workspace, session: Session, *, joined: bool) -> int:
    from treebuilder.app.building import open_tree
    from treebuilder.app.targets import pretended
    from treebuilder.ui import tables

    if joined:
        from treebuilder.app.repositories import join_repositories

        found = join_repositories(options, work)
        rows = pretended(found.options, found.tree)
    else:
        rows = pretended(options, open_tree(options, work, 0))
    session.close()
    lines = [f"{row['category']}/{row['name']}-{row['version']} required for {row['target']}" for row in rows]
    tables.write({"schema": "treebuild.pretend/1", "packages": rows}, session.output, "\n".join(lines))
    return 0


def _show(report: dict[str, Any], errors: Sequence[TreebuildError], session: Session) -> int:
    """What the build came to, and what failed. Returns the exit code."""
    from treebuilder.ui import tables

    luet = getattr(session.args, "luet", False)
    if not luet or session.output != "terminal":
        tables.write(report, session.output, "" if session.output != "terminal" else _table(report))
    if luet:
        from treebuilder.cli import luet_output

        artifacts = [node["artifact"]["path"] for node in report["nodes"] if node["artifact"]]
        return luet_output.built(artifacts, errors, machine=session.output != "terminal")
    for error in errors:
        import sys

        from treebuilder.ui import failures, terminal

        terminal.say(failures.render(error), sys.stderr)
    return 2 if errors else 0


def _table(report: dict[str, Any]) -> str:
    from treebuilder.ui import tables

    rows = []
    for node in report["nodes"]:
        if node["artifact"] is None and node["state"] not in ("failed", "skipped"):
            continue
        size = tables.size(os.stat(node["artifact"]["path"]).st_size) if node["artifact"] else ""
        name = f"{node['category']}/{node['name']}"
        rows.append([name, node["version"], size, node["state"], f"{node['seconds']:.1f}"])
    counts = ", ".join(f"{count} {name}" for name, count in report["counts"].items() if count)
    return f"{tables.table(['package', 'version', 'size', 'state', 'seconds'], rows)}\n{counts}".strip()
