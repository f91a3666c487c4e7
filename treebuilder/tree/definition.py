"""definition.yaml and collection.yaml items, and package fields wherever they stand (luet.md §2.3)."""

from __future__ import annotations

from treebuilder.model.package import Package, PackageId, PackageRef
from treebuilder.nodes import Node

PACKAGE_KEYS = frozenset(
    (
        "name", "category", "version", "requires", "conflicts", "provides", "labels", "annotations", "description",
        "license", "uri", "hidden", "use_flags", "id", "state", "path", "treedir", "buildtimestamp", "dockerfile",
    )
)  # fmt: skip
_FORBIDDEN = frozenset("/\\\0")


def read_package(node: Node) -> Package:
    """The typed fields of a definition; further keys are template values. Raises SpecError."""
    return Package(
        id=read_id(node),
        requires=read_refs(node, "requires"),
        conflicts=read_refs(node, "conflicts"),
        provides=read_refs(node, "provides"),
        labels=node.text_map("labels"),
        annotations=node.text_map("annotations"),
        description=node.text("description"),
        license=node.text("license"),
        uri=node.texts("uri"),
        hidden=node.boolean("hidden"),
        use_flags=node.texts("use_flags"),
        where=node.place,
    )


def read_id(node: Node) -> PackageId:
    """Category, name and version; each may be empty, none may hold what a file name cannot."""
    for key in ("category", "name", "version"):
        value = node.text(key)
        if any(char in _FORBIDDEN or not char.isprintable() for char in value) or value in (".", ".."):
            found = node.get(key) or node
            found.fail(f"the {key} {value!r} cannot be part of a file name", reason="name")
    return PackageId(node.text("category"), node.text("name"), node.text("version"))


def read_ref(node: Node) -> PackageRef:
    """A reference to a package: category, name and a version, a selector or nothing."""
    if node.kind not in ("map", "nothing"):
        node.fail(
            f"a package is written as name, category and version, not as a {node.kind}",
            hint='write {category: "app", name: "x", version: ">=0"}', reason="wrong-type",
        )  # fmt: skip
    return PackageRef(node.text("category"), node.text("name"), node.text("version"), node.place)


def read_refs(node: Node, key: str) -> tuple[PackageRef, ...]:
    """The references under a key; missing is empty."""
    return tuple(read_ref(item) for item in node.children(key))
