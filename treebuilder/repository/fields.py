"""Packages and build specs as luet spells them: lower-case Go names in `metadata.yaml` (luet.md §5.3), JSON names in
indexes (§6.2)."""

from __future__ import annotations

from collections.abc import Mapping

from treebuilder.annotations import Any
from treebuilder.model.package import Package, PackageId, PackageRef
from treebuilder.repository.index import listing, mapping, text, texts


def _identity(category: str, name: str, version: str) -> dict[str, Any]:
    return {
        "id": 0, "name": name, "category": category, "version": version, "requires": [], "conflicts": [],
        "annotations": {}, "treedir": "",
    }  # fmt: skip


def read_package(value: Mapping[str, Any]) -> tuple[Package, str]:
    """A package of `metadata.yaml` and its build time."""
    return _package(value, ("packagerequires", "packageconflicts", "useflags")), text(value.get("buildtimestamp"))


def read_definition(value: Mapping[str, Any]) -> Package:
    """A package of a repository's tree."""
    return _package(value, ("requires", "conflicts", "use_flags"))


def _package(value: Mapping[str, Any], names: tuple[str, str, str]) -> Package:
    return Package(
        id=_id(value),
        requires=_refs(value.get(names[0])),
        conflicts=_refs(value.get(names[1])),
        provides=_refs(value.get("provides")),
        labels=_pairs(value.get("labels")),
        annotations=_pairs(value.get("annotations")),
        description=text(value.get("description")),
        license=text(value.get("license")),
        uri=texts(value.get("uri")),
        hidden=text(value.get("hidden")) == "true",
        use_flags=texts(value.get(names[2])),
    )


def _id(value: Mapping[str, Any]) -> PackageId:
    return PackageId(text(value.get("category")), text(value.get("name")), text(value.get("version")))


def _refs(value: object) -> tuple[PackageRef, ...]:
    ids = (_id(mapping(item)) for item in listing(value))
    return tuple(id.exact for id in ids)


def _pairs(value: object) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, item) for key, item in mapping(value).items() if isinstance(item, str)))


_SPEC_LISTS = ("env", "prelude", "retrieve", "includes", "excludes")
_SPEC_TEXTS = ("image", "seed", "package_dir")


def spec_json(spec: Mapping[str, Any]) -> dict[str, Any]:
    """`compilespec` of a `metadata.yaml` as `compilationspec` of an index, without its package."""
    value: dict[str, Any] = {
        "steps": list(texts(spec.get("steps"))),
        "unpack": text(spec.get("unpack")) == "true",
        "requires_final_images": text(spec.get("requires_final_images")) == "true",
        "copy": [_copy(mapping(item)) for item in listing(spec.get("copy"))],
        **{key: list(texts(spec.get(key))) for key in _SPEC_LISTS},
        **{key: text(spec.get(key)) for key in _SPEC_TEXTS},
    }
    subpackages = [_subpackage(mapping(item)) for item in listing(spec.get("subpackages"))]
    if subpackages:
        value["subpackages"] = subpackages
    options = build_options(mapping(spec.get("buildoptions")))
    if options:
        value["build_options"] = options
    return value


def _copy(item: Mapping[str, Any]) -> dict[str, Any]:
    package = item.get("package")
    id = _id(mapping(package))
    return {
        "package": _identity(id.category, id.name, id.version) if isinstance(package, dict) else None,
        "image": text(item.get("image")), "source": text(item.get("source")),
        "destination": text(item.get("destination")),
    }  # fmt: skip


def _subpackage(item: Mapping[str, Any]) -> dict[str, Any]:
    package, _ = read_package(item)
    known: dict[str, Any] = {
        **_identity(package.id.category, package.id.name, package.id.version),
        "requires": [_identity(ref.category, ref.name, ref.version) for ref in package.requires],
        "conflicts": [_identity(ref.category, ref.name, ref.version) for ref in package.conflicts],
        "includes": list(texts(item.get("includes"))), "excludes": list(texts(item.get("excludes"))),
    }  # fmt: skip
    if package.provides:
        known["provides"] = [_identity(ref.category, ref.name, ref.version) for ref in package.provides]
    return known


def build_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Of a `buildoptions`, in an index's words, what carries information (luet.md §5.3)."""
    found = {
        "PushImageRepository": text(options.get("pushimagerepository")),
        "PullImageRepository": list(texts(options.get("pullimagerepository"))),
        "BuildValues": [item for item in listing(options.get("buildvalues")) if isinstance(item, dict)],
    }
    return {key: value for key, value in found.items() if value}
