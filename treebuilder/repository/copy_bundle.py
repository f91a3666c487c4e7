"""A repository in one tar file, for where no network leads: the files of a folder, under their names.

It is written whole and replaced by renaming. Read, it goes through once into the store, every file under its digest.
"""

from __future__ import annotations

import hashlib
import io
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from treebuilder.annotations import IO
from treebuilder.archive.bounds import USUAL_BOUND
from treebuilder.archive.compress import decompressed
from treebuilder.archive.entry import Entry
from treebuilder.archive.reading import entries
from treebuilder.archive.tar import write_entries
from treebuilder.errors import ConfigError, IntegrityError, TransportError, TreebuildError, UnsafeArchive
from treebuilder.model.digest import Digest
from treebuilder.oci.store import Store
from treebuilder.repository.api import INDEX_NAME, MAX_INDEX_BYTES, SIGNATURE_SUFFIX
from treebuilder.repository.copying import MAX_PACKAGE_BYTES, SNAPSHOT_SUFFIX, Documents, Piece, State
from treebuilder.repository.docker import ARCHIVE
from treebuilder.repository.plain import open_plain
from treebuilder.system.files import disk_errors, remove_unfinished, replacing
from treebuilder.system.process import Cancel

_MAX_FILES = 1_000_000
_CHUNK = 1 << 20
_FILES = (INDEX_NAME, "repository.meta.yaml", "tree.tar")  # parts of the names of a repository's own


class BundleSource:
    """Implements `Source` over a tar file, which is read when it is made. Raises IntegrityError, TransportError."""

    def __init__(self, path: Path, store: Store, cancel: Cancel) -> None:
        self._path, self._store, self._cancel = path, store, cancel
        self._files: dict[str, Digest] = {}
        try:
            with open_plain(path) as source, disk_errors(f"reading {path}", store.folder):
                for entry, content in entries(decompressed(source, store.bound, str(path)), str(path)):
                    self._take(entry, content)
        except FileNotFoundError as err:
            raise TransportError(f"there is no file {path}") from err
        except UnsafeArchive as err:
            raise IntegrityError(err.message) from err

    def _take(self, entry: Entry, content: IO[bytes] | None) -> None:
        if entry.kind == "d":
            return
        if entry.kind != "f" or content is None or entry.path in self._files or len(self._files) >= _MAX_FILES:
            raise IntegrityError(f"{self._path} is no bundle of a repository: it holds {entry.path!r}")
        seen, size = hashlib.sha256(), 0
        with self._store.part() as part:
            with part.open("wb") as out:
                while data := content.read(_CHUNK):
                    self._cancel.check()
                    size += len(data)
                    if size > MAX_PACKAGE_BYTES:
                        raise IntegrityError(f"{self._path}: {entry.path} is longer than {MAX_PACKAGE_BYTES} bytes")
                    seen.update(data)
                    out.write(data)
            found = Digest(seen.hexdigest())
            if not self._store.has_blob(found):
                self._store.add_blob_file(part, found)
                self._store.index.set_notes("fetched", {found.hex: b"1"})
        self._files[entry.path] = found

    def references(self) -> tuple[str, ...]:
        """The newest index and those of snapshots, the newest name first."""
        snapshots = sorted((name for name in self._files if name.endswith(SNAPSHOT_SUFFIX)), reverse=True)
        return (*([INDEX_NAME] if INDEX_NAME in self._files else []), *snapshots)

    def index(self, reference: str) -> bytes | None:
        found = self._files.get(reference)
        if found is None:
            return None
        path = self._store.blob_path(found)
        if path.stat().st_size > MAX_INDEX_BYTES:
            raise IntegrityError(f"{self._path}: {reference} is too long for an index")
        return path.read_bytes()

    def open(self, name: str, sha256: Digest, max_bytes: int) -> Path:
        found = self._files.get(name)
        if found is None:
            raise TransportError(f"{self._path} holds no {name}")
        if found != sha256:
            raise IntegrityError(f"{self._path}: {name} is {found}, and its repository promises {sha256}")
        path = self._store.blob_path(found)
        if path.stat().st_size > max_bytes or not self._store.verify_blob(found):
            raise IntegrityError(f"{self._path}: {name} is longer than {max_bytes} bytes, or was lost: try again")
        return path

    def names(self) -> tuple[str, ...]:
        """All files, sorted."""
        return tuple(sorted(self._files))

    def holds(self, states: Sequence[State], documents: Mapping[str, bytes]) -> bool:
        """Whether it is the bundle of these states and documents, and of nothing else."""
        wanted = {name: Digest.of(data) for name, data in documents.items()}
        for state in states:
            wanted |= {piece.name: piece.sha256 for piece in state.pieces}
            wanted[state.reference] = Digest.of(state.index)
            if state.signature is not None:
                wanted[state.reference + SIGNATURE_SUFFIX] = Digest.of(state.signature)
        return wanted == self._files


