"""Fetches and checks what describes a repository: index, tree, meta, and on request the recipes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path

from treebuilder.archive.bounds import Bound
from treebuilder.errors import ConfigError, IntegrityError, SpecError, TransportError, TreebuildError
from treebuilder.events import EventSink, Warned
from treebuilder.model.digest import Digest
from treebuilder.model.package import Finalizer, Package, PackageId
from treebuilder.oci.arriving import UNSEEN, Arriving, Undone
from treebuilder.oci.layout import unpack_into_store
from treebuilder.oci.store import Store
from treebuilder.records import replace
from treebuilder.repository import api
from treebuilder.repository.api import SIGNATURE_SUFFIX, RepositoryBackend, RepositorySource
from treebuilder.repository.bounds import bounded
from treebuilder.repository.definitions import read_definitions
from treebuilder.repository.disk import DiskBackend
from treebuilder.repository.http import HttpBackend
from treebuilder.repository.index import Artifact, RepoFile, RepositoryIndex, parse_index, parse_meta
from treebuilder.repository.known import Artifacts, Known, make, recall
from treebuilder.repository.patching import Patched
from treebuilder.repository.watching import ImageWatcher
from treebuilder.system import clock
from treebuilder.system.files import disk_errors
from treebuilder.system.process import Cancel

_MAX_ARTIFACT_BYTES = 64 << 30
_LAST = "repository-index"  # by address, what was last read; by key and name, the last revision that was believed


def open_backend(
    type: str, url: str, store: Store, cancel: Cancel, auth: tuple[tuple[str, str], ...] = (), *, loose: bool = False,
    insecure: tuple[str, ...] = (), watcher: ImageWatcher | None = None,
) -> RepositoryBackend:  # fmt: skip
    """`loose`: nobody signed it, so luet's own repositories in registries, which keep no digests, may be read.
    Plain HTTP is spoken with `insecure` registries; `watcher` is told of the images of those.

    Raises ConfigError for types that are not known.
    """
    if type == "disk":
        return DiskBackend(Path(url), store, cancel)
    if type == "http":
        return HttpBackend(url, store, cancel, dict(auth))
    if type in ("docker", "oci"):
        from treebuilder.repository.docker import DockerBackend

        return DockerBackend(url, store, cancel, dict(auth), insecure=insecure, loose=loose, watcher=watcher)
    raise ConfigError(
        f"the repository {url} is of the unknown type {type!r}", hint="known are disk, http and docker",
        reason="repository-type",
    )  # fmt: skip


class SyncedRepository:
    """A repository as it was when its index was read. Its files are fetched when they are first needed."""

    def __init__(
        self, source: RepositorySource, index: RepositoryIndex, backend: RepositoryBackend,
        others: tuple[RepositoryBackend, ...], store: Store, events: EventSink,
    ) -> None:  # fmt: skip
        self.source = source
        self.index = index
        self._backends = (backend, *others)
        self._store = store
        self._events = events
        self._patched = Patched(store, events, source.name)

    @cached_property
    def known(self) -> Known:
        """What is in it, by name. Raises TransportError, IntegrityError."""
        tree, meta = self._file("tree"), self._file("meta")
        found = recall(self._store, tree.sha256, meta.sha256)
        if found is not None:
            return found
        what = f"{self.source.name}: {tree.filename}"
        definitions = read_definitions(self._open(tree, api.MAX_TREE_BYTES), what)
        with disk_errors(f"indexing {what}", self._store.folder):
            return make(self._store, tree.sha256, meta.sha256, definitions, self._read_meta(meta))

    def close(self) -> None:
        """Lets go of files in the store: one that is open and deleted keeps a file system from being read-only."""
        if "known" in self.__dict__:
            self.known.close()

    @property
    def described(self) -> tuple[str, str]:
        """The digests of tree and meta, all that `known` is made of."""
        return self._file("tree").sha256.hex, self._file("meta").sha256.hex

    def _read_meta(self, file: RepoFile) -> Iterator[Artifact]:
        yield from parse_meta(self._meta_document(file), f"{self.source.name}: {file.filename}")

    def _meta_document(self, file: RepoFile) -> bytes:
        path = self._open(file, api.MAX_META_BYTES)
        what = f"{self.source.name}: {file.filename}"
        with path.open("rb") as source:
            for entry, content in bounded(source, what, max_bytes=api.MAX_META_BYTES):
                if entry.kind == "f" and entry.path == "repository.meta.yaml" and content is not None:
                    return content.read()
        raise IntegrityError(f"{what} holds no repository.meta.yaml")

    @cached_property
    def artifacts(self) -> Mapping[PackageId, Artifact]:
        """What can be fetched. The first of several entries of one package counts."""
        return Artifacts(self.known)

    def packages(self) -> tuple[Package, ...]:
        """Definitions of all packages, sorted by name, newest first."""
        self.known.read_all()
        names = dict.fromkeys(id.pkgname for id, _ in self.known.listing())
        return tuple(found.package for name in names for found in self.known.versions(name))

    def finalizer(self, package: PackageId) -> Finalizer | None:
        """Raises SpecError."""
        found = self.known.find(package)
        if found is None or not found.finalizer:
            return None
        from treebuilder.tree import read_finalizer

        file = f"{self.source.name}: {found.package.where.file.rpartition('/')[0]}/finalize.yaml"
        return read_finalizer(found.finalizer, found.package, file=file)

    def recipes(self) -> tuple[Path, ...]:
        """The folders of the recipes that were packed into the repository, one for each tree; none without."""
        if self.index.file("compilertree") is None:
            return ()
        folder = self._unpacked("compilertree")
        assert folder is not None
        return tuple(sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()))

    def build_values(self) -> Mapping[str, dict[str, object]]:
        """The template values that packages were built with, by fingerprint. Raises TransportError, IntegrityError."""
        import json

        file = self._file("meta")
        noted = self._store.index.note("build-values", file.sha256.hex)
        if noted is None:
            from treebuilder.repository.buildvalues import of_index

            what = f"{self.source.name}: {file.filename}"
            found = dict(of_index(self._meta_document(file), what))
            noted = json.dumps(found).encode()
            self._store.index.set_notes("build-values", {file.sha256.hex: noted})
        known: dict[str, dict[str, object]] = json.loads(noted)
        return known

    def fetch(self, artifact: Artifact, progress: Arriving = UNSEEN) -> Path:
        """A package's archive as a checked blob; `progress` sees it, or a patch, come.

        Raises TransportError, IntegrityError.
        """
        file = RepoFile(artifact.path, artifact.sha256, artifact.compression)
        known = self._store.has_blob(artifact.sha256)
        if not known:
            made = self._patched.known(artifact) or self._patched.make(artifact, self._backends[0], progress)
            if made is not None:
                return made
        path = self._open(file, _MAX_ARTIFACT_BYTES, progress)
        self._patched.remember(artifact, artifact.sha256)
        if not known:  # for whoever cleans up: nothing else here made it
            self._store.index.set_notes("fetched", {artifact.sha256.hex: b"1"})
        return path

    def bound(self, artifact: Artifact) -> Bound:
        """What an archive may unpack to. What the index promises counts where it is signed, or a folder here."""
        believed = self.source.trust.keys or self.source.type == "disk"
        return self._store.bound.promised(artifact.unpacked_bytes if believed else 0)

    def _file(self, key: str) -> RepoFile:
        file = self.index.file(key)
        assert file is not None, key  # parse_index saw to it
        return file

    def _open(self, file: RepoFile, max_bytes: int, progress: Arriving = UNSEEN) -> Path:
        """From the first mirror that has it."""
        for position, backend in enumerate(self._backends, 1):
            shown = Undone(progress)
            try:
                return backend.open(file.filename, file.sha256, max_bytes, shown)
            except (TransportError, IntegrityError) as err:
                if position == len(self._backends):
                    raise
                shown.undo()  # the next one says again what is there
                self._events.emit(Warned(f"{self.source.name}: {err.message}; the next mirror is asked"))
        raise AssertionError("the loop returns or raises")

    def _unpacked(self, key: str) -> Path | None:
        """A tree's archive as a folder of the store; unpacked once."""
        file = self._file(key)
        noted = self._store.index.note("repository-tree", file.sha256.hex)
        if noted is not None:
            known = Digest(noted.decode())
            if self._store.has_tree(known):
                return self._store.tree_path(known)
        path = self._open(file, api.MAX_TREE_BYTES)
        what = f"{self.source.name}: {file.filename}"
        with path.open("rb") as source:
            for _ in bounded(source, what):
                continue
            source.seek(0)
            content = unpack_into_store(source, self._store, what)
        self._store.index.set_notes("repository-tree", {file.sha256.hex: content.hex.encode()})
        return self._store.tree_path(content)


