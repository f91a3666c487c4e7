"""Composes a repository out of trees and built packages (luet.md §6.1).

Equal input gives equal bytes: times are the epoch, and the revision grows only when something else changed, unless
`CreateOptions.always` asks for luet's way.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.archive.compress import SUFFIXES
from treebuilder.errors import ConfigError, IntegrityError
from treebuilder.events import EventSink, Warned
from treebuilder.model.digest import Digest
from treebuilder.model.package import Package, PackageId
from treebuilder.oci.store import Store
from treebuilder.records import field, record, replace
from treebuilder.repository.api import INDEX_NAME, SIGNATURE_SUFFIX, RepositoryBackend
from treebuilder.repository.index import (
    RepoFile,
    RepositoryIndex,
    index_document,
    meta_document,
    parse_index,
    write_document,
)
from treebuilder.repository.metadata import BuiltPackage, BuiltPackages, PackageFolder, scan_packages
from treebuilder.repository.packing import compiler_tree, runtime_tree, single_file
from treebuilder.repository.remembered import Remembered
from treebuilder.repository.together import read_together
from treebuilder.tree import Tree
from treebuilder.tree.cells import Cell
from treebuilder.tree.files import read_text

if TYPE_CHECKING:
    from treebuilder.trust.index import Signing

_TYPES = ("disk", "http", "docker")
_KEYS = ("compilertree", "meta", "tree")
Entries = Callable[[Iterable[bytes]], Iterable[bytes]]


@record
class CreateOptions:
    """What a repository is to be. `epoch_s` becomes the time of everything, and of `last_update` unless that is given.

    `snapshot` writes a second index of that name, with its own copies of tree and meta; "" for none. `always`: every
    run is a new revision, whether anything changed or not.
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
    last_update_s: int | None = None
    always: bool = False


@record
class Created:
    """`changed` is False when the repository already was what it would become. `packages` are sorted.

    `signed` are the ids of the keys that signed, and `expires_s` is until when, in epoch seconds; 0 for ever. `seen`
    is what was in the folder of packages.
    """

    index: RepositoryIndex
    packages: tuple[PackageId, ...]
    changed: bool
    index_sha256: Digest
    signed: tuple[str, ...] = ()
    expires_s: int = 0
    seen: PackageFolder | None = field(default=None, compare=False)


@record
class Trees:
    """The trees of a repository: its own, and those that only add definitions. `fingerprint` changes with their files.

    `roots` are the folders of its own. `load` reads them all, when something changed. `without` are folders that belong
    to no recipes, wherever they lie: those of what is built and written.
    """

    fingerprint: str
    roots: tuple[str, ...]
    load: Callable[[], tuple[Tree, tuple[Tree, ...]]]
    without: tuple[str, ...] = ()


def create_repository(
    options: CreateOptions, trees: Trees, output: RepositoryBackend, events: EventSink, store: Store | None = None,
    signing: Signing | None = None, entries: Entries = iter,
) -> Created:  # fmt: skip
    """Writes index, tree, recipes and meta. Through `store`, what did not change is neither read nor written again.

    With `signing` the signatures of each index are written just before it; they cover all packages, for the index
    names the digest of the meta, and the meta those of the packages. `entries` may change what the meta says of
    packages, whose archives need not be stored as they were built.
    Raises SpecError (reason "missing-packages", "missing-file"), IntegrityError (metadata), ConfigError, NoSpace.
    """
    _check(options)
    if signing is not None:
        signing.check()
        if options.reset_revision:
            raise ConfigError("the revision of a signed repository only grows", hint="leave --reset-revision out")
    folder = scan_packages(options.packages)
    memory = Remembered(store, options, trees.fingerprint, folder, output.stat)
    known = memory.recall()
    if known is None:
        ids, files = _compose(options, trees, folder, output, events, store, entries)
        memory.keep(ids, files)
    else:
        ids, files = known
    index, changed = _index(options, files, output, events)
    if signing is not None:
        beyond = _beyond_signed(index, output)
        index, changed = beyond, changed or beyond != index
    document = write_document(index_document(index))
    if options.snapshot:
        _snapshot(options.snapshot, index, output, signing)
    if signing is None:
        _warn_of_old_signature(document, output, events)
        output.commit(INDEX_NAME, document)
        return Created(index, ids, changed, Digest.of(document), seen=folder)
    _sign(INDEX_NAME, document, index, output, signing)
    output.commit(INDEX_NAME, document)
    signers = tuple(sorted({key.public.id for key in signing.keys}))
    return Created(index, ids, changed, Digest.of(document), signers, signing.expires_s, folder)


