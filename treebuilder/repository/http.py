"""Repositories behind http or https: read only; what is fetched goes into the store."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from treebuilder.errors import ConfigError, IntegrityError, TransportError
from treebuilder.model.digest import Digest
from treebuilder.oci.arriving import UNSEEN, Arriving
from treebuilder.oci.store import Store
from treebuilder.repository.api import MAX_INDEX_BYTES
from treebuilder.repository.deltas import LIST, Patch, read_list
from treebuilder.repository.fetching import Fetcher, authorization
from treebuilder.system.process import Cancel


class HttpBackend:
    """Implements `RepositoryBackend` over a base URL. `auth` is the repository's."""

    def __init__(self, url: str, store: Store, cancel: Cancel, auth: Mapping[str, str] | None = None) -> None:
        self._url = url.rstrip("/")
        self._store = store
        self._fetcher = Fetcher(store, cancel, authorization(auth or {}))
        self._of_patches = Fetcher(store, cancel, authorization(auth or {}), brief=True)
        self._listing = threading.Lock()
        self._patches: tuple[Patch, ...] | None = None

    def index(self, reference: str) -> bytes | None:
        return self._document(self._fetcher, reference)

    def _document(self, fetcher: Fetcher, name: str) -> bytes | None:
        try:
            return fetcher.small(self._at(name), MAX_INDEX_BYTES)
        except TransportError as err:
            if err.status in (404, 410):
                return None
            raise

    def open(self, name: str, sha256: Digest, max_bytes: int, progress: Arriving = UNSEEN) -> Path:
        return self._opened(self._fetcher, name, sha256, max_bytes, progress)

    def _opened(self, fetcher: Fetcher, name: str, sha256: Digest, max_bytes: int, progress: Arriving = UNSEEN) -> Path:
        if self._store.has_blob(sha256) and self._store.verify_blob(sha256):
            return self._store.blob_path(sha256)
        try:
            fetcher.fetch(self._at(name), sha256, max_bytes, progress)
        except IntegrityError as err:
            raise IntegrityError(
                f"{self._at(name)} is not what its repository promises ({sha256})",
                hint="the server may be in the middle of a change: try again; if it stays so, it cannot be trusted",
            ) from err
        return self._store.blob_path(sha256)

    def patches(self, name: str, content: Digest) -> tuple[Patch, ...]:
        with self._listing:
            if self._patches is None:
                self._patches = ()  # also for whoever comes after a fault, which is said once
                data = self._document(self._of_patches, LIST)
                self._patches = () if data is None else read_list(data, self._at(LIST))
        return tuple(patch for patch in self._patches if patch.after == content)

    def open_patch(self, patch: Patch, progress: Arriving = UNSEEN) -> Path:
        return self._opened(self._of_patches, patch.name, patch.sha256, patch.size_bytes, progress)

    def put(self, name: str, data: bytes) -> None:
        raise ConfigError(f"{self._url} can only be read: repositories are written to a folder")

    def copy(self, name: str, target: str) -> None:
        raise ConfigError(f"{self._url} can only be read: repositories are written to a folder")

    def stat(self, name: str) -> tuple[int, int, int, int] | None:
        return None

    def commit(self, reference: str, index: bytes) -> None:
        raise ConfigError(f"{self._url} can only be read: repositories are written to a folder")

    def _at(self, name: str) -> str:
        return f"{self._url}/{quote(name)}"
