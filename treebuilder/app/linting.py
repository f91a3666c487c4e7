"""The use case *lint*: what a tree says that does nothing, or will not do for long."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress

from treebuilder.annotations import Any
from treebuilder.app.building import open_tree
from treebuilder.app.options import BuildOptions
from treebuilder.app.soundness import nonsense, unanswered
from treebuilder.app.targets import dependency_only
from treebuilder.app.validating import Wanted
from treebuilder.app.workspace import Workspace
from treebuilder.errors import Place, TreebuildError
from treebuilder.events import Recorder, Warned
from treebuilder.model.package import Package
from treebuilder.model.patterns import compile_pattern
from treebuilder.plan.places import place_of
from treebuilder.records import record, replace
from treebuilder.solver.world import World
from treebuilder.tree import Tree, TreePackage
from treebuilder.tree.definition import PACKAGE_KEYS, unknown_key
from treebuilder.tree.files import read_text

RULES = {
    "specfile": "what the reader warns of: unknown keys, packages that stand twice, patterns that RE2 does not take",
    "unused-value": "a key of a definition that no template of its folder reads",
    "unreachable": "an older version that nothing in the tree would take",
    "unsatisfied": "a selector that nothing in the tree satisfies, a provided version that means nothing",
    "floating-image": "an image without a version or a digest: it is another one tomorrow",
    "excluded": "an exclude that takes away what an include or the finalizer names",
    "unquoted-version": "a version without quotes: the next one may be read as a number",
}
EVERYTHING = Wanted()
_FLOATING = frozenset(("latest", "edge", "stable", "testing", "nightly", "rolling", "master", "main", "dev"))
_UNQUOTED = re.compile(r"\s*(?:-\s+)?version:[ \t]+[0-9][^\"'#\s]*[ \t]*(?:#.*)?\Z", re.IGNORECASE)
_WHOLE = re.compile(r"\.Values(?![.\w])(?!\s+\")")  # all values at once: any of them may be used
_PATH = re.compile(r"(?<![\w./])/[\w.+/-]+[\w+]")
_LITERAL = re.compile(r"\^?(/[\w/+-]*(?:\\?\.[\w/+-]+)*)\$?\Z")


@record
class Finding:
    """`rule` is one of RULES; `package` is empty where a file is meant."""

    rule: str
    package: str
    message: str
    where: Place

    def to_json(self) -> dict[str, Any]:
        return {
            "rule": self.rule, "package": self.package, "message": self.message,
            "where": {"file": self.where.file, "line": self.where.line},
        }  # fmt: skip


def lint(options: BuildOptions, work: Workspace, wanted: Wanted = EVERYTHING) -> tuple[int, tuple[Finding, ...]]:
    """How many packages were looked at, and all findings by file and line. Raises SpecError.

    What is said of a file counts where it is that of a wanted package, or of none. What only is built on
    (`--tree-deps`) is there to be required, and others keep it.
    """
    patterns = {text: compile_pattern(text) for text in (*wanted.matches, *wanted.excludes)}
    heard = Recorder()
    tree = open_tree(options, replace(work, events=heard), 0)
    others = dependency_only(options, tree)
    packages = [
        p for p in tree.packages if p.package.id not in others and wanted.chooses(str(p.package.id), patterns)
    ]  # fmt: skip
    found = [
        Finding("specfile", "", event.message, event.where or Place(""))
        for event in heard.events
        if isinstance(event, Warned)
    ]
    found += _selectors(tree)
    texts: dict[str, str] = {}
    shared = "".join(text for _, text in tree.shared_texts)
    for package in packages:
        found += _unused(package, texts, shared)
        found += _floating(package)
        found += _excluded(package, tree)
        found += _finalizer(package, tree)
    for file in dict.fromkeys(package.package.where.file for package in packages):
        if file.endswith(".yaml"):
            found += _unquoted(file, _text(file, texts))
    if patterns or others:
        found = _of(packages, tree, found)
    return len(packages), tuple(sorted(set(found), key=lambda f: (f.where.file, f.where.line, f.rule, f.message)))


def _of(packages: list[TreePackage], tree: Tree, found: list[Finding]) -> list[Finding]:
    """The findings about some of the tree's packages."""
    ids = {str(package.package.id) for package in packages}
    mine = {package.context for package in packages}
    others = {os.path.realpath(cell.path) for cell in tree.cells} - {os.path.realpath(path) for path in mine}
    return [
        one for one in found
        if (one.package in ids if one.package else os.path.realpath(os.path.dirname(one.where.file)) not in others)
    ]  # fmt: skip


