"""Looks at a tree without building: pkglist, images, validate, lint, graph; raises versions: bump.

examples:
  treebuild tree pkglist --tree packages --deps -o json
  treebuild tree validate --tree packages -s
  treebuild tree images --tree packages system/sampleOS -o json
  treebuild tree lint --tree packages
  treebuild tree graph --tree packages system/sampleOS -o svg > tree.svg
  treebuild tree bump -f packages/app/web/definition.yaml
"""

from __future__ import annotations

import argparse
import os
import stat
import sys
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING, Any
from treebuilder.cli.session import Session
from treebuilder.cli.verbs.build import add_deps_flag, add_tree_flags, tree_deps_of, trees_of, values_of
from treebuilder.errors import ConfigError
from treebuilder.events import Warned

if TYPE_CHECKING:
    from treebuilder.app.options import BuildOptions
    from treebuilder.app.workspace import Workspace

_FORMS = {
    "graph": ("terminal", "json", "yaml", "dot", "svg", "mermaid"),
    "bump": ("terminal", "json", "yaml", "stdout"),
}
_CACHE = "luet/cache"
_USUAL = ("terminal", "json", "yaml")


_OF = {  # whose flags these are
    "packages": ("PACKAGE", ("images", "graph", "bump")),
    "buildtime": ("--buildtime", ("pkglist",)), "deps": ("--deps", ("pkglist",)),
    "revdeps": ("--revdeps", ("pkglist",)), "verbose": ("--verbose", ("pkglist",)),
    "full": ("--full", ("pkglist",)),
    "definition_file": ("-f", ("pkglist", "bump")),
    "matches": ("--matches", ("pkglist", "validate", "lint")),
    "exclude": ("--exclude", ("pkglist", "validate", "lint")),
    "with_solver": ("--with-solver", ("validate",)), "only_runtime": ("--only-runtime", ("validate",)),
    "only_buildtime": ("--only-buildtime", ("validate",)), "plan": ("--plan", ("validate",)),
    "pkg_version": ("-p", ("images", "bump")), "to_stdout": ("--to-stdout", ("bump",)),
    "image_repository": ("--image-repository", ("images",)),
}  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", choices=("pkglist", "images", "validate", "lint", "graph", "bump"),
        help="pkglist: the packages; images: what a build would make, in order; validate: what is wrong; lint: what is "
        "odd; graph: what stands on what; bump: raise the version in a definition",
    )  # fmt: skip
    parser.add_argument(
        "packages", nargs="*", metavar="PACKAGE",
        help="of images and graph: the targets (default: all); of bump: the item of a collection",
    )  # fmt: skip
    add_tree_flags(parser)
    add_deps_flag(parser)
    parser.add_argument("-b", "--buildtime", action="store_true", help="pkglist: requirements of the build")
    parser.add_argument("--deps", action="store_true", help="pkglist: with what they need, in order")
    parser.add_argument("--revdeps", action="store_true", help="pkglist: what needs them instead")
    parser.add_argument("-v", "--verbose", action="store_true", help="pkglist: with versions")
    parser.add_argument("--full", action="store_true", help="pkglist: everything about them (-f)")
    parser.add_argument("-f", "--definition-file", nargs="?", const="", metavar="FILE", help="bump: the file")
    parser.add_argument("-m", "--matches", action="append", default=[], metavar="REGEX", help="only these packages")
    parser.add_argument("-e", "--exclude", action="append", default=[], metavar="REGEX", help="not these packages")
    parser.add_argument("-s", "--with-solver", "--solver", action="store_true", help="validate: can each be had?")
    parser.add_argument("--only-runtime", action="store_true", help="validate: requirements of definitions only")
    parser.add_argument("--only-buildtime", action="store_true", help="validate: requirements of builds only")
    parser.add_argument("--plan", action="store_true", help="validate: read all files, plan a build of everything")
    parser.add_argument("-p", "--pkg-version", "--pull-repository", metavar="VERSION", help="bump: to this version")
    parser.add_argument("--to-stdout", action="store_true", help="bump: print the file instead of writing it (-o)")
    parser.add_argument(
        "--image-repository",
        metavar="NAME",
        help="images: what stands before the tag (default: luet/cache)",
    )
    parser.add_argument("--lock", default="", metavar="FILE", help="the lock (default: treebuild.lock)")
    parser.add_argument("--json", action="store_true", help="the result as one JSON document on stdout")
    parser.add_argument(
        "-o", "--output", dest="output_format", nargs="?", const="stdout", default="terminal", metavar="FORM",
        help="terminal, json or yaml; graph: also dot, svg, mermaid",
    )  # fmt: skip


