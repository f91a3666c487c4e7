"""An OCI layout folder as one repository of a registry: manifests by tag, blobs by digest (image-layout.md)."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

from treebuilder.annotations import IO, Any
from treebuilder.errors import ConfigError, IntegrityError, TransportError
from treebuilder.model.digest import Digest
from treebuilder.oci.arriving import Arriving
from treebuilder.oci.layout import INDEXES, MAX_JSON, item_digest, json_object
from treebuilder.oci.store import Store
from treebuilder.system.files import disk_errors, remove_unfinished, replacing, write_atomic
from treebuilder.system.locks import exclusive_key

_NAME = "org.opencontainers.image.ref.name"
_READ = "cache-folder"  # notes: a blob's digest to the stamp of the file that was read
_CHUNK = 1 << 20
_MAX_INDEX = 256 << 20


def refuse_foreign(folder: Path) -> None:
    """Raises ConfigError for a folder that has other things in it than a layout, or the beginning of one."""
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder")
    with disk_errors(f"looking into {folder}", folder):
        names = {path.name for path in folder.iterdir()} - {"lost+found", "blobs"}
    others = {name for name in names if not name.startswith((".lock", ".oci-layout", ".index.json"))}
    if others and "oci-layout" not in others:
        raise ConfigError(
            f"{folder} is no image layout, and not empty: nothing is written there",
            hint="name a new or empty folder, or an OCI layout",
        )


class FolderRepository:
    """Holds what `oci.remote.Repository` does, in a folder. May be used from many threads and processes.

    New names are written by `commit`, all at once: what was stored before and is not named is no harm.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._named: dict[str, dict[str, Any]] | None = None
        self._fresh: dict[str, dict[str, Any]] = {}

    def __str__(self) -> str:
        return str(self._folder)

    def _path(self, digest: Digest) -> Path:
        return self._folder / "blobs/sha256" / digest.hex

    def _names(self) -> dict[str, dict[str, Any]]:
        with self._lock:
            if self._named is None:
                found: dict[str, dict[str, Any]] = {}
                try:
                    for item in self._items():
                        name = _name(item)
                        if name is not None:
                            found.setdefault(name, item)
                finally:  # what cannot be read is said once, and has no names
                    self._named = found
            return self._named

    def _items(self) -> list[dict[str, Any]]:
        """What the index names."""
        path = self._folder / "index.json"
        try:
            if path.stat().st_size > _MAX_INDEX:
                raise IntegrityError(f"{path} is too large")
            items = json_object(path.read_bytes(), str(path)).get("manifests") or []
        except FileNotFoundError:
            return []
        if not isinstance(items, list):
            raise IntegrityError(f"{path} is no index of an image layout")
        return [item for item in items if isinstance(item, dict)]

    # reading ----------------------------------------------------------------------------------------------------
    def manifest(self, tag: str, expected: Digest | None) -> tuple[Digest, dict[str, Any]]:
        """A manifest by its tag. Raises TransportError (404), IntegrityError for other bytes than were named."""
        if not self._folder.is_dir():
            raise TransportError(f"there is no folder {self._folder}")
        item = self._names().get(tag)
        if item is None:
            raise TransportError(f"{self}: there is nothing under {tag}", status=404)
        digest = item_digest(item, str(self))
        path = self._path(digest)
        try:
            data = path.read_bytes() if path.stat().st_size <= MAX_JSON else b""
        except FileNotFoundError:
            raise TransportError(f"{self} lacks {digest}", status=404) from None
        if Digest.of(data) != digest or (expected is not None and digest != expected):
            raise IntegrityError(f"{path} is not what its name promises")
        return digest, json_object(data, f"{self}:{tag}")

    def blob(self, digest: Digest, size: int, file: Path, progress: Arriving) -> Path:
        """Copies a blob of at most `size` bytes. Raises TransportError where it is not, IntegrityError."""
        seen = hashlib.sha256()
        try:
            source = self._path(digest).open("rb")
        except FileNotFoundError:
            raise TransportError(f"{self} lacks {digest}", status=404) from None
        with source, file.open("wb") as out:
            while data := source.read(_CHUNK):
                size -= len(data)
                if size < 0:
                    break
                seen.update(data)
                out.write(data)
                progress.add(len(data))
        if seen.hexdigest() != digest.hex:
            file.unlink()
            raise IntegrityError(f"{self}: {digest} reads as sha256:{seen.hexdigest()}")
        return file

    def has_blob(self, digest: Digest) -> bool:
        return self._path(digest).is_file()

    def digest_of(self, reference: str) -> Digest | None:
        """The digest of the manifest under a tag that is there, whole or not."""
        item = self._names().get(reference)
        digest = item_digest(item, str(self)) if item is not None else None
        return digest if digest is not None and self.has_blob(digest) else None

    def stamp(self, digest: Digest) -> str:
        """Changes with the file of a blob; "" where there is none."""
        try:
            info = self._path(digest).stat()
        except OSError:
            return ""
        return f"{info.st_dev} {info.st_ino} {info.st_size} {info.st_mtime_ns}"

    def reads(self, digest: Digest) -> bool:
        """Whether a blob is what its name promises."""
        try:
            with self._path(digest).open("rb") as source:
                return hashlib.file_digest(source, "sha256").hexdigest() == digest.hex
        except OSError:
            return False

    def drop(self, *digests: Digest) -> None:
        """Deletes files of blobs and manifests. What was under their tags is not there any more."""
        with disk_errors(f"deleting what is damaged in {self._folder}", self._folder):
            for digest in digests:
                self._path(digest).unlink(missing_ok=True)

    # writing ----------------------------------------------------------------------------------------------------
    def push_blob(self, digest: Digest, size: int, opened: Callable[[], IO[bytes]], *, again: bool = False) -> bool:
        """Stores a blob, False if it was there; `again`: in the place of what is there.

        Raises IntegrityError for a source that is something else.
        """
        if not again and self.has_blob(digest):
            return False
        path = self._path(digest)
        with disk_errors(f"writing to {self._folder}", self._folder):
            path.parent.mkdir(parents=True, exist_ok=True)
            with opened() as source, replacing(path, sync=False) as out:
                seen = hashlib.sha256()
                while data := source.read(_CHUNK):
                    seen.update(data)
                    out.write(data)
                if seen.hexdigest() != digest.hex:
                    raise IntegrityError(f"{digest} reads as sha256:{seen.hexdigest()}")
        return True

    def put_manifest(self, reference: str, data: bytes, media: str) -> Digest:
        """Stores a manifest; its tag is known to others after `commit`. Of several under one tag the first stays."""
        digest = Digest.of(data)
        if not self.reads(digest):
            with disk_errors(f"writing to {self._folder}", self._folder):
                self._path(digest).parent.mkdir(parents=True, exist_ok=True)
                write_atomic(self._path(digest), data, sync=False)
        item = {"mediaType": media, "digest": str(digest), "size": len(data), "annotations": {_NAME: reference}}
        if self.digest_of(reference) is None:
            self._names()[reference] = self._fresh[reference] = item
        return digest

    def commit(self) -> None:
        """Writes the names that are new into `index.json`, beside those that others wrote meanwhile.

        What killed runs left half written goes.
        """
        if not self._fresh:
            return
        with disk_errors(f"writing to {self._folder}", self._folder), exclusive_key(f"{self._folder}/.lock", "index"):
            self._named = None
            fresh = {name: item for name, item in sorted(self._fresh.items()) if self.digest_of(name) is None}
            items = [item for item in self._items() if _name(item) not in fresh]
            items += fresh.values()
            value = {"schemaVersion": 2, "mediaType": INDEXES[0], "manifests": items}
            write_atomic(self._folder / "oci-layout", b'{"imageLayoutVersion": "1.0.0"}\n')
            write_atomic(self._folder / "index.json", json.dumps(value, indent=1).encode() + b"\n")
            for folder in (self._folder, self._folder / "blobs/sha256"):
                remove_unfinished(folder)
        self._named = None
        self._fresh.clear()


