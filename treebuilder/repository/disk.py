"""Repositories in a folder: read by copying what is asked for into the store, written by rename, index last."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from pathlib import Path

from treebuilder.errors import IntegrityError, TransportError
from treebuilder.model.digest import Digest
from treebuilder.oci.arriving import UNSEEN, Arriving
from treebuilder.oci.store import Store
from treebuilder.repository.api import MAX_INDEX_BYTES
from treebuilder.repository.deltas import Patch
from treebuilder.repository.plain import open_plain, read_plain
from treebuilder.system.files import disk_errors, replacing, write_atomic
from treebuilder.system.process import Cancel

_CHUNK = 1 << 20


class DiskBackend:
    """Implements `RepositoryBackend` over a folder."""

    def __init__(self, folder: Path, store: Store, cancel: Cancel) -> None:
        self._folder = folder
        self._store = store
        self._cancel = cancel

    def index(self, reference: str) -> bytes | None:
        path = self._folder / reference
        try:
            return read_plain(path, MAX_INDEX_BYTES, "an index")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as err:
            raise TransportError(f"{path}: {err.strerror}") from err

    def open(self, name: str, sha256: Digest, max_bytes: int, progress: Arriving = UNSEEN) -> Path:
        # What was built here is in the store already: it is read once to be checked, and not copied.
        if self._store.has_blob(sha256) and self._store.verify_blob(sha256):
            return self._store.blob_path(sha256)
        path = self._folder / name
        seen, size = hashlib.sha256(), 0
        with self._store.scratch() as work, disk_errors(f"copying {path}", self._store.folder):
            part = work / "part"
            try:
                with open_plain(path) as source, part.open("wb") as out:
                    progress.expect(os.fstat(source.fileno()).st_size)
                    while data := source.read(_CHUNK):
                        self._cancel.check()
                        size += len(data)
                        if size > max_bytes:
                            raise IntegrityError(f"{path} is longer than {max_bytes} bytes")
                        seen.update(data)
                        out.write(data)
                        progress.add(len(data))
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as err:
                raise TransportError(f"there is no file {path}", hint="treebuild create-repo writes it anew") from err
            if seen.hexdigest() != sha256.hex:
                raise IntegrityError(
                    f"{path} is sha256:{seen.hexdigest()}, and its repository promises {sha256}",
                    hint="it was changed or damaged: build the package again, then treebuild create-repo",
                )
            self._store.add_blob_file(part, sha256)
        return self._store.blob_path(sha256)

    def patches(self, name: str, content: Digest) -> tuple[Patch, ...]:
        return ()  # a file that is here is read as fast as a patch is applied

    def open_patch(self, patch: Patch, progress: Arriving = UNSEEN) -> Path:
        return self.open(patch.name, patch.sha256, patch.size_bytes, progress)

    def put(self, name: str, data: bytes) -> None:
        path = self._folder / name
        with disk_errors(f"writing {path}", path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
                return
        write_atomic(path, data)

    def copy(self, name: str, target: str) -> None:
        path = self._folder / target
        with disk_errors(f"writing {path}", self._folder), (self._folder / name).open("rb") as source:
            with replacing(path, sync=False) as out:
                shutil.copyfileobj(source, out, _CHUNK)

    def stat(self, name: str) -> tuple[int, int, int, int] | None:
        try:
            info = (self._folder / name).lstat()
        except OSError:
            return None
        if not stat.S_ISREG(info.st_mode):
            return None
        return info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino

    def commit(self, reference: str, index: bytes) -> None:
        self.put(reference, index)