def sync(
    source: RepositorySource, store: Store, events: EventSink, cancel: Cancel, *, now_s: int | None = None,
    watcher: ImageWatcher | None = None, whole: bool = False, fresh: bool = False,
) -> SyncedRepository:  # fmt: skip
    """Reads a repository's index from its first mirror that answers with one that is to be believed.

    A source without a name gets the index's. `now_s` is the time in epoch seconds that signatures are judged by.
    `watcher` is told of what comes out of registries. `whole`: an index whose tree or meta cannot be had is none.
    `fresh`: what was last read does not stand in for what does not answer, even of a source that is cached.
    Raises ConfigError (type; reason "no-keys"), TransportError, IntegrityError (also the reasons of
    `trust.faults`); SpecError (reason "no-repository") when there is none.
    """
    if not source.urls:
        raise SpecError(f"the repository {source.name} has no address", where=source.where, reason="no-repository")
    loose = not source.trust.keys
    try:
        backends = [
            open_backend(source.type, url, store, cancel, source.auth, loose=loose, watcher=watcher)
            for url in source.urls
        ]
    except ConfigError as err:  # it speaks of an address: whose that is, and where it is said, is known here
        err.message = f"{source.name}: {err.message}" if source.name else err.message
        err.where = err.where or source.where
        raise
    _may_be_used(source, events)
    reading = _Reading(source, store, events, cancel, clock.now_epoch_s() if now_s is None else now_s, whole=whole)
    failure: TreebuildError | None = None
    refused: TreebuildError | None = None

    def ask_next(err: TreebuildError, position: int) -> None:
        if position + 1 < len(backends):
            events.emit(Warned(f"{err.message}; the next mirror is asked", source.where, hint=err.hint))

    for position, backend in enumerate(backends):
        try:
            data = backend.index(source.reference)
            signed = backend.index(source.reference + SIGNATURE_SUFFIX) if data and source.trust.keys else None
        except TransportError as err:
            failure = failure or err
            ask_next(err, position)
            continue
        except IntegrityError as err:
            refused = refused or err
            ask_next(err, position)
            continue
        if data is None:
            continue
        try:
            return reading.accepted(data, signed, backends, position)
        except TransportError as err:
            failure = failure or err
            ask_next(err, position)
        except IntegrityError as err:
            refused = refused or err
            ask_next(err, position)
    if refused is not None:
        raise refused
    if failure is not None:
        last = reading.last() if source.cached and not fresh else None
        if last is None:
            raise failure
        events.emit(Warned(f"{source.name}: {failure.message}; what was last read of it counts"))
        return reading.accepted(*last, backends, 0)
    name = f" {source.name}" if source.name else ""
    raise SpecError(
        f"there is no repository{name} at {', '.join(source.urls)}", where=source.where,
        hint=f"no {source.reference} was found there; treebuild create-repo writes it", reason="no-repository",
    )  # fmt: skip


