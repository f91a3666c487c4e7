"""Packages and finalizers as JSON, for the system database and its journal."""

from __future__ import annotations

from treebuilder.annotations import Any
from treebuilder.model.package import Finalizer, Package, PackageId, PackageRef


def package_to_json(package: Package) -> dict[str, Any]:
    """What `package_from_json` reads; what is empty is left out."""

    def refs(items: tuple[PackageRef, ...]) -> list[list[str]]:
        return [[ref.category, ref.name, ref.version] for ref in items]

    id = package.id
    value: dict[str, Any] = {
        "requires": refs(package.requires), "conflicts": refs(package.conflicts), "provides": refs(package.provides),
        "labels": dict(package.labels), "annotations": dict(package.annotations), "description": package.description,
        "license": package.license, "uri": list(package.uri), "hidden": package.hidden,
        "use_flags": list(package.use_flags),
    }  # fmt: skip
    return {"id": [id.category, id.name, id.version], **{key: item for key, item in value.items() if item}}


def package_from_json(value: dict[str, Any]) -> Package:
    """Raises ValueError, KeyError, TypeError for what `package_to_json` did not write."""
    get = value.get

    def refs(items: list[list[str]] | None) -> tuple[PackageRef, ...]:
        return tuple([PackageRef(a, b, c) for a, b, c in items]) if items else ()

    return Package(
        PackageId(*value["id"]), refs(get("requires")), refs(get("conflicts")), refs(get("provides")),
        tuple(sorted(get("labels", {}).items())), tuple(sorted(get("annotations", {}).items())),
        get("description", ""), get("license", ""), tuple(get("uri", ())), bool(get("hidden", False)),
        tuple(get("use_flags", ())),
    )  # fmt: skip


def finalizer_to_json(finalizer: Finalizer) -> dict[str, Any]:
    return {
        "shell": list(finalizer.shell), "install": list(finalizer.install), "uninstall": list(finalizer.uninstall)
    }  # fmt: skip


def finalizer_from_json(value: dict[str, Any]) -> Finalizer:
    return Finalizer(tuple(value["shell"]), tuple(value["install"]), tuple(value.get("uninstall", ())))
