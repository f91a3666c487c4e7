"""Definitions and index entries as YAML, line by line: under JSON names with sorted keys, as luet writes them.

What Go leaves out when it is empty is left out here (luet.md §6.2).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence

from treebuilder.annotations import Any
from treebuilder.model.package import Package, PackageRef
from treebuilder.nodes.writing import write_yaml

_PAD = "  "


@functools.lru_cache(16384)
def entry_text(text: str) -> str:
    """A text as a value; further lines of it are as deep as a value's may be."""
    return write_yaml({"a": text}, indent=2)[3:-1].decode()


def package_lines(package: Package, build_time: str = "") -> list[str]:
    """A package's map."""
    id = package.id
    lines = _pairs("annotations", package.annotations)
    if build_time:
        lines.append(f"buildtimestamp: {entry_text(build_time)}")
    lines.append(f"category: {entry_text(id.category)}")
    lines += _refs("conflicts", package.conflicts)
    if package.description:
        lines.append(f"description: {entry_text(package.description)}")
    if package.hidden:
        lines.append("hidden: true")
    lines.append("id: 0")
    if package.labels:
        lines += _pairs("labels", package.labels)
    if package.license:
        lines.append(f"license: {entry_text(package.license)}")
    lines.append(f"name: {entry_text(id.name)}")
    if package.provides:
        lines += _refs("provides", package.provides)
    lines += _refs("requires", package.requires)
    lines.append("treedir: ''")
    if package.uri:
        lines += _texts("uri", package.uri)
    if package.use_flags:
        lines += _texts("use_flags", package.use_flags)
    lines.append(f"version: {entry_text(id.version)}")
    return lines


def _pairs(key: str, pairs: Sequence[tuple[str, str]]) -> list[str]:
    if not pairs:
        return [f"{key}: {{}}"]
    return write_yaml({key: dict(pairs)}, sort_keys=True, indent=2).decode().split("\n")[:-1]


def _refs(key: str, refs: Sequence[PackageRef]) -> list[str]:
    if not refs:
        return [f"{key}: []"]
    return [f"{key}:", *(ref_text(ref.category, ref.name, ref.version) for ref in refs)]


@functools.lru_cache(16384)
def ref_text(category: str, name: str, version: str) -> str:
    """An item of a list of packages; its newlines are `nest`'s to indent."""
    return (
        f"- annotations: {{}}\n  category: {_deeper(category)}\n  conflicts: []\n  id: 0\n  name: {_deeper(name)}\n"
        f"  requires: []\n  treedir: ''\n  version: {_deeper(version)}"
    )


def _deeper(text: str) -> str:
    return entry_text(text).replace("\n", f"\n{_PAD}")


def _texts(key: str, texts: Sequence[str]) -> list[str]:
    return [f"{key}:", *(f"- {entry_text(text)}" for text in texts)] if texts else [f"{key}: []"]


def definition(package: Package) -> bytes:
    """A definition.yaml."""
    return ("\n".join(package_lines(package)) + "\n").encode()


def _nest(lines: Iterable[str], pad: str) -> str:
    """Lines, with `pad` before each. A line of a text may come to hold nothing but that: YAML takes it as empty."""
    return pad + "\n".join(lines).replace("\n", f"\n{pad}")


def entry(
    runtime: Package, own: Package, build_time: str, spec: Mapping[str, Any], *, sha256: str, compression: str,
    files: Sequence[str], cache_image: str, path: str, ours: Mapping[str, str],
) -> bytes:  # fmt: skip
    """One item of the list `index` in repository.meta.yaml. `spec` is compilationspec without its package, `own`."""
    before = {key: spec[key] for key in spec if key < "package"}
    after = {key: spec[key] for key in spec if key > "package"}
    lines = [
        f"checksums:\n  sha256: {entry_text(sha256)}",
        "compilationspec:",
        _nest(write_yaml(before, sort_keys=True, indent=2).decode().split("\n")[:-1], _PAD),
        "  package:",
        _nest(package_lines(own, build_time), _PAD + _PAD),
        _nest(write_yaml(after, sort_keys=True, indent=2).decode().split("\n")[:-1], _PAD),
        f"compressiontype: {entry_text(compression)}",
        "dependencies: []",
        *_texts("files", files),
        f"package_cacheimage: {entry_text(cache_image)}",
        f"path: {entry_text(path)}",
        "runtime:",
        _nest(package_lines(runtime, build_time), _PAD),
    ]
    if ours:
        lines.append(write_yaml({"treebuild": ours}, sort_keys=True, indent=2).decode()[:-1])
    return ("- " + _nest(lines, _PAD)[2:] + "\n").encode()
