"""What all verbs of the package client share: flags, the client itself, and how a change is shown."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING, Any
from treebuilder.cli.session import Session, add_insecure_flag, add_output_flags

if TYPE_CHECKING:
    from treebuilder.app.client import PackageClient
    from treebuilder.app.client_settings import ClientSettings
    from treebuilder.app.plugins import Plugins
    from treebuilder.client import Change, ChangeReport, Manner
    from treebuilder.model.package import PackageId, PackageRef


def is_luet(args: argparse.Namespace) -> bool:
    """Whether we were called by the name of luet."""
    return bool(getattr(args, "luet", False))


def add_system_flags(parser: argparse.ArgumentParser) -> None:
    """Which root, and where its database is."""
    parser.add_argument(
        "--system-target", default="", metavar="DIR", help="the root (default: the configured one, or /)"
    )
    parser.add_argument(
        "--system-dbpath", default="", metavar="DIR", help="where in the root the system database is"
    )  # fmt: skip
    parser.add_argument(
        "--system-engine", default="", metavar="NAME", help="`memory` leaves no record of what is installed"
    )  # fmt: skip


def add_source_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-l", "--local", action="append", default=[], metavar="DIR",
        help="a folder with a repository, preferred to the configured ones; may be repeated",
    )  # fmt: skip
    add_insecure_flag(parser)


def add_change_flags(parser: argparse.ArgumentParser, *, sources: bool = True) -> None:
    """Flags of every verb that changes a root."""
    add_system_flags(parser)
    if sources:
        add_source_flags(parser)
        parser.add_argument("--download-only", action="store_true", help="fetch and check, and change nothing")
    what = "two packages may have one file, with a warning" if sources else "what needs the packages may stay, broken"
    parser.add_argument("--force", action="store_true", help=what)
    parser.add_argument("--nodeps", action="store_true", help="look at no dependencies")
    parser.add_argument("-n", "--dry-run", action="store_true", help="say what would change, and change nothing")
    parser.add_argument(
        "--finalizer-env", action="append", default=[], metavar="K=V", help="for finalizers; may be repeated"
    )
    parser.add_argument(
        "--skip-finalizers", action="store_true", help="run no finalizers; the next change without this runs them"
    )
    parser.add_argument("--skip-config-protect", action="store_true", help="replace protected configuration too")
    parser.add_argument("-y", "--yes", action="store_true", help="ask nothing (as treebuild nothing is asked)")
    add_owner_flag(parser)
    parser.add_argument(
        "--solver-concurrent", action="store_true",
        help="luet's --solver-... flags change nothing: every solution is searched, and the best one taken",
    )  # fmt: skip
    add_output_flags(parser)


def add_owner_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--same-owner", action=argparse.BooleanOptionalAction,
        help="files belong to whom their archive names (the default), or to whoever unpacks them",
    )  # fmt: skip


def settings_of(args: argparse.Namespace, session: Session) -> ClientSettings:
    from treebuilder.app import client_settings

    flags: dict[str, Any] = dict(getattr(args, "overrides", {}))
    for name, key in (
        ("system_target", "system.rootfs"), ("system_dbpath", "system.database_path"),
        ("system_engine", "system.database_engine"),
    ):  # fmt: skip
        if getattr(args, name, ""):
            flags[key] = getattr(args, name)
    if getattr(args, "skip_config_protect", False):
        flags["config_protect_skip"] = True
    if getattr(args, "same_owner", None) is not None:
        flags["general.same_owner"] = args.same_owner
    if args.concurrency:
        flags["general.concurrency"] = args.concurrency
    if getattr(args, "max_expansion", 0):
        flags["general.max_expansion"] = args.max_expansion
    insecure = bool(getattr(args, "insecure", False))
    return client_settings.load(args.config, flags, session.events, luet=is_luet(args), insecure=insecure)


def plugins_of(args: argparse.Namespace, session: Session) -> Plugins | None:
    """Programs that are told of events; None without any. Raises ConfigError for one that is not there."""
    from treebuilder.app import client_settings
    from treebuilder.events import Silent

    flags: dict[str, Any] = getattr(args, "overrides", {})
    names = client_settings.plugins_of(
        client_settings.values_of(args.config, flags, Silent(), luet=is_luet(args))  # others say what is wrong with it
    )
    if not names:
        return None
    from treebuilder.app.plugins import Plugins

    plugins = Plugins(names, session.events, session.cancel)
    plugins.check()
    return plugins


@contextmanager
def opened(
    args: argparse.Namespace, session: Session, *, strict: bool = False, perhaps_none: bool = False
) -> Iterator[PackageClient]:
    """The client of the configured root. `perhaps_none`: luet's verb is content without a repository."""
    from treebuilder.app.client import PackageClient
    from treebuilder.app.config_files import cache_folder
    from treebuilder.system.files import disk_errors

    settings = settings_of(args, session)
    if is_luet(args):
        with disk_errors(f"making the root {settings.root.folder}"):
            settings.root.folder.mkdir(parents=True, exist_ok=True)
    own = str(settings.cache / "treebuild") if is_luet(args) else ""
    local = tuple(os.path.abspath(folder) for folder in getattr(args, "local", ()))
    folder = cache_folder(args.cache_dir or own)
    perhaps_none = perhaps_none and is_luet(args)
    client = PackageClient(
        settings, folder, session.events, session.cancel, local, strict=strict, perhaps_none=perhaps_none
    )
    try:
        yield client
    finally:
        client.close()