class BundlePlace:
    """Implements `Destination`. Equal input gives equal bytes. `documents` are those that will be published.

    Raises ConfigError for a file that is there and no bundle.
    """

    by_name = True

    def __init__(self, path: Path, store: Store, cancel: Cancel, documents: Documents) -> None:
        self._path, self._store, self._cancel = path, store, cancel
        self._documents = documents
        self._brought: dict[str, Path] = {}
        self._same = False
        with disk_errors(f"reading {path}"):
            _refuse_foreign(path)

    def document(self, name: str) -> bytes | None:
        return None  # all of it is written anew

    def missing(self, states: Sequence[State]) -> tuple[Piece, ...]:
        if self._path.is_file():
            try:
                present = BundleSource(self._path, self._store, self._cancel)
                self._same = present.holds(states, self._documents(frozenset(state.reference for state in states)))
            except IntegrityError:
                self._same = False  # what is broken is written anew
        return () if self._same else tuple(dict.fromkeys(piece for state in states for piece in state.pieces))

    def add(self, piece: Piece, source: Path) -> int:
        self._brought[piece.name] = source
        return source.stat().st_size

    def publish(self, states: Sequence[State], documents: Mapping[str, bytes]) -> bool:
        if self._same:
            return False
        digests = {piece.name: piece.sha256 for state in states for piece in state.pieces}
        documents = dict(sorted(documents.items()))
        for state in states:
            if state.signature is not None:
                documents[state.reference + SIGNATURE_SUFFIX] = state.signature
            documents[state.reference] = state.index

        def sized(name: str) -> int:
            return len(documents[name]) if name in documents else self._brought[name].stat().st_size

        def opened(entry: Entry) -> IO[bytes]:
            self._cancel.check()
            if entry.path in documents:
                return io.BytesIO(documents[entry.path])
            with self._brought[entry.path].open("rb") as source:
                if hashlib.file_digest(source, "sha256").hexdigest() != digests[entry.path].hex:
                    raise IntegrityError(f"{entry.path} is not what its repository promises")
            return self._brought[entry.path].open("rb")

        with disk_errors(f"writing {self._path}", self._path.parent):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            remove_unfinished(self._path.parent, self._path.name)
            with replacing(self._path) as out:
                names = [*sorted(digests), *documents]
                packed = (Entry(name, "f", stat.S_IMODE(0o644), 0, 0, sized(name), 0) for name in names)
                write_entries(packed, out, opened, whiteouts=False)
        return True


def _refuse_foreign(path: Path) -> None:
    """Raises ConfigError, OSError. A bundle that broke off on its way here has no index."""
    if not path.exists() or (path.is_file() and path.stat().st_size == 0):
        return
    try:
        with open_plain(path) as source:
            for entry, _ in entries(decompressed(source, USUAL_BOUND), str(path)):
                file = "/" not in entry.path and any(part in entry.path for part in _FILES)
                if file or ARCHIVE in entry.path:
                    return
    except TreebuildError:
        pass  # whatever it is, it is not ours
    raise ConfigError(
        f"{path} is no bundle of a repository: it is not written over", hint="name a new file", reason="no-repository"
    )
