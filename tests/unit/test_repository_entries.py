"""Definitions and index entries say in YAML what the package is, under luet's JSON names."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from treebuilder.model.package import Package, PackageId, PackageRef
from treebuilder.repository.entries import definition, entry

TEXTS = st.text(st.characters(codec="utf-8"), max_size=9) | st.sampled_from(["1.0", "yes", "a\nb\n\nc\n", ">=1", "- x"])
REFS = st.lists(st.builds(PackageRef, TEXTS, TEXTS, TEXTS), max_size=2).map(tuple)
PAIRS = st.dictionaries(TEXTS, TEXTS, max_size=2).map(lambda found: tuple(sorted(found.items())))
PACKAGES = st.builds(
    Package, st.builds(PackageId, TEXTS, TEXTS, TEXTS), REFS, REFS, REFS, PAIRS, PAIRS, TEXTS, TEXTS,
    st.lists(TEXTS, max_size=2).map(tuple), st.booleans(), st.lists(TEXTS, max_size=2).map(tuple),
)  # fmt: skip


def ref(found: PackageRef) -> dict[str, Any]:
    known = {"category": found.category, "name": found.name, "version": found.version}
    return {"id": 0, "requires": [], "conflicts": [], "annotations": {}, "treedir": "", **known}


def described(package: Package, build_time: str = "") -> dict[str, Any]:
    """What luet's JSON of a package holds: six fields always, the others unless they are empty."""
    optional = {
        "use_flags": list(package.use_flags), "provides": [ref(r) for r in package.provides], "hidden": package.hidden,
        "description": package.description, "uri": list(package.uri), "license": package.license,
        "labels": dict(package.labels), "buildtimestamp": build_time,
    }  # fmt: skip
    return {
        **ref(PackageRef(package.id.category, package.id.name, package.id.version)),
        "requires": [ref(r) for r in package.requires], "conflicts": [ref(r) for r in package.conflicts],
        "annotations": dict(package.annotations), **{key: value for key, value in optional.items() if value},
    }  # fmt: skip


@given(PACKAGES)
@settings(max_examples=100, deadline=None)
def test_a_definition_says_all_of_a_package(package: Package) -> None:
    data = definition(package)
    value = yaml.safe_load(data)
    assert value == described(package)
    assert list(value) == sorted(value)


@given(PACKAGES, PACKAGES, TEXTS, st.lists(TEXTS, max_size=3))
@settings(max_examples=100, deadline=None)
def test_an_entry_is_one_item(runtime: Package, own: Package, text: str, files: list[str]) -> None:
    spec = {"env": [text], "image": text, "seed": "", "steps": ["a", text], "unpack": False, "package_dir": text}
    made = entry(
        runtime, own, text, spec, sha256="00", compression="zstd", files=files, cache_image="", path="p",
        ours={"content": text},
    )  # fmt: skip
    assert yaml.safe_load(b"index:\n" + made)["index"] == [{
        "checksums": {"sha256": "00"}, "compilationspec": {**spec, "package": described(own, text)},
        "compressiontype": "zstd", "dependencies": [], "files": files, "package_cacheimage": "", "path": "p",
        "runtime": described(runtime, text), "treebuild": {"content": text},
    }]  # fmt: skip