def _options(args: argparse.Namespace, work: Workspace) -> BuildOptions:
    from treebuilder.app.options import BuildOptions
    from treebuilder.app.workspace import lock_path
    from treebuilder.model.words import parse_selector

    return BuildOptions(
        trees_of(args, work.settings), tuple(parse_selector(word) for word in args.packages), not args.packages,
        values_of(args, work.settings), Path(work.settings.destination or "build"),
        lock_file=lock_path(args.lock), layering=args.layering, dockerfiles=args.dockerfiles,
        tree_deps=tree_deps_of(args, work.settings),
    )  # fmt: skip


def _refuse_strays(args: argparse.Namespace) -> None:
    """Raises ConfigError for a flag that would be taken and mean nothing."""
    for name, (flag, verbs) in _OF.items():
        if args.what not in verbs and getattr(args, name) not in (None, False, []):
            hint = "-m REGEX chooses packages" if name == "packages" else f"it is of tree {' and tree '.join(verbs)}"
            raise ConfigError(f"tree {args.what} takes no {flag}", hint=hint)


def run(args: argparse.Namespace, session: Session) -> int:
    _refuse_strays(args)
    known = _FORMS.get(args.what, _USUAL)
    if args.output_format not in known:
        raise ConfigError(f"there is no form {args.output_format!r} of it", hint=f"known: {', '.join(known)}")
    if args.what == "bump":
        return _bump(args, session)
    with session.workspace() as work:
        return _VERBS[args.what](args, _options(args, work), work, session)


def _pkglist(args: argparse.Namespace, options: BuildOptions, work: Workspace, session: Session) -> int:
    from treebuilder.app import trees
    from treebuilder.app.building import open_tree
    from treebuilder.app.targets import own
    from treebuilder.ui import tables

    full = args.full or args.definition_file is not None
    tree = open_tree(options, work, 0, recipes=args.buildtime)
    wish = trees.Listing(
        args.buildtime, args.deps, args.revdeps, args.verbose or full, tuple(args.matches), tuple(args.exclude)
    )
    found = trees.listed(tree, wish)
    if options.tree_deps and not (args.deps or args.revdeps):
        mine = set(own(options, tree))
        found = [one for one in found if one.cell.id in mine]
    rows = trees.rows(found, build_time=args.buildtime) if full or session.output != "terminal" else []
    lines = [trees.block(row) for row in rows] if full else [wish.shown(one) for one in found]
    session.close()
    tables.write({"schema": "treebuild.pkglist/1", "packages": rows}, session.output, "\n".join(lines))
    return 0


def _images(args: argparse.Namespace, options: BuildOptions, work: Workspace, session: Session) -> int:
    from treebuilder.app import trees
    from treebuilder.ui import tables

    luet = bool(getattr(args, "luet", False))
    if args.pkg_version and not luet:  # which takes it without a word, and whose stdout has the warnings
        why = "nothing is asked of a registry, so all images are named alike"
        work.events.emit(Warned(f"--pull-repository has no effect: {why}", None, "--image-repository names them"))
    found = (trees.luet_images if luet else trees.images)(options, work, args.image_repository or _CACHE)
    session.close()
    lines = [f"{p['category']}/{p['name']}-{p['version']}: {p['image']}" for p in found]
    tables.write({"schema": "treebuild.tree-images/1", "packages": found}, session.output, "\n".join(lines))
    return 0


