"""Composes a repository out of trees and built packages (luet.md §6.1).

Equal input gives equal bytes: times are the epoch, and the revision grows only when something else changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from treebuilder.archive.compress import SUFFIXES
from treebuilder.errors import ConfigError, IntegrityError
from treebuilder.events import EventSink, Warned
from treebuilder.model.digest import Digest
from treebuilder.model.package import Package, PackageId
from treebuilder.records import record, replace
from treebuilder.repository.api import INDEX_NAME, RepositoryBackend
from treebuilder.repository.index import RepoFile, RepositoryIndex, index_document, parse_index, write_document
from treebuilder.repository.metadata import BuiltPackage, metadata_files, read_built
from treebuilder.repository.packing import compiler_tree, runtime_tree, single_file
from treebuilder.tree import Tree

_TYPES = ("disk", "http")


@record
class CreateOptions:
    """What a repository is to be. `epoch_s` becomes the time of everything and `last_update`.

    `snapshot` writes a second index of that name, with its own copies of tree and meta; "" for none.
    """

    name: str
    description: str
    packages: Path
    urls: tuple[str, ...] = ()
    type: str = "disk"
    tree_compression: str = "gzip"
    tree_filename: str = "tree.tar"
    meta_compression: str = "none"
    meta_filename: str = "repository.meta.yaml.tar"
    reset_revision: bool = False
    snapshot: str = ""
    from_metadata: bool = False
    epoch_s: int = 0


@record
class Created:
    """`changed` is False when the repository already was what it would become. `packages` are sorted."""

    index: RepositoryIndex
    packages: tuple[PackageId, ...]
    changed: bool
    index_sha256: Digest


def create_repository(
    options: CreateOptions, tree: Tree, others: tuple[Tree, ...], output: RepositoryBackend, events: EventSink
) -> Created:
    """Writes index, tree, recipes and meta. `others` are the trees of repositories, which only add definitions.

    Raises SpecError (reason "missing-packages", "missing-file"), IntegrityError (metadata), ConfigError, NoSpace.
    """
    _check(options)
    metadata = metadata_files(options.packages)
    runtime = _runtime_packages((tree, *others))
    chosen = {id: found for id, found in runtime.items() if id.fingerprint in metadata}
    built: dict[PackageId, BuiltPackage] = {}
    for fingerprint, path in metadata.items():
        package = read_built(path, options.packages)
        if package.id.fingerprint != fingerprint:
            raise IntegrityError(f"{path} describes {package.id}, which its name does not say")
        if package.id not in chosen and options.from_metadata:
            chosen[package.id] = (package.runtime, "")
        if package.id in chosen:
            built[package.id] = package
    left_out = len(metadata) - len(built)
    if left_out:
        message = f"{left_out} built packages are in none of the trees and are left out"
        events.emit(Warned(message, hint="--from-metadata takes them in"))
    ids = sorted(chosen)
    files = _files(options, tree, [chosen[id] for id in ids], [built[id] for id in ids])
    index, changed = _index(options, files, output, events)
    for name, data in files.values():
        output.put(name, data)
    document = write_document(index_document(index))
    if options.snapshot:
        _snapshot(options.snapshot, index, files, output)
    output.commit(INDEX_NAME, document)
    return Created(index, tuple(ids), changed, Digest.of(document))


def _check(options: CreateOptions) -> None:
    if options.type not in _TYPES:
        raise ConfigError(
            f"repositories of type {options.type} cannot be written yet", reason="repository-type",
            hint="--type disk or --type http",
        )  # fmt: skip
    names = (options.tree_filename, options.meta_filename, options.snapshot)
    if any("/" in name or name.startswith(".") for name in names) or not all(names[:2]):
        raise ConfigError("names of a repository's files cannot hold slashes or begin with a dot")
    for text in (options.name, options.description, *options.urls, *names):
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            raise ConfigError(f"{text!a} is not UTF-8, and an index is")
    for kind in (options.tree_compression, options.meta_compression):
        if kind not in SUFFIXES:
            raise ConfigError(f"unknown compression {kind!r}", hint="none, gzip or zstd")


def _runtime_packages(trees: tuple[Tree, ...]) -> dict[PackageId, tuple[Package, str]]:
    """Every package of the trees and the text of its finalizer; the first tree that has one counts."""
    found: dict[PackageId, tuple[Package, str]] = {}
    for tree in trees:
        packages = tree.runtime()
        for name in packages.names():
            for package in packages.versions(name):
                home = tree.get(package.id)
                found.setdefault(package.id, (package, home.finalize if home is not None else ""))
    return found


def _files(
    options: CreateOptions, tree: Tree, packages: list[tuple[Package, str]], built: list[BuiltPackage]
) -> dict[str, tuple[str, bytes]]:
    """Names and bytes of the files that the index names, by its keys."""
    epoch_s = options.epoch_s
    meta = write_document({"index": [package.entry for package in built]})
    return {
        "compilertree": ("compilertree.tar.gz", compiler_tree(tree.roots, "gzip", epoch_s)),
        "meta": (
            options.meta_filename + SUFFIXES[options.meta_compression],
            single_file("repository.meta.yaml", meta, options.meta_compression, epoch_s),
        ),
        "tree": (
            options.tree_filename + SUFFIXES[options.tree_compression],
            runtime_tree(packages, options.tree_compression, epoch_s),
        ),
    }


def _index(
    options: CreateOptions, files: Mapping[str, tuple[str, bytes]], output: RepositoryBackend, events: EventSink
) -> tuple[RepositoryIndex, bool]:
    """The new index, and whether it differs from the one that is there."""
    kinds = {"compilertree": "gzip", "meta": options.meta_compression, "tree": options.tree_compression}
    described = tuple((key, RepoFile(name, Digest.of(data), kinds[key])) for key, (name, data) in sorted(files.items()))
    fresh = RepositoryIndex(
        options.name, options.description, options.type, options.urls, 1, str(options.epoch_s), described
    )
    present = output.index(INDEX_NAME)
    if present is None:
        return fresh, True
    try:
        before = parse_index(present, INDEX_NAME)
    except IntegrityError as err:
        events.emit(Warned(f"the index that is there cannot be read and is replaced: {err.message}"))
        return fresh, True
    if options.reset_revision:
        return fresh, fresh != before
    if replace(fresh, revision=before.revision) == before:
        return before, False
    return replace(fresh, revision=before.revision + 1), True


def _snapshot(
    id: str, index: RepositoryIndex, files: Mapping[str, tuple[str, bytes]], output: RepositoryBackend
) -> None:
    """Copies of everything under names that later revisions leave alone."""
    for name, data in files.values():
        output.put(f"{id}-{name}", data)
    renamed = tuple((key, replace(file, filename=f"{id}-{file.filename}")) for key, file in index.files)
    value: dict[str, Any] = index_document(replace(index, files=renamed))
    output.commit(f"{id}-{INDEX_NAME}", write_document(value))
