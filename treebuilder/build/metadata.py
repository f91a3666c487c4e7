"""`<fp>.metadata.yaml` beside every artifact, in luet's form (luet.md §5.3), written from the plan each time."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from treebuilder.annotations import Any
from treebuilder.model.digest import Digest
from treebuilder.model.envline import secret_pairs
from treebuilder.model.package import CopyItem, Package, PackageRef, Recipe
from treebuilder.system import clock


def go_time(epoch_s: int, content: Digest) -> str:
    """The epoch in Go's `time.Time` form; the nine digits come from the content, so a rebuild is seen as one."""
    return f"{clock.utc(epoch_s, '%Y-%m-%d %H:%M:%S')} +0000 UTC m=+0.{int(content.hex[:16], 16) % 1_000_000_000:09d}"


def _ref(ref: PackageRef) -> dict[str, Any]:
    return _fields(ref.category, ref.name, ref.version)


def _fields(category: str, name: str, version: str) -> dict[str, Any]:
    return {
        "id": 0, "name": name, "version": version, "category": category, "useflags": [], "state": "",
        "packagerequires": [], "packageconflicts": [], "provides": [], "hidden": False, "annotations": {}, "path": "",
        "description": "", "uri": [], "license": "", "buildtimestamp": "", "labels": {}, "treedir": "",
        "origindockerfile": "",
    }  # fmt: skip


def package_fields(package: Package, build_time: str = "") -> dict[str, Any]:
    """A package as luet's metadata spells it (all keys lower case)."""
    fields = _fields(package.id.category, package.id.name, package.id.version)
    fields.update(
        useflags=list(package.use_flags),
        packagerequires=[_ref(r) for r in package.requires],
        packageconflicts=[_ref(r) for r in package.conflicts],
        provides=[_ref(r) for r in package.provides],
        hidden=package.hidden,
        annotations=dict(package.annotations),
        description=package.description,
        uri=list(package.uri),
        license=package.license,
        buildtimestamp=build_time,
        labels=dict(package.labels),
    )
    return fields


def _copy(item: CopyItem) -> dict[str, Any]:
    package = _ref(item.package) if item.package is not None else None
    return {"package": package, "image": item.image, "source": item.source, "destination": item.destination}


def _open_env(recipe: Recipe) -> list[str]:
    """The lines of `env` that set no secret."""
    secret = dict(secret_pairs(recipe.env, recipe.secrets))
    return [line for line in recipe.env if line not in secret]


def _spec(recipe: Recipe, package: Package, build_time: str, seed: str, values: Mapping[str, object]) -> dict[str, Any]:
    spec: dict[str, Any] = {}
    if recipe.steps:
        spec["steps"] = [step.command for step in recipe.steps]
    spec.update(
        env=_open_env(recipe), prelude=[step.command for step in recipe.prelude], image=recipe.image, seed=seed,
        package=package_fields(package, build_time), sourceassertion=[], package_dir=recipe.package_dir,
        retrieve=list(recipe.retrieve), outputpath="", unpack=recipe.unpack, includes=list(recipe.includes),
        excludes=list(recipe.excludes),
    )  # fmt: skip
    if recipe.subpackages:
        spec["subpackages"] = [
            {**package_fields(s.package), "includes": list(s.includes), "excludes": list(s.excludes)}
            for s in recipe.subpackages
        ]
    spec["buildoptions"] = {**_BUILD_OPTIONS, "buildvalues": [values]} if values else _BUILD_OPTIONS
    spec.update(copy=[_copy(item) for item in recipe.copy], requires_final_images=recipe.requires_final_images)
    return spec


# How luet was told to build. Of it only buildvalues matters to ours, but luet reads it where it builds on a repository.
_BUILD_OPTIONS: dict[str, Any] = {
    "pushimagerepository": "", "pullimagerepository": [], "pullfirst": False, "keepimg": True, "push": False,
    "concurrency": 0, "compressiontype": "", "wait": False, "onlydeps": False, "nodeps": False, "solveroptions": {},
    "buildvaluesfile": [], "buildvalues": [], "packagetargetonly": False, "rebuild": False, "backendargs": [],
    "backendtype": "", "templatesfolder": [], "pushfinalimages": False, "pushfinalimagesforce": False,
    "generatefinalimages": False, "pushfinalimagesrepository": "", "runtimedatabase": None, "context": None,
}  # fmt: skip


def document(
    *, build_view: Package, runtime: Package, recipe: Recipe, file_name: str, sha256: Digest, compression: str,
    files: tuple[str, ...], content: Digest, epoch_s: int, seed: str, extra: Mapping[str, object],
    values: Mapping[str, object] = MappingProxyType({}),
) -> dict[str, Any]:  # fmt: skip
    """The whole metadata of one artifact. `extra` is our own block, under a key that luet ignores; `values` are those
    of `--values` (luet.md §3.3)."""
    build_time = go_time(epoch_s, content)
    return {
        "path": file_name,
        "dependencies": [],
        "compilespec": _spec(recipe, build_view, build_time, seed, values),
        "checksums": {"sha256": sha256.hex},
        "sourceassertion": [],
        "compressiontype": compression,
        "files": list(files),
        "packagecacheimage": "",
        "runtime": package_fields(runtime, build_time),
        "treebuild": dict(extra),
    }