def _text(file: str, texts: dict[str, str]) -> str:
    if file not in texts:
        try:
            texts[file] = read_text(file)
        except (TreebuildError, OSError):
            texts[file] = ""
    return texts[file]


def _selectors(tree: Tree) -> Iterator[Finding]:
    """What nothing satisfies, and what nothing takes."""
    taken: set[str] = set()
    builds, definitions = [cell.view() for cell in tree.cells], [cell.definition() for cell in tree.cells]
    for universe, views in ((tree.compiler(), builds), (tree.runtime(), definitions)):
        world = World(universe, ())
        for view in views:
            for ref in unanswered(view, world):
                yield Finding("unsatisfied", str(view.id), f"nothing in the tree satisfies {ref}", ref.where)
            for ref in view.conflicts:
                if not world.known(ref.pkgname):
                    message = f"the conflict with {ref} is with nothing in the tree"
                    yield Finding("unsatisfied", str(view.id), message, ref.where)
            for ref, why in nonsense((view,)):
                message = f"{ref.pkgname} is named in a version that means nothing: {why}"
                yield Finding("unsatisfied", str(view.id), message, ref.where)
            answers = [world.matches(ref)[:1] for ref in view.requires]
            taken.update(str(found[0].id) for found in answers if found)
        for view in views:
            versions = world.versions(view.id.pkgname)
            taken.update(str(best.id) for best in versions[:1])
    world = World(tree.compiler(), ())
    for cell in tree.cells:
        for item in cell.package().recipe.copy:
            if item.package is not None and not world.matches(item.package):
                message = f"nothing in the tree satisfies {item.package}"
                yield Finding("unsatisfied", str(cell.id), message, item.package.where)
        if str(cell.id) not in taken:
            message = "nothing in the tree takes this version, and there is a newer one"
            yield Finding("unreachable", str(cell.id), message, cell.definition().where)


def _unused(found: TreePackage, texts: dict[str, str], shared: str) -> Iterator[Finding]:
    own: Package = found.package
    if not found.context or not own.where.file.endswith("definition.yaml"):
        return
    folder = own.where.file.rpartition("/")[0]
    text = _text(f"{folder}/build.yaml", texts) + found.finalize + shared
    if _WHOLE.search(text):
        return
    definition = _text(own.where.file, texts)
    for key in json.loads(found.values):
        written = re.search(rf"^['\"]?{re.escape(key)}['\"]?\s*:", definition, re.MULTILINE)
        if written is None or key.lower() in PACKAGE_KEYS or key in text:
            continue
        line = definition.count("\n", 0, written.start()) + 1
        message = f"nothing in the folder or in the templates reads the value {key!r}"
        yield Finding("unused-value", str(own.id), message, Place(own.where.file, line))


def _floating(found: TreePackage) -> Iterator[Finding]:
    recipe = found.recipe
    for key, image in (("image", recipe.image), *(("copy", copy.image) for copy in recipe.copy)):
        if not image or image == "scratch" or image.startswith("oci:") or "@sha256:" in image:
            continue
        _, colon, tag = image.rpartition("/")[2].partition(":")
        if not colon or tag in _FLOATING:
            message = f"the image {image} has no version: it is another one tomorrow"
            where = place_of(recipe.where, key, image)
            yield Finding("floating-image", str(found.package.id), message, where)


def _finalizer(found: TreePackage, tree: Tree) -> list[Finding]:
    told: list[Finding] = []

    def tell(key: str, message: str, place: Place) -> None:
        told.append(Finding("specfile", "", unknown_key(key, message)[0] if key else message, place))

    with suppress(TreebuildError):
        tree.finalizer(found, tell)
    return told


def _excluded(found: TreePackage, tree: Tree) -> Iterator[Finding]:
    recipe = found.recipe
    if not recipe.excludes:
        return
    named = [(m[1].replace("\\", ""), "an include") for m in map(_LITERAL.match, recipe.includes) if m]
    try:
        finalizer = tree.finalizer(found)
        patterns = [(text, compile_pattern(text)) for text in recipe.excludes]
    except TreebuildError:
        return
    for line in finalizer.install if finalizer is not None else ():
        named += [(path, "the finalizer") for path in _PATH.findall(line) if "/" in path[1:]]
    for path, who in named:
        for text, pattern in patterns:
            if pattern.search(path):
                message = f"the exclude {text!r} takes away {path}, which {who} names"
                yield Finding("excluded", str(found.package.id), message, place_of(recipe.where, "excludes", text))


def _unquoted(file: str, text: str) -> Iterator[Finding]:
    for number, line in enumerate(text.splitlines(), 1):
        if _UNQUOTED.match(line):
            yield Finding("unquoted-version", "", f"write it in quotes: {line.strip()}", Place(file, number))
