"""The hashes and image tags that luet gives to what it builds (luet.md §4.2), for its caches and its users' scripts.

Ours are in `plan.keys`. luet's depend on the place of a package in its target's order, and not on everything that a
build depends on: they name images of luet's, and nothing that we build is looked up by them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from treebuilder.annotations import Any
from treebuilder.errors import Place, SpecError
from treebuilder.model.package import CopyItem, PackageRef, Recipe
from treebuilder.records import record
from treebuilder.tree import TreePackage

_OFFSET = 0xCBF29CE484222325
_PRIME = 0x100000001B3
_MASK = (1 << 64) - 1
_CHUNK = 1 << 20


@record
class _Struct:
    """A Go struct: the name of its type, and its fields in order."""

    name: str
    fields: tuple[tuple[str, object], ...]


def _fnv(data: bytes) -> int:
    found = _OFFSET
    for byte in data:
        found = (found * _PRIME & _MASK) ^ byte
    return found


def _le(value: int) -> bytes:
    return value.to_bytes(8, "little")


def _hash(value: object) -> int:
    """The structure hash of a text, a bool, a number, None, a `_Struct`, or a map or list of such."""
    if value is None:
        return _hash(0)
    if isinstance(value, str):
        return _fnv(value.encode("utf-8", "surrogateescape"))
    if isinstance(value, bool):
        return _fnv(bytes([value]))
    if isinstance(value, int):
        return _fnv(value.to_bytes(8, "little", signed=True))
    if isinstance(value, _Struct):
        found = _hash(value.name)
        for key, item in value.fields:
            found = _fnv(_le(found ^ _fnv(_le(_hash(key)) + _le(_hash(item)))))
        return found
    found = 0
    if isinstance(value, dict):
        for key, item in value.items():
            found ^= _fnv(_le(_hash(key)) + _le(_hash(item)))
        return _fnv(_le(found))
    assert isinstance(value, list | tuple), value
    for item in value:
        found = _fnv(_le(found) + _le(_hash(item)))
    return found


_PACKAGE: tuple[tuple[str, str, Any], ...] = (
    ("ID", "id", 0), ("Name", "name", ""), ("Version", "version", ""), ("Category", "category", ""),
    ("UseFlags", "use_flags", ()), ("State", "state", ""), ("PackageRequires", "requires", ()),
    ("PackageConflicts", "conflicts", ()), ("Provides", "provides", ()), ("Hidden", "hidden", False),
    ("Annotations", "annotations", {}), ("Path", "path", ""), ("Description", "description", ""), ("Uri", "uri", ()),
    ("License", "license", ""), ("BuildTimestamp", "buildtimestamp", ""), ("Labels", "labels", {}),
    ("TreeDir", "treedir", ""), ("OriginDockerfile", "dockerfile", ""),
)  # fmt: skip
_REFS = ("requires", "conflicts", "provides")


def _package(said: Mapping[str, Any] | None) -> _Struct | None:
    """A reference as luet holds it: a package of which hardly anything is said. None for a reference to nothing."""
    if said is None:
        return None
    known = {key: [_package(item) for item in value] if key in _REFS else value for key, value in said.items()}
    return _Struct("Package", tuple((name, known.get(key, empty)) for name, key, empty in _PACKAGE))


def _said(ref: PackageRef) -> dict[str, str]:
    return {"name": ref.name, "version": ref.version, "category": ref.category}


def _copied(item: CopyItem, package: Mapping[str, Any] | None) -> _Struct:
    return _Struct("CopyField", (
        ("Package", _package(package)), ("Image", item.image), ("Source", item.source),
        ("Destination", item.destination),
    ))  # fmt: skip


def signature(recipe: Recipe) -> int:
    """The hash of a rendered build.yaml."""
    seen: dict[str, Any] = {
        "steps": [step.command for step in recipe.steps], "prelude": [step.command for step in recipe.prelude],
        "env": recipe.env, "retrieve": recipe.retrieve, "includes": recipe.includes, "excludes": recipe.excludes,
        "copy": [item.package and _said(item.package) for item in recipe.copy],
        "requires": [_said(ref) for ref in recipe.requires], "requires_final_images": recipe.requires_final_images,
    }  # fmt: skip
    seen |= json.loads(recipe.luet or "{}")
    copied = [_copied(item, package) for item, package in zip(recipe.copy, seen["copy"], strict=True)]
    return _hash(_Struct("Signature", (
        ("Image", recipe.image), ("Steps", seen["steps"]), ("PackageDir", recipe.package_dir),
        ("Prelude", seen["prelude"]), ("Seed", recipe.seed), ("Env", seen["env"]), ("Retrieve", seen["retrieve"]),
        ("Unpack", recipe.unpack), ("Includes", seen["includes"]), ("Excludes", seen["excludes"]), ("Copy", copied),
        ("Requires", [_package(said) for said in seen["requires"]]),
        ("RequiresFinalImages", seen["requires_final_images"]), ("Dockerfile", recipe.dockerfile),
    )))  # fmt: skip


def unjoined(recipe: Recipe) -> int | None:
    """How many of its requires are not those of `join:`, which luet does not know; None where there is no `join:`."""
    requires = json.loads(recipe.luet or "{}").get("requires")
    return None if requires is None or len(requires) == len(recipe.requires) else len(requires)


def folder_hash(folder: str) -> str:
    """The hash of all files of a package's folder (golang.org/x/mod, sumdb/dirhash, "h1"). Raises SpecError."""
    lines = []
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            relative = os.path.relpath(path, folder)
            if "\n" in relative:
                raise SpecError("a file's name has a line end, which luet cannot hash", where=Place(path))
            if os.path.isfile(path):
                lines.append((os.fsencode(relative), _file_hash(path)))
    text = b"".join(f"{digest}  ".encode() + relative + b"\n" for relative, digest in sorted(lines))
    return f"h1:{base64.b64encode(hashlib.sha256(text).digest()).decode()}"


def _file_hash(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def salt(found: TreePackage) -> str:
    """What of a package's own enters all hashes that it is part of."""
    return f"{signature(found.recipe)}{folder_hash(found.context) if found.context else ''}"


def package_hash(order: Iterable[TreePackage]) -> str:
    """The tag of the last package's image. `order` is what a target stands on, in the order of the build, up to it."""
    return _assertions((found, found.package.id.name) for found in order)


def build_hash(order: Sequence[TreePackage]) -> str:
    """The tag of what the last package of `order` is built on."""
    if len(order) > 1:
        return package_hash(order[:-1])
    return _assertions((found, f"@@{found.package.id.name}") for found in order)


def builder_tag(found: TreePackage, target_hash: str) -> str:
    """The tag of a package's builder image, for a target with this package hash."""
    id = found.package.id
    text = f"{id.name}-{id.category}-{id.version}-{target_hash}"
    return f"builder-{hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()}"


def _assertions(named: Iterable[tuple[TreePackage, str]]) -> str:
    found = hashlib.sha256()
    for package, name in named:
        id = package.package.id
        found.update(f"{id.category}/{name} {id.version} installed{salt(package)}\n".encode())
    return found.hexdigest()
