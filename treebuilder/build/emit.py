"""Artifacts leave the store: package file and metadata into the destination folder, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from treebuilder.annotations import Any
from treebuilder.archive.bounds import USUAL_BOUND
from treebuilder.build import metadata
from treebuilder.build.report import PackedFile
from treebuilder.errors import Place
from treebuilder.model.digest import Digest
from treebuilder.model.package import Package, PackageId, Recipe
from treebuilder.nodes.writing import write_yaml
from treebuilder.oci.store import Store
from treebuilder.records import record
from treebuilder.system.files import disk_errors, replacing, write_atomic
from treebuilder.tree.values import canonical

SUFFIXES = {"none": "", "gzip": ".gz", "zstd": ".zst"}


@record
class Outgoing:
    """One artifact to write: main or sub-package. `plain_bytes` is the length of its tar, `size_bytes` of it packed."""

    build_view: Package
    runtime: Package
    recipe: Recipe
    content: Digest
    blob: Digest
    size_bytes: int
    compression: str
    seed: str
    plan_key: Digest
    left_out: tuple[str, ...]
    plain_bytes: int


def file_name(id: PackageId, compression: str) -> str:
    return f"{id.fingerprint}.package.tar{SUFFIXES[compression]}"


def emit(
    out: Outgoing, folder: Path, store: Store, epoch_s: int, values: Mapping[str, object] | None = None,
    placing: Callable[[], None] = lambda: None,
) -> PackedFile:  # fmt: skip
    """Writes the package and its metadata, with the `values` of the build, unless both are there already.

    `placing` is called before a package's file is written.
    Raises IntegrityError for a bad blob.
    """
    folder.mkdir(parents=True, exist_ok=True)
    id = out.runtime.id
    path = folder / file_name(id, out.compression)
    packed = PackedFile(str(path), out.blob, out.content, out.size_bytes)
    meta = folder / f"{id.fingerprint}.metadata.yaml"
    given = [canonical(values)] if values else []
    stamp = json.dumps([out.blob.hex, out.plan_key.hex, _stat(path), _stat(meta), *given])
    noted = store.index.note("emitted", ascii(str(path.absolute())))
    if noted is not None and noted.decode() == stamp:
        return packed
    if not (noted is not None and json.loads(noted)[0] == out.blob.hex and json.loads(noted)[2] == _stat(path)):
        placing()
        _write_package(path, out, store)
    files = read_files(store, out.content)
    extra: dict[str, Any] = {"content": out.content.hex, "plan_key": out.plan_key.hex, "left_out": [*out.left_out]}
    if out.plain_bytes > USUAL_BOUND.most(path.stat().st_size):  # mostly holes: who unpacks it would not believe it
        extra["unpacked_bytes"] = str(out.plain_bytes)
    value = metadata.document(
        build_view=_placeless(out.build_view), runtime=_placeless(out.runtime), recipe=out.recipe,
        file_name=path.name, sha256=out.blob, compression=out.compression,
        files=() if out.runtime.hidden else files, content=out.content, epoch_s=epoch_s, seed=out.seed,
        extra=extra, values=values or {},
    )  # fmt: skip
    write_atomic(meta, write_yaml(value), sync=False)
    note = json.dumps([out.blob.hex, out.plan_key.hex, _stat(path), _stat(meta), *given])
    store.index.set_notes("emitted", {ascii(str(path.absolute())): note.encode()})
    return packed


def withdraw(packed: PackedFile, id: PackageId) -> None:
    """Removes what `emit` wrote."""
    path = Path(packed.path)
    with disk_errors(f"removing {path}", path.parent):
        path.with_name(f"{id.fingerprint}.metadata.yaml").unlink(missing_ok=True)
        path.unlink(missing_ok=True)


def _placeless(package: Package) -> Package:
    from treebuilder.records import replace

    return replace(package, where=Place(""))


def _write_package(path: Path, out: Outgoing, store: Store) -> None:
    with disk_errors(f"writing {path}", path.parent), replacing(path, sync=False) as file:
        store.copy_blob(out.blob, file)
    for suffix in SUFFIXES.values():  # the same package in another compression would be a second truth
        other = path.with_name(f"{out.runtime.id.fingerprint}.package.tar{suffix}")
        if other != path:
            other.unlink(missing_ok=True)


def _stat(path: Path) -> list[int] | None:
    try:
        info = path.stat()
    except FileNotFoundError:
        return None
    return [info.st_size, info.st_mtime_ns, info.st_ino]


def files_note(content: Digest, files: tuple[str, ...]) -> tuple[str, str, bytes]:
    """The names in an artifact as a note of the index, for its metadata."""
    return "files", content.hex, json.dumps(files).encode("utf-8", "surrogateescape")


def read_files(store: Store, content: Digest) -> tuple[str, ...]:
    noted = store.index.note("files", content.hex)
    value: Any = json.loads(noted) if noted is not None else []
    return tuple(str(name) for name in value)
