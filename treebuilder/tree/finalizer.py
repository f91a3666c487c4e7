"""finalize.yaml: rendered with the package's typed fields only, and no shared templates (luet.md §2.6)."""

from __future__ import annotations

from treebuilder.model.package import Finalizer, Package, PackageRef
from treebuilder.nodes import load
from treebuilder.template import Templates
from treebuilder.tree.definition import Tell, loose_texts, report
from treebuilder.tree.values import Values

FINALIZER_KEYS = frozenset(("shell", "install", "uninstall"))


def package_values(package: Package) -> Values:
    """A definition's fields as template values, as a repository's tree carries them: all keys, whether set or not."""
    return {
        "name": package.id.name,
        "category": package.id.category,
        "version": package.id.version,
        "requires": _refs(package.requires),
        "conflicts": _refs(package.conflicts),
        "provides": _refs(package.provides),
        "labels": dict(package.labels),
        "annotations": dict(package.annotations),
        "description": package.description,
        "license": package.license,
        "uri": list(package.uri),
        "hidden": package.hidden,
        "use_flags": list(package.use_flags),
    }


def _refs(refs: tuple[PackageRef, ...]) -> list[Values]:
    return [{"name": ref.name, "category": ref.category, "version": ref.version} for ref in refs]


def read_finalizer(text: str, package: Package, *, file: str, tell: Tell | None = None) -> Finalizer:
    """A finalize.yaml's commands for one package; `tell` is told of keys that nobody reads. Raises SpecError."""
    rendered = Templates().render_mapped(text, package_values(package), file=file)
    node = load(rendered.text, file, lines=rendered.lines)
    if tell is not None:
        report(node, FINALIZER_KEYS, tell)
    return Finalizer(
        shell=loose_texts(node, "shell", tell) or ("sh", "-c"),
        install=tuple(line for line in loose_texts(node, "install", tell) if line.strip()),
        uninstall=tuple(line for line in loose_texts(node, "uninstall", tell) if line.strip()),
    )
