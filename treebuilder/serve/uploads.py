"""Blobs that are on their way in: a file each, written in order, found again after a restart."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from treebuilder.serve.names import hasher
from treebuilder.system import clock
from treebuilder.system.files import disk_errors

_KEPT_S = 24 * 3600  # an upload that nobody goes on with


class Upload:
    """One upload. Only one request at a time writes to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.Lock()
        self._seen = hasher("sha256:")
        self._hashed = 0

    @property
    def size(self) -> int:
        """Bytes received so far."""
        return self.path.stat().st_size

    def append(self, parts: Iterable[bytes]) -> None:
        """Adds bytes; what arrived before a fault stays."""
        with disk_errors("receiving a blob"), self.path.open("ab", buffering=0) as out:
            for part in parts:
                out.write(part)
                if self._hashed >= 0:
                    self._seen.update(part)
                    self._hashed += len(part)

    def digest(self, like: str) -> str:
        """The digest of all bytes, of the same kind as `like`."""
        if like.startswith("sha256:") and self._hashed == self.size:
            return f"sha256:{self._seen.hexdigest()}"
        made = hasher(like)
        with self.path.open("rb", buffering=0) as source:
            while data := source.read(1 << 20):
                made.update(data)
        return f"{made.name}:{made.hexdigest()}"


class Uploads:
    """All uploads of a registry, by an id that nobody can guess."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[tuple[str, str], Upload] = {}
        self._lock = threading.Lock()
        self.sweep(clock.now_epoch_s())

    def begin(self, repository: str) -> str:
        """The id of a new upload."""
        id = os.urandom(16).hex()
        path = self._path(repository, id)
        with disk_errors("receiving a blob"):
            path.touch()
        with self._lock:
            self._known[repository, id] = Upload(path)
        return id

    def get(self, repository: str, id: str) -> Upload | None:
        with self._lock:
            found = self._known.get((repository, id))
            if found is None and len(id) == 32 and id.isalnum() and self._path(repository, id).is_file():
                found = self._known[repository, id] = Upload(self._path(repository, id))
                found._hashed = -1  # begun by an earlier process
            return found

    def end(self, repository: str, id: str) -> None:
        """Forgets an upload and removes what is left of it."""
        with self._lock:
            self._known.pop((repository, id), None)
        self._path(repository, id).unlink(missing_ok=True)

    def sweep(self, now_epoch_s: float) -> tuple[int, int]:
        """Removes what nobody has written to for a day; how many files, and bytes."""
        count = size = 0
        for path in sorted(self._folder.iterdir()):
            try:
                info = path.stat()
            except FileNotFoundError:
                continue  # it was finished just now
            if info.st_mtime >= now_epoch_s - _KEPT_S:
                continue
            with self._lock:
                for key, upload in list(self._known.items()):
                    if upload.path == path:
                        del self._known[key]
            path.unlink(missing_ok=True)
            count, size = count + 1, size + info.st_size
        return count, size

    def last_use(self, repository: str) -> float:
        """When an upload to a repository got its last byte; 0 if there is none."""
        end = _suffix(repository)
        last = 0.0
        for path in self._folder.iterdir():
            if path.name.endswith(end):
                with suppress(FileNotFoundError):
                    last = max(last, path.stat().st_mtime)
        return last

    def _path(self, repository: str, id: str) -> Path:
        return self._folder / f"{id}{_suffix(repository)}"


def _suffix(repository: str) -> str:
    return f"-{repository.replace('/', '%')[-100:]}"