def _may_be_used(source: RepositorySource, events: EventSink) -> None:
    """What becomes of a repository that comes over a network, and nobody signs. Raises ConfigError."""
    name = source.name or source.urls[0]
    if source.trust.unsigned == "insecure":
        events.emit(Warned(f"{name} is used without being verified, as --insecure says", source.where, standing=True))
        return
    if source.trust.keys or source.type == "disk" or source.trust.unsigned == "accept":
        return
    said = f"the repository {name} comes over a network, and no keys say whose word counts for it"
    hint = "trust: {keys: [FILE]} beside its urls, keys in /etc/treebuild/keys.d, or trust: none"
    if source.trust.unsigned == "refuse":
        raise ConfigError(said, where=source.where, hint=hint, reason="no-keys")
    events.emit(Warned(said, source.where, hint, standing=True))


class _Reading:
    """One repository while it is synced: what is believed of it, and what was before."""

    def __init__(
        self, source: RepositorySource, store: Store, events: EventSink, cancel: Cancel, now_s: int, *, whole: bool
    ) -> None:  # fmt: skip
        self._source, self._store, self._events, self._cancel = source, store, events, cancel
        self._now_s, self._whole = now_s, whole
        self._name = source.trust.name or source.name
        self._key = f"{source.urls[0]} {source.reference}"
        self._what = f"the repository {source.name or source.urls[0]}"
        # by keys and name, not by address: another mirror is the same repository
        self._id = Digest.of(f"{self._name} {source.reference}".encode("utf-8", "surrogatepass")).hex

    def accepted(
        self, data: bytes, signed: bytes | None, backends: list[RepositoryBackend], at: int
    ) -> SyncedRepository:
        """The repository of an index that is believed and can be read; both are noted then.

        Raises IntegrityError, and TransportError where all of it is wanted.
        """
        source = self._source
        with self._alone():
            notes = self._believed(data, signed)
            index = parse_index(data, f"{source.name or source.urls[at]}: {source.reference}")
            named = replace(source, name=source.name or index.name or "local")
            others = (*backends[at + 1 :], *backends[:at])
            found = SyncedRepository(named, index, backends[at], others, self._store, self._events)
            if self._whole:
                _ = found.known
            if source.cached and source.type != "disk":
                notes |= {self._key: data, self._key + SIGNATURE_SUFFIX: signed or b""}
            if any(self._store.index.note(_LAST, key) != text for key, text in notes.items()):
                self._store.index.set_notes(_LAST, notes)  # all or none
        return found

    def last(self) -> tuple[bytes, bytes | None] | None:
        """The index that was last read, with its signature: it is judged as it would be now."""
        data = self._store.index.note(_LAST, self._key)
        return None if data is None else (data, self._store.index.note(_LAST, self._key + SIGNATURE_SUFFIX))

    def _alone(self) -> AbstractContextManager[None]:
        """Nobody may note an older revision after a newer one was noted."""
        if not self._source.trust.keys:
            return nullcontext()
        return self._store.single_flight(f"trust-{self._id}", self._cancel)

    def _believed(self, data: bytes, signed: bytes | None) -> dict[str, bytes]:
        """What is to be noted of an index that is believed, by key. Raises IntegrityError."""
        trust = self._source.trust
        if not trust.keys:
            return {}
        from treebuilder.trust.index import Seen, believe

        noted = [self._store.index.note(_LAST, f"seen {key.id} {self._id}") for key in trust.keys]
        believed = believe(
            data, signed, trust, [Seen.parse(found) for found in noted if found is not None],
            reference=self._source.reference, name=self._name, now_s=self._now_s, what=self._what,
        )  # fmt: skip
        seen = Seen(believed.statement.revision, believed.statement.index).text()
        return {f"seen {key} {self._id}": seen for key in believed.signers}
