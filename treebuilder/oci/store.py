"""The local store: blobs by digest, layers as unpacked folders, records by key (architecture, "State on disk").

A layer has two forms, a folder (`trees/…`) and a blob (a canonical tar, zstd-compressed blobs keep their own digest),
neither made before it is needed. What is read as a blob is checked against its digest; a folder is checked by its
listing when it is first used in a run. Damage is never repaired in place: the bad thing is removed and is a miss.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import itertools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from treebuilder.annotations import IO
from treebuilder.archive.bounds import USUAL_BOUND, Bound
from treebuilder.archive.compress import decompressed
from treebuilder.archive.entry import listing_digest
from treebuilder.archive.extract import unpack_layer
from treebuilder.errors import IntegrityError, StateCorrupt
from treebuilder.model.digest import Digest
from treebuilder.oci.index import Index
from treebuilder.system import locks
from treebuilder.system.files import (
    disk_errors,
    is_read_only,
    move_folder_into_place,
    new_name,
    remove_tree,
    write_atomic,
)
from treebuilder.system.process import Cancel

VERSION = "1"
_CHUNK = 1 << 20


class BlobLostError(IntegrityError):
    """A blob of the store is gone or damaged. It has been dropped, so whoever makes it can make it again."""


class Store:
    """One cache folder. Safe for many threads and processes; opening it costs a few system calls."""

    def __init__(
        self, folder: Path, *, mapping: str = "host", bound: Bound = USUAL_BOUND, may_be_read: bool = False
    ) -> None:
        """`bound` is how far what strangers packed may expand when it is unpacked into the store. On a file system that
        is read-only nothing can be made; with `may_be_read` what is there can be read all the same."""
        self.folder = folder
        self._only_read = may_be_read and is_read_only(folder)
        self.bound = bound
        self.mapping = mapping
        with disk_errors(f"preparing the cache folder {folder}", folder):
            folder.mkdir(parents=True, exist_ok=True)
            version = folder / "VERSION"
            said = version.read_text().strip() if version.exists() else ""
            if not said:  # also after a power cut, which may leave a name without its content
                write_atomic(version, f"{VERSION}\n".encode(), sync=False)
            elif said != VERSION:
                raise StateCorrupt(
                    f"{folder} was written by another version of treebuild",
                    hint="choose another --cache-dir or delete it",
                )
            for name in ("tmp", "blobs/sha256", f"trees/{mapping}/sha256"):
                (folder / name).mkdir(parents=True, exist_ok=True)
        self.index = Index(folder / "index.sqlite")
        self._trees = f"{folder}/trees/{mapping}/sha256/"
        self._blobs = f"{folder}/blobs/sha256/"
        self._keys = f"{folder}/keys.lock"
        self._lock = threading.Lock()
        self._held: tuple[str, int] | None = None
        self._numbers = itertools.count()
        self._checked: set[str] = set()

    # scratch ----------------------------------------------------------------------------------------------------
    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A private folder on the store's file system. A killed run's folders are removed by a later one.

        Where a store is only read it is elsewhere: nothing of it can be stored.
        """
        with disk_errors("making a work folder", self.folder):
            if self._only_read:
                from tempfile import mkdtemp

                path = Path(mkdtemp(prefix="treebuild-"))
            else:
                path = Path(f"{self._session()}/{next(self._numbers)}")
                os.mkdir(path, 0o700)
        try:
            yield path
        finally:
            remove_tree(path)

    def _session(self) -> str:
        """The folder of this process's work folders, locked for as long as the store is open."""
        with self._lock:
            while self._held is None:
                path = f"{self.folder}/tmp/{new_name()}"
                os.mkdir(path, 0o700)
                with suppress(FileNotFoundError):  # another run swept it away before it was locked
                    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                    fcntl.flock(fd, fcntl.LOCK_EX)
                    if os.path.isdir(path):
                        self._held = path, fd
                    else:
                        os.close(fd)
            return self._held[0]

    def sweep(self) -> None:
        """Removes work folders whose process is gone."""
        if self._only_read:
            return
        for path in sorted((self.folder / "tmp").iterdir()):
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
            except OSError:
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_tree(path)
            except (BlockingIOError, PermissionError):  # in use, or of ids that only a user namespace may touch
                continue
            finally:
                os.close(fd)

    @contextmanager
    def single_flight(self, key: str, cancel: Cancel | None = None) -> Iterator[None]:
        """Holds a key while its result is made, so that two runs build it once."""
        if self._only_read:
            yield  # nobody makes anything here
            return
        with locks.exclusive_key(self._keys, key, cancel=cancel):
            yield

    @contextmanager
    def part(self) -> Iterator[Path]:
        """The name of a private file on the store's file system, which is gone in the end unless it was moved."""
        with disk_errors("making a work folder", self.folder):
            path = Path(f"{self._session()}/{next(self._numbers)}")
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    # blobs ------------------------------------------------------------------------------------------------------
    def blob_path(self, digest: Digest) -> Path:
        return Path(self._blobs + digest.hex)

    def has_blob(self, digest: Digest) -> bool:
        return self.blob_path(digest).is_file()

    def add_blob_file(self, made: Path, digest: Digest) -> None:
        """Moves a finished file of `scratch` (whose digest the caller computed) into the store."""
        with disk_errors("storing a blob", self.folder):
            os.chmod(made, 0o644)
            try:
                os.rename(made, self.blob_path(digest))
            except OSError as err:
                if err.errno != errno.EXDEV:  # made elsewhere, see `scratch`
                    raise
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self.folder)) from err

    def add_blob(self, data: bytes) -> Digest:
        digest = Digest.of(data)
        if not self.verify_blob(digest):
            write_atomic(self.blob_path(digest), data, sync=False)
        return digest

    def copy_blob(self, digest: Digest, out: IO[bytes]) -> None:
        """Copies a blob while checking it. Raises BlobLostError (and drops the blob) when it is damaged or gone."""
        path = self.blob_path(digest)
        seen = hashlib.sha256()
        try:
            with path.open("rb", buffering=0) as source:
                while data := source.read(_CHUNK):
                    seen.update(data)
                    out.write(data)
        except FileNotFoundError as err:
            raise BlobLostError(f"{digest} is not in the store") from err
        if seen.hexdigest() != digest.hex:
            path.unlink(missing_ok=True)
            raise BlobLostError(f"the stored blob {digest} was damaged (it reads as sha256:{seen.hexdigest()})")

    def verify_blob(self, digest: Digest) -> bool:
        """Reads a blob whole; False (and it is dropped) when it is gone or damaged."""
        try:
            with open(os.devnull, "wb") as nowhere:
                self.copy_blob(digest, nowhere)
        except IntegrityError:
            return False
        return True

    # layers as folders -------------------------------------------------------------------------------------------
    def tree_path(self, content: Digest) -> Path:
        return Path(self.tree_folder(content))

    def tree_folder(self, content: Digest) -> str:
        """`tree_path` as a text, for those who ask often."""
        return self._trees + content.hex

    def has_tree(self, content: Digest) -> bool:
        """Whether the folder is here and its listing is the one noted when it was stored."""
        if content.hex in self._checked:
            return True
        path = self.tree_folder(content)
        if not os.path.isdir(path):
            return False
        noted = self.index.note("listing", content.hex)
        if noted is None or noted.decode() != listing_digest(path):
            remove_tree(Path(path))
            return False
        self._checked.add(content.hex)
        return True

    def add_tree(self, made: Path, content: Digest, listing: str) -> None:
        """Moves a sealed folder of `scratch` into the store. `listing` is its `listing_digest`."""
        with disk_errors("storing a layer", self.folder):
            if self.has_tree(content):
                remove_tree(made)
                return
            self.index.set_notes("listing", {content.hex: listing.encode()})
            move_folder_into_place(made, self.tree_path(content))
            self._checked.add(content.hex)

    def tree_from_blob(self, content: Digest, blob: Digest) -> None:
        """Makes a layer's folder out of its (compressed) tar. Raises IntegrityError when the blob is damaged."""
        if not self.verify_blob(blob):
            raise BlobLostError(f"{blob} is damaged or not in the store")
        with self.scratch() as work, self.blob_path(blob).open("rb") as source:
            made = work / "tree"
            made.mkdir()
            unpack_layer(decompressed(source), str(made), str(blob))
            self.add_tree(made, content, listing_digest(str(made)))

    def leave(self) -> None:
        """`close` for a process that ends now."""
        self.index.leave()
        self._remove_session()

    def close(self) -> None:
        """Removes this process's work folders and closes the index; a later use opens both again."""
        self.index.close()
        self._remove_session()

    def _remove_session(self) -> None:
        with self._lock:
            held, self._held = self._held, None
        if held is not None:
            remove_tree(Path(held[0]))
            os.close(held[1])