def _graph(args: argparse.Namespace, options: BuildOptions, work: Workspace, session: Session) -> int:
    from treebuilder.app import drawing, trees
    from treebuilder.ui import tables

    value = trees.graph(options, work)
    session.close()
    draw = {"svg": drawing.to_svg, "mermaid": drawing.to_mermaid}.get(session.output, drawing.to_dot)
    tables.write(value, session.output, draw(value) if session.output not in ("json", "yaml") else "")
    return 0


def _lint(args: argparse.Namespace, options: BuildOptions, work: Workspace, session: Session) -> int:
    from treebuilder.app import linting, validating
    from treebuilder.ui import tables
    from treebuilder.ui.failures import counted

    wanted = validating.Wanted(matches=tuple(args.matches), excludes=tuple(args.exclude))
    count, found = linting.lint(options, work, wanted)
    session.close()
    lines = [f"{f.where}: {f.rule}: {f'{f.package}: ' if f.package else ''}{f.message}" for f in found]
    value = {"schema": "treebuild.lint/1", "packages": count, "findings": [f.to_json() for f in found]}
    tables.write(
        value, session.output, "\n".join([*lines, f"{counted(count, 'package')}, {counted(len(found), 'finding')}"])
    )
    return 2 if found else 0


def _bump(args: argparse.Namespace, session: Session) -> int:
    from treebuilder.app import bumping
    from treebuilder.errors import SpecError
    from treebuilder.model.words import parse_selector
    from treebuilder.system.files import write_atomic
    from treebuilder.tree.files import read_text
    from treebuilder.ui import tables

    if not args.definition_file:
        raise ConfigError("no definition is named", hint="tree bump -f definition.yaml")
    path = Path(args.definition_file)
    try:
        text = read_text(str(path))
    except FileNotFoundError:
        raise SpecError(f"there is no file {path}", reason="bump") from None
    which = parse_selector(args.packages[0]) if args.packages else None
    done = bumping.bump(text, str(path), args.pkg_version, which)
    only_shown = args.to_stdout or session.output == "stdout"
    if not only_shown:
        mark = b"\xef\xbb\xbf" if path.read_bytes().startswith(b"\xef\xbb\xbf") else b""
        write_atomic(Path(os.path.realpath(path)), mark + done.text.encode(), mode=stat.S_IMODE(path.stat().st_mode))
    value = {
        "schema": "treebuild.bump/1",
        "file": str(path),
        "package": done.package,
        "before": done.before,
        "after": done.after,
    }
    shown = done.text.rstrip("\n") if only_shown else f"{path}: {done.package}: {done.before} -> {done.after}"
    tables.write(value, session.output, shown)
    return 0


def _validate(args: argparse.Namespace, options: BuildOptions, work: Workspace, session: Session) -> int:
    from treebuilder.app import validating
    from treebuilder.ui import failures, tables, terminal

    sides = validating.SIDES
    if args.only_runtime != args.only_buildtime:
        sides = ("runtime",) if args.only_runtime else ("build",)
    wanted = validating.Wanted(sides, tuple(args.matches), tuple(args.exclude), deep=args.plan)
    count, faults = validating.validate(options, work, wanted)
    session.close()
    if getattr(args, "luet", False) and session.output == "terminal":
        from treebuilder.cli import luet_output

        return luet_output.validated([(f.package and f"{f.package} ({f.side})", f.error) for f in faults])
    for fault in faults:
        package = f"{failures.shortened(fault.package)} ({fault.side}): " if fault.package else ""
        terminal.say(f"{package}{failures.render(fault.error)}", sys.stderr)
    value: dict[str, Any] = {
        "schema": "treebuild.validate/1", "packages": count,
        "faults": [
            {"package": failures.shortened(f.package), "side": f.side, **failures.to_json(f.error)} for f in faults
        ],
    }  # fmt: skip
    tables.write(
        value, session.output, f"{failures.counted(count, 'package')}, {failures.counted(len(faults), 'fault')}"
    )
    return 2 if faults else 0


_VERBS = {"pkglist": _pkglist, "images": _images, "validate": _validate, "lint": _lint, "graph": _graph}
