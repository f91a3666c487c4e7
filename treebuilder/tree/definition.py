"""definition.yaml and collection.yaml items, and package fields wherever they stand (luet.md §2.3)."""

from __future__ import annotations

from collections.abc import Callable

from treebuilder.errors import Place
from treebuilder.model.package import Package, PackageId, PackageRef
from treebuilder.nodes import Node

PACKAGE_KEYS = frozenset(
    (
        "name", "category", "version", "requires", "conflicts", "provides", "labels", "annotations", "description",
        "license", "uri", "hidden", "use_flags", "id", "state", "path", "treedir", "buildtimestamp", "dockerfile",
    )
)  # fmt: skip
COLLECTION_KEYS = frozenset(("packages",))
_FORBIDDEN = frozenset("/\\\0")

Tell = Callable[[str, str, Place], None]
"""Takes a key that means nothing and the known one that is like it, or "" and what else to warn of; and where."""


def report(node: Node, known: frozenset[str], tell: Tell) -> None:
    """Tells of the keys of a map that nobody reads, and of those that stand there twice."""
    for key, place in node.unknown(known):
        import difflib

        tell(key, next(iter(difflib.get_close_matches(key.lower(), sorted(known), n=1)), ""), place)
    report_doubled(node, tell)


def report_doubled(node: Node, tell: Tell) -> None:
    """A key that stands twice in a map is read without a word by luet; one of the two values is lost."""
    for key, place in node.doubled():
        tell("", f"the key {key!r} stands here twice, and only the last one counts", place)


def unknown_key(key: str, close: str) -> tuple[str, str | None]:
    """What to say of a key that was told of, and the hint."""
    return f"the key {key!r} means nothing here", f"did you mean {close}?" if close else None


def read_package(node: Node, tell: Tell | None = None) -> Package:
    """The typed fields of a definition; further keys are template values, but for those in references, of which
    `tell` is told. Raises SpecError."""
    return Package(
        id=read_id(node),
        requires=read_refs(node, "requires", tell),
        conflicts=read_refs(node, "conflicts", tell),
        provides=read_refs(node, "provides", tell),
        labels=node.text_map("labels"),
        annotations=node.text_map("annotations"),
        description=node.text("description"),
        license=node.text("license"),
        uri=node.texts("uri"),
        hidden=node.boolean("hidden"),
        use_flags=node.texts("use_flags"),
        where=node.place,
    )


def can_be_in_names(text: str) -> bool:
    """Whether a category, name or version can be part of a file name; empty ones can."""
    return text not in (".", "..") and not any(char in _FORBIDDEN or not char.isprintable() for char in text)


def read_id(node: Node) -> PackageId:
    """Category, name and version; each may be empty, none may hold what a file name cannot."""
    for key in ("category", "name", "version"):
        value = node.text(key)
        if not can_be_in_names(value):
            found = node.get(key) or node
            found.fail(f"the {key} {value!r} cannot be part of a file name", reason="name")
    return PackageId(node.text("category"), node.text("name"), node.text("version"))


def read_ref(node: Node, tell: Tell | None = None, *, loose: bool = False) -> PackageRef:
    """A reference to a package: category, name and a version, a selector or nothing.

    Where it is `loose`, numbers and booleans count as texts.
    """
    if node.kind not in ("map", "nothing"):
        node.fail(
            f"a package is written as name, category and version, not as a {node.kind}",
            hint='write {category: "app", name: "x", version: ">=0"}', reason="wrong-type",
        )  # fmt: skip
    if tell is not None:
        report(node, PACKAGE_KEYS, tell)

    def text(key: str) -> str:
        found = node.get(key) if loose else None
        return loose_text(found, key, tell) if found is not None else node.text(key)

    return PackageRef(text("category"), text("name"), text("version"), node.place)


def read_refs(node: Node, key: str, tell: Tell | None = None) -> tuple[PackageRef, ...]:
    """The references under a key; missing is empty."""
    return tuple(read_ref(item, tell) for item in node.children(key))


def loose_text(node: Node, what: str, tell: Tell | None) -> str:
    """A text of build.yaml or finalize.yaml that is no part of a package: numbers and booleans count as texts there.

    `tell` is told where luet's text is another than the written one (`1.10` is 1.1, `yes` is true).
    """
    text = node.as_loose_text(what)
    if tell is not None and node.kind in ("number", "boolean") and text != node.written:
        tell("", f"{what}: {node.written} without quotes means {text}", node.place)
    return text


def loose_texts(node: Node, key: str, tell: Tell | None) -> tuple[str, ...]:
    """A list of them; missing is empty."""
    return tuple(loose_text(item, f"an item of {key}", tell) for item in node.children(key))