def _check(options: CreateOptions) -> None:
    if options.type not in _TYPES:
        raise ConfigError(
            f"repositories of type {options.type} cannot be written yet", reason="repository-type",
            hint="--type disk, http or docker",
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
    if len(set(file_names(options).values())) < len(_KEYS):
        raise ConfigError("two of the repository's files would have the same name")


def file_names(options: CreateOptions) -> dict[str, str]:
    """The files that the index names, by its keys."""
    return {
        "compilertree": "compilertree.tar.gz",
        "meta": options.meta_filename + SUFFIXES[options.meta_compression],
        "tree": options.tree_filename + SUFFIXES[options.tree_compression],
    }


def _compose(
    options: CreateOptions, trees: Trees, folder: PackageFolder, output: RepositoryBackend, events: EventSink,
    store: Store | None, entries: Entries,
) -> tuple[tuple[PackageId, ...], dict[str, RepoFile]]:  # fmt: skip
    """Reads everything and writes all files but the index."""
    reader = BuiltPackages(folder, store)

    def definitions(chosen: Mapping[PackageId, tuple[Package, str]]) -> bytes:
        return runtime_tree((chosen[id] for id in sorted(chosen)), options.tree_compression, options.epoch_s)

    def defined() -> tuple[dict[PackageId, tuple[Package, str]], bytes]:
        tree, others = trees.load()
        chosen = _runtime_packages((tree, *others), folder.metadata)
        return chosen, b"" if options.from_metadata else definitions(chosen)

    (chosen, runtime), read, recipes = read_together(
        reader,
        tuple(folder.metadata),
        lambda: compiler_tree(trees.roots, "gzip", options.epoch_s, trees.without),
        defined,
    )
    reader.save()
    built: dict[PackageId, BuiltPackage] = {}
    for package in read.values():
        if package.id not in chosen and options.from_metadata:
            chosen[package.id] = (package.runtime(), "")
        if package.id in chosen:
            built[package.id] = package
    left_out = len(folder.metadata) - len(built)
    if left_out:
        message = f"{left_out} built packages are in none of the trees and are left out"
        events.emit(Warned(message, hint="--from-metadata takes them in"))
    ids = tuple(sorted(chosen))
    meta = meta_document(entries(built[id].entry for id in ids))
    made = {
        "compilertree": recipes,
        "meta": single_file("repository.meta.yaml", meta, options.meta_compression, options.epoch_s),
        "tree": runtime or definitions(chosen),
    }
    kinds = {"compilertree": "gzip", "meta": options.meta_compression, "tree": options.tree_compression}
    names = file_names(options)
    for key in _KEYS:
        output.put(names[key], made[key])
    return ids, {key: RepoFile(names[key], Digest.of(made[key]), kinds[key]) for key in _KEYS}


def _runtime_packages(trees: tuple[Tree, ...], wanted: Mapping[str, str]) -> dict[PackageId, tuple[Package, str]]:
    """Packages of wanted fingerprints and the texts of their finalizers; the first tree that has one counts."""
    found: dict[PackageId, tuple[Package, str]] = {}
    for tree in trees:
        for cell in tree.cells:
            if cell.id.fingerprint in wanted and cell.id not in found:
                found[cell.id] = cell.definition(), _finalizer(cell)
        for cell in tree.cells:
            for sub in cell.subs():
                if sub.id.fingerprint in wanted:
                    found.setdefault(sub.id, (sub, ""))
    return found


def _finalizer(cell: Cell) -> str:
    """The text of the finalize.yaml beside a package's definition. Raises SpecError."""
    path = f"{cell.path}/finalize.yaml"
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return ""
    # what a link leads to is the tree's to judge
    return read_text(path) if stat.S_ISREG(mode) else cell.package().finalize


def _index(
    options: CreateOptions, files: Mapping[str, RepoFile], output: RepositoryBackend, events: EventSink
) -> tuple[RepositoryIndex, bool]:
    """The new index, and whether it differs from the one that is there."""
    updated = options.epoch_s if options.last_update_s is None else options.last_update_s
    fresh = RepositoryIndex(
        options.name, options.description, options.type, options.urls, 1, str(updated), tuple(sorted(files.items()))
    )
    present = output.index(INDEX_NAME)
    if present is None:
        return fresh, True
    try:
        before = parse_index(present, INDEX_NAME)
    except IntegrityError as err:
        events.emit(Warned(f"the index that is there cannot be read and is replaced: {err.message}"))
        return fresh, True
    if before.name != options.name:
        events.emit(Warned(f"the repository {before.name} that is there becomes {options.name}"))
    if options.reset_revision:
        return fresh, fresh != before
    if not options.always and replace(fresh, revision=before.revision) == before:
        return before, False
    return replace(fresh, revision=before.revision + 1), True


def _snapshot(id: str, index: RepositoryIndex, output: RepositoryBackend, signing: Signing | None) -> None:
    """Copies of everything under names that later revisions leave alone."""
    for _, file in index.files:
        output.copy(file.filename, f"{id}-{file.filename}")
    renamed = tuple((key, replace(file, filename=f"{id}-{file.filename}")) for key, file in index.files)
    document = write_document(index_document(replace(index, files=renamed)))
    if signing is not None:
        # who asks for a snapshot asks for an old state: it stands for nothing else, and needs no end
        _sign(f"{id}-{INDEX_NAME}", document, index, output, replace(signing, expires_s=0))
    output.commit(f"{id}-{INDEX_NAME}", document)


# signatures -----------------------------------------------------------------------------------------------------------
def _sign(reference: str, document: bytes, index: RepositoryIndex, output: RepositoryBackend, signing: Signing) -> None:
    """Writes the signatures of a document that is not there yet; those of the one that is there stay with them."""
    from treebuilder.trust.index import Statement, signature_document

    said = Statement(
        index.name, reference, Digest.of(document), index.revision, signing.expires_s, signing.threshold
    )  # fmt: skip
    name = reference + SIGNATURE_SUFFIX
    present = output.index(reference)
    beside = None if present is None else Digest.of(present)
    output.commit(name, signature_document(said, signing, output.index(name), beside))


def _beyond_signed(index: RepositoryIndex, output: RepositoryBackend) -> RepositoryIndex:
    """The index with a revision that clients take after what was signed before, whatever became of that index."""
    from treebuilder.trust.index import spoken_of

    seen = spoken_of(output.index(INDEX_NAME + SIGNATURE_SUFFIX))
    last = max((found.revision for found in seen), default=0)
    same = Digest.of(write_document(index_document(index)))
    if index.revision < last or any(found.revision == last == index.revision and found.index != same for found in seen):
        return replace(index, revision=last + 1)
    return index


def _warn_of_old_signature(document: bytes, output: RepositoryBackend, events: EventSink) -> None:
    """A signature that no longer fits is worse than none, where nobody knows of it."""
    before = output.index(INDEX_NAME)
    if before is None or before == document or output.index(INDEX_NAME + SIGNATURE_SUFFIX) is None:
        return
    events.emit(
        Warned(
            "the repository was signed, and this revision is not: clients with keys refuse it",
            hint="--sign KEY signs it",
        )
    )
