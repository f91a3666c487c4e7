"""Packages, finalizers and records as JSON, for the system database and its journal.

`json` takes 1.3 ms to load, and a new system has nothing to read: so it is loaded for the first text.
"""

from __future__ import annotations

from treebuilder.annotations import Any
from treebuilder.client.api import Record
from treebuilder.model.digest import Digest
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
    value: dict[str, Any] = {
        "shell": list(finalizer.shell), "install": list(finalizer.install), "uninstall": list(finalizer.uninstall)
    }  # fmt: skip
    return value | {"whose": finalizer.whose} if finalizer.whose else value


def finalizer_from_json(value: dict[str, Any]) -> Finalizer:
    return Finalizer(
        tuple(value["shell"]), tuple(value["install"]), tuple(value.get("uninstall", ())), str(value.get("whose", ""))
    )


def record_to_json(record: Record) -> dict[str, Any]:
    """For a journal."""
    return {
        "package": package_to_json(record.package), "repository": record.repository,
        "sha256": record.sha256.hex if record.sha256 else "", "build_time": record.build_time,
        "entries": [list(item) for item in record.entries], "requested": record.requested,
        "finalizer": finalizer_to_json(record.finalizer) if record.finalizer else None,
    }  # fmt: skip


def record_from_json(value: dict[str, Any]) -> Record:
    """Raises ValueError, KeyError, TypeError for what `record_to_json` did not write."""
    entries = tuple((path, kind) for path, kind in value["entries"])
    digest = Digest(value["sha256"]) if value["sha256"] else None
    finalizer = finalizer_from_json(value["finalizer"]) if value.get("finalizer") else None
    requested = bool(value.get("requested", True))
    return Record(
        package_from_json(value["package"]),
        value["repository"],
        digest,
        value["build_time"],
        entries,
        requested,
        finalizer,
    )


def package_text(package: Package) -> str:
    from json import dumps

    return dumps(package_to_json(package), sort_keys=True)


def package_of(text: str) -> Package:
    """What `package_text` wrote. Raises ValueError, KeyError, TypeError."""
    from json import loads

    return package_from_json(loads(text))


def finalizer_text(finalizer: Finalizer) -> str:
    from json import dumps

    return dumps(finalizer_to_json(finalizer))


def finalizer_of(text: str) -> Finalizer:
    """What `finalizer_text` wrote. Raises ValueError, KeyError, TypeError."""
    from json import loads

    return finalizer_from_json(loads(text))
