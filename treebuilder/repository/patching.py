"""Packages made of an older version that is here and a patch, which is downloaded in the place of the whole archive.

What comes out is compared with the digest of the plain tar that the repository's meta names (and that its signature
covers), not with that of the archive: what a compressor writes may differ between its versions. A note says which blob
of ours then stands for the archive. Whatever goes wrong with a patch, the whole archive is fetched instead: nobody
vouches for patches, so one takes no more room than is to be had, and is bounded by the version that is here.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

from treebuilder.annotations import Protocol
from treebuilder.archive.compress import compressor, decompressed
from treebuilder.archive.tar import Sink
from treebuilder.errors import Cancelled, IntegrityError, NoSpace, TransportError, TreebuildError
from treebuilder.events import EventSink, Said, Warned
from treebuilder.model.digest import Digest
from treebuilder.oci.arriving import UNSEEN, Arriving, Undone
from treebuilder.oci.patch import apply_patch
from treebuilder.oci.seal import HashingSink
from treebuilder.oci.store import Store
from treebuilder.repository.deltas import Patch
from treebuilder.repository.index import Artifact
from treebuilder.system.files import disk_errors

_BASES = "delta-base"  # notes: of a package's name, the tars whose archives are here, the last first
_MADE = "delta-made"  # notes: an archive's digest to that of the blob that stands for it
_KEPT = 3
_CHUNK = 1 << 20
_TIMES = 2  # what is made, and a patch, may be so many times as long as the older version and
_MORE = 64 << 20  # so many bytes: an honest patch that makes more gains little
_one_at_a_time = threading.Lock()  # each needs a window and a segment, and a device has little memory


class PatchSource(Protocol):
    """Where patches come from: a backend of a repository."""

    def patches(self, name: str, content: Digest) -> tuple[Patch, ...]:
        """Those that make the tar `content` of the package whose archive is called `name`."""
        ...

    def open_patch(self, patch: Patch, progress: Arriving = UNSEEN) -> Path:
        """Its bytes, checked, as a blob of the store. Raises TransportError, IntegrityError."""
        ...


class Patched:
    """The packages of one repository that are made so. May be used from many threads."""

    def __init__(self, store: Store, events: EventSink, name: str) -> None:
        self._store, self._events, self._name = store, events, name
        self._silent = False  # whoever has the patches does not answer: nobody waits for that again

    def known(self, artifact: Artifact) -> Path | None:
        """What was made for an archive before."""
        noted = self._store.index.note(_MADE, artifact.sha256.hex)
        if noted is None or not self._store.verify_blob(Digest(noted.decode())):
            return None
        return self._store.blob_path(Digest(noted.decode()))

    def remember(self, artifact: Artifact, blob: Digest) -> None:
        """Notes an archive that is here now: newer versions may be made of it."""
        if artifact.content is None:
            return
        name = artifact.package.pkgname
        first = [artifact.content.hex, blob.hex]
        others = [pair for pair in self._bases(name) if pair[0] != artifact.content.hex]
        text = json.dumps([first, *others][:_KEPT]).encode()
        if self._store.index.note(_BASES, name) != text:
            self._store.index.set_notes(_BASES, {name: text})

    def _bases(self, name: str) -> list[list[str]]:
        noted = self._store.index.note(_BASES, name)
        return json.loads(noted) if noted is not None else []

    def make(self, artifact: Artifact, source: PatchSource, progress: Arriving = UNSEEN) -> Path | None:
        """The package's archive, made of an older one; None where there is no patch for what is here, or none works.

        Raises Cancelled, and nothing else for any fault of a patch or where there is no room for what it makes.
        """
        if artifact.content is None or self._silent:
            return None
        bases = {
            Digest(content): Digest(blob)
            for content, blob in self._bases(artifact.package.pkgname)
            if content != artifact.content.hex and self._store.has_blob(Digest(blob))
        }
        if not bases:
            return None
        shown = Undone(progress)
        try:
            offered = [one for one in source.patches(artifact.path, artifact.content) if one.before in bases]
            best = min(offered, key=lambda one: (one.size_bytes, one.before.hex), default=None)
            if best is None or best.after != artifact.content:
                return None
            made = self._applied(best, bases[best.before], source, shown)
            self._store.index.set_notes(_MADE, {artifact.sha256.hex: made.hex.encode()})
            self._store.index.set_notes("fetched", {made.hex: b"1"})
            self.remember(artifact, made)
        except Cancelled:
            raise
        except (TreebuildError, OSError, ValueError, MemoryError) as err:
            shown.undo()
            if isinstance(err, TransportError) and err.temporary:
                self._silent = True
            said = err.message if isinstance(err, TreebuildError) else f"{type(err).__name__}: {err}"
            self._events.emit(
                Warned(f"{self._name}: the patch for {artifact.package} is not used, all of it is fetched: {said}")
            )
            return None
        self._events.emit(Said(f"   {artifact.package}: made of the version here and {best.size_bytes} bytes"))
        return self._store.blob_path(made)

    def _applied(self, patch: Patch, base: Digest, source: PatchSource, progress: Arriving) -> Digest:
        """The blob of the new archive."""
        if patch.size_bytes > _TIMES * self._store.blob_path(base).stat().st_size + _MORE:
            raise IntegrityError(f"it is of {patch.size_bytes} bytes, far more than the version that is here")
        _Room(self._store.folder).take(patch.size_bytes)
        fetched = not self._store.has_blob(patch.sha256)
        sink = HashingSink()
        try:
            file = source.open_patch(patch, progress)
            with (
                _one_at_a_time, self._store.part() as old, self._store.part() as new,
                disk_errors("applying a patch", self._store.folder),
            ):  # fmt: skip
                room = _Room(self._store.folder)
                limit = _TIMES * self._plain(base, old, room) + _MORE
                with file.open("rb") as data, old.open("rb") as before, new.open("wb") as out:
                    packer = compressor("zstd", _Bounded(out, sink, room))
                    apply_patch(data, before, patch.before, patch.after, limit, packer.write)
                    packer.close()
                self._store.add_blob_file(new, sink.digest())
        finally:
            if fetched:
                self._store.blob_path(patch.sha256).unlink(missing_ok=True)
                (self._store.folder / "partial" / patch.sha256.hex).unlink(missing_ok=True)
        return sink.digest()

    def _plain(self, base: Digest, target: Path, room: _Room) -> int:
        """Writes the tar of an archive that is here; its size in bytes.

        Raises IntegrityError for one that was damaged, NoSpace.
        """
        if not self._store.verify_blob(base):
            raise IntegrityError("the older version that is here was damaged")
        size = 0
        with self._store.blob_path(base).open("rb") as source, target.open("wb") as out:
            stream = decompressed(source)
            while data := stream.read(_CHUNK):
                size += len(data)
                room.take(len(data))
                out.write(data)
        return size


class _Room:
    """What a patch may fill: half of what is free, for others write there at the same time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        found = os.statvfs(folder)
        self._left = found.f_bavail * found.f_frsize // 2

    def take(self, size: int) -> None:
        """Raises NoSpace."""
        self._left -= size
        if self._left < 0:
            raise NoSpace(f"it would take more than half of the free space of {self._folder}")


class _Bounded:
    """Writes to a file, and counts."""

    def __init__(self, out: Sink, seen: HashingSink, room: _Room) -> None:
        self._out, self._seen, self._room = out, seen, room

    def write(self, data: bytes, /) -> int:
        self._room.take(len(data))
        self._seen.write(data)
        self._out.write(data)
        return len(data)