def _name(item: dict[str, Any]) -> str | None:
    """The tag that a descriptor of the index is under."""
    notes = item.get("annotations")
    name = notes.get(_NAME) if isinstance(notes, dict) else None
    return name if isinstance(name, str) else None


def drop_damaged(folder: FolderRepository, tag: str, store: Store) -> None:
    """Deletes what is damaged of what a tag leads to, with its manifest, so that it is stored anew.

    A file that did not change since it was read is not read again: `store` remembers.
    """
    digest = folder.digest_of(tag)
    if digest is None:
        return
    try:
        _, manifest = folder.manifest(tag, None)
        layers = manifest.get("layers")
        items = [manifest.get("config"), *(layers if isinstance(layers, list) else ())]
        named = [item_digest(item, tag) for item in items]
    except IntegrityError:
        folder.drop(digest)
        return
    bad = [one for one in named if not whole(folder, one, store)]
    if bad:
        folder.drop(digest, *bad)


def whole(folder: FolderRepository, digest: Digest, store: Store) -> bool:
    """Whether a blob is there and what its name promises."""
    stamp = folder.stamp(digest).encode()
    if stamp and store.index.note(_READ, digest.hex) == stamp:
        return True
    found = folder.reads(digest)
    if found:
        store.index.set_notes(_READ, {digest.hex: stamp})
    return found
