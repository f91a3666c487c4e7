"""What a build left in a folder: `*.metadata.yaml` files, read into entries of a repository's index."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from treebuilder.errors import Place, SpecError
from treebuilder.model.package import Package, PackageId
from treebuilder.records import record
from treebuilder.repository.fields import package_json, read_package, spec_json
from treebuilder.repository.index import mapping, parse_document, text, texts
from treebuilder.repository.plain import read_plain

SUFFIX = ".metadata.yaml"
_MAX_BYTES = 1 << 28


@record
class BuiltPackage:
    """One metadata file. `runtime` is the definition it carries; `entry` what the index says about the artifact."""

    id: PackageId
    runtime: Package
    entry: dict[str, Any]


def metadata_files(folder: Path) -> dict[str, Path]:
    """Metadata files by fingerprint, found at any depth, in a stable order. Raises SpecError."""
    if not folder.is_dir():
        raise SpecError(f"there is no folder of packages {folder}", reason="missing-packages")
    found: dict[str, Path] = {}
    for at, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if name.endswith(SUFFIX) and not name.startswith("."):
                found.setdefault(name.removesuffix(SUFFIX), Path(at, name))
    return found


def read_built(path: Path, folder: Path) -> BuiltPackage:
    """Reads one metadata file; its archive must lie beside it.

    Raises IntegrityError (no metadata), SpecError (reason "missing-file": no archive).
    """
    value = parse_document(read_plain(path, _MAX_BYTES, "a package's metadata"), str(path))
    spec = mapping(value.get("compilespec"))
    package, build_time = read_package(mapping(spec.get("package")))
    runtime, _ = read_package(mapping(value.get("runtime")))
    if not runtime.id.name:  # written by a program that knew no runtime part: its build view without relations
        runtime = Package(package.id, description=package.description, license=package.license, labels=package.labels)
    archive = path.parent / text(value.get("path")).rsplit("/", 1)[-1]
    if not archive.is_file() or archive == path.parent:
        raise SpecError(
            f"the package {archive.name} is not beside its metadata", where=Place(str(path)), reason="missing-file",
            hint="build it again, or delete the metadata file",
        )  # fmt: skip
    # The index names a sub-package by itself: the build spec beside it is that of the package it was carved out of.
    own = package if package.id == runtime.id else runtime
    described = spec_json(spec) | {"package": package_json(own, build_time)}
    entry: dict[str, Any] = {
        "checksums": {"sha256": text(mapping(value.get("checksums")).get("sha256"))},
        "compilationspec": described,
        "compressiontype": text(value.get("compressiontype")),
        "dependencies": [],
        "files": list(texts(value.get("files"))),
        "package_cacheimage": text(value.get("packagecacheimage")),
        "path": archive.relative_to(folder).as_posix(),
        "runtime": package_json(runtime, build_time),
    }
    ours = {key: item for key, item in mapping(value.get("treebuild")).items() if isinstance(item, str)}
    if ours:
        entry["treebuild"] = ours
    return BuiltPackage(runtime.id, runtime, entry)