def refs_of(words: list[str]) -> tuple[PackageRef, ...]:
    from treebuilder.model.words import parse_selector

    return tuple(parse_selector(word) for word in words)


def manner_of(args: argparse.Namespace, settings: ClientSettings) -> Manner:
    from treebuilder.client import Manner
    from treebuilder.errors import ConfigError, TreebuildError

    if not settings.value("system.rootfs"):  # luet takes `/`; a slip of the hand should not change the machine
        raise TreebuildError(
            "no root is named",
            hint="--system-target DIR, or system: {rootfs: DIR} in the configuration",
            reason="usage",
        )
    more = []
    for word in args.finalizer_env:
        key, sign, value = word.partition("=")
        if not sign or not key:
            raise ConfigError(f"--finalizer-env takes K=V, and not {word!r}")
        more.append((key, value))
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    confirm = None
    if is_luet(args) and not args.dry_run:
        confirm = _shower(args, ask=not args.yes)
    return Manner(
        args.dry_run, getattr(args, "download_only", False), settings.protection,
        settings.environment(int(epoch) if epoch.isdigit() else 0, tuple(more)), not args.skip_finalizers,
        confirm,
    )  # fmt: skip


def _shower(args: argparse.Namespace, *, ask: bool) -> Callable[[Change], bool]:
    """Says what would be changed, and asks; where a result is for programs both are on stderr."""

    def shown(change: Change) -> bool:
        from treebuilder.ui import terminal

        out = sys.stdout if args.output_format == "terminal" and not args.json else sys.stderr
        text = _listed(change)
        if text and (ask or (change.add and not args.quiet)):
            terminal.say(text, out)
        return not ask or terminal.agreed(out)

    return shown


def _name(id: PackageId) -> str:
    return id.pkgname.removeprefix("/")


def _listed(change: Change) -> str:
    from treebuilder.ui import tables

    rows = [
        [_name(item.package.id), item.package.id.version, item.package.license, item.repository.source.name]
        for item in change.add
    ]
    text = tables.table(["Program Name", "Version", "License", "Repository"], rows)
    gone = "\n".join(f"- {found.package.id.human}" for found in change.remove)
    return "\n".join(part for part in (gone, text) if part)


def show(report: ChangeReport, args: argparse.Namespace, session: Session, nothing: str) -> int:
    """The result, on stdout. `nothing` is said when there was nothing to do."""
    from treebuilder.ui import tables

    session.close()
    if session.output == "terminal" and is_luet(args):
        from treebuilder.cli import luet_output

        luet_output.change(report, nothing, session.events)
        return 0
    tables.write(report.to_json(), session.output, text_of(report) if report.state != "nothing" else nothing)
    return 0


def text_of(report: ChangeReport) -> str:
    """A table and a sentence."""
    from treebuilder.ui import tables

    exchanged = {new: old for old, new in report.exchanged}
    rows = []
    for id, where, files in report.installed:
        old = exchanged.get(id)
        rows.append(["+" if old is None else "~", _name(id), old.version if old else "", id.version, where, str(files)])
    swapped = set(exchanged.values())
    rows += [["-", _name(id), id.version, "", "", ""] for id in report.removed if id not in swapped]
    rows += [["=", _name(id), "", id.version, where, str(files)] for id, where, files in report.adopted]
    text = tables.table(["", "package", "was", "version", "repository", "files"], rows)
    counts = {
        "installed": len(report.installed) - len(exchanged), "exchanged": len(exchanged),
        "removed": len(report.removed) - len(swapped), "recorded": len(report.adopted),
    }  # fmt: skip
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    if report.fetched_bytes:
        said += f"; {tables.size(report.fetched_bytes)} fetched"
    how = {"planned": "planned, nothing was changed: ", "downloaded": "downloaded, nothing was changed: "}
    lines = [text, f"{how.get(report.state, '')}{said}"]
    lines += [f"kept as it was, the new form is beside it: /{path}" for path in report.diverted]
    return "\n".join(lines)


def needs_root(session: Session) -> None:
    """Changing a root needs files of many owners, unless all are to belong to whoever we are; finalizers bring
    namespaces of their own."""
    if os.geteuid() != 0 and settings_of(session.args, session).root.same_owner:
        session.needs_owners()


def packages_of(args: argparse.Namespace) -> tuple[PackageRef, ...]:
    """Those of a change; luet is content with none. Raises SpecError, TreebuildError (reason "arguments")."""
    if not args.packages and not is_luet(args):
        from treebuilder.errors import TreebuildError

        raise TreebuildError("the following arguments are required: PACKAGE", reason="arguments", hint="name a package")
    return refs_of(args.packages)


def local_path(text: str) -> Path:
    return Path(text).absolute()
