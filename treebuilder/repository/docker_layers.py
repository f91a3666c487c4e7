"""Archives of packages as layers of images: gzip, which every engine and every luet can unpack.

A gzip archive is a layer as it is; others are compressed anew, once: what came out is noted under the archive's digest.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from io import BufferedReader
from pathlib import Path

from treebuilder.annotations import IO
from treebuilder.archive.compress import compressor, decompressed, sniff
from treebuilder.errors import IntegrityError, Place, SpecError
from treebuilder.model.digest import Digest
from treebuilder.oci.layerimage import ImageLayer
from treebuilder.oci.store import Store
from treebuilder.records import record
from treebuilder.system.files import disk_errors
from treebuilder.system.pool import in_parallel
from treebuilder.system.process import Cancel

_NOTES = "docker-layer"
_CHUNK = 1 << 20
_THREADS = 4
_PATH = re.compile(rb"^  path: ['\"]?(.*?)['\"]?$", re.MULTILINE)
_SHA256 = re.compile(rb"checksums:\s+sha256: ['\"]?([0-9a-f]{64})\b")
_OUR_KIND = re.compile(rb"^(  )?compressiontype: \w+$", re.MULTILINE)
_OUR_PATH = re.compile(rb"^((?:  )?path: .*?\.package\.tar)(?:\.gz|\.zst)?(['\"]?)$", re.MULTILINE)


@record
class Archive:
    """What an entry of a repository's meta says of an archive. `path` is below the folder of packages."""

    path: str
    sha256: Digest


def archive_of(entry: bytes) -> Archive:
    """Reads two lines of an entry that `entries.entry` wrote. Raises IntegrityError."""
    path, sha256 = _PATH.search(entry), _SHA256.search(entry)
    if path is None or sha256 is None:
        raise IntegrityError("an entry of a repository's index names no archive")
    return Archive(path[1].decode(errors="surrogateescape"), Digest(sha256[1].decode()))


def renamed(document: bytes, before: Digest, layer: ImageLayer) -> bytes:
    """An entry, or a package's metadata, that speaks of the layer where it spoke of the archive."""
    text = _SHA256.sub(
        lambda found: found[0].replace(before.hex.encode(), layer.digest.hex.encode()), document, count=1
    )
    text = _OUR_KIND.sub(rb"\1compressiontype: gzip", text, count=1)
    return _OUR_PATH.sub(rb"\1.gz\2", text, count=1)


class Layers:
    """The layers of the archives below a folder. May be used from many threads."""

    def __init__(self, packages: Path, store: Store, cancel: Cancel) -> None:
        self._packages = packages
        self._store = store
        self._cancel = cancel

    def entries(self, entries: Iterable[bytes]) -> list[bytes]:
        """Entries that name layers instead of archives. Raises IntegrityError, SpecError (reason "missing-file")."""
        given = [(entry, archive_of(entry)) for entry in entries]
        layers = self._known(dict.fromkeys(archive for _, archive in given))
        return [renamed(entry, archive.sha256, layers[archive]) for entry, archive in given]

    def _known(self, archives: Iterable[Archive]) -> dict[Archive, ImageLayer]:
        found: dict[Archive, ImageLayer] = {}
        wanted: list[Archive] = []
        for archive in archives:
            noted = self._store.index.note(_NOTES, archive.sha256.hex)
            if noted is None:
                wanted.append(archive)
            else:
                found[archive] = _read(noted)
        found.update(zip(wanted, in_parallel(wanted, self._make, _THREADS), strict=True))
        self._store.index.set_notes(_NOTES, {a.sha256.hex: _written(found[a]) for a in wanted})
        return found

    def _make(self, archive: Archive) -> ImageLayer:
        path = self._packages / archive.path
        with self._opened(path) as source, disk_errors(f"packing {path}", self._store.folder):
            kind = sniff(source.read(4))
            source.seek(0)
            if hashlib.file_digest(source, "sha256").hexdigest() != archive.sha256.hex:
                raise IntegrityError(f"{path} is not what its metadata says ({archive.sha256})", hint="build it again")
            size = source.tell()
            source.seek(0)
            if kind == "gzip":
                content, _ = self._copied(decompressed(source), None)
                return ImageLayer(archive.sha256, size, content)
            with self._store.part() as part:
                with part.open("wb") as out:
                    content, digest = self._copied(decompressed(source), out)
                made = ImageLayer(digest, part.stat().st_size, content)
                self._store.add_blob_file(part, digest)
        return made

    def _copied(self, plain: IO[bytes], out: IO[bytes] | None) -> tuple[Digest, Digest]:
        """Digests of a tar and of its compressed form, which is written to `out`."""
        seen, packed = hashlib.sha256(), hashlib.sha256()

        class Sink:
            def write(self, data: bytes, /) -> int:
                packed.update(data)
                return out.write(data) if out is not None else len(data)

        packer = compressor("gzip" if out is not None else "none", Sink())
        while data := plain.read(_CHUNK):
            self._cancel.check()
            seen.update(data)
            packer.write(data)
        packer.close()
        return Digest(seen.hexdigest()), Digest(packed.hexdigest())

    def _opened(self, path: Path) -> BufferedReader:
        try:
            return path.open("rb")
        except OSError as err:
            raise SpecError(
                f"the package {path.name} cannot be read: {err.strerror}", where=Place(str(path)), reason="missing-file"
            ) from err

    def layer(self, entry: bytes) -> tuple[ImageLayer, Callable[[], IO[bytes]], bytes, Path]:
        """Of an entry that `entries` made: its layer, what opens it, its metadata as published, and that file's path.

        Raises IntegrityError, SpecError.
        """
        named = archive_of(entry)
        archive = self._found(named)
        metadata = archive.with_name(f"{archive.name.partition('.package.tar')[0]}.metadata.yaml")
        data = self._opened(metadata).read()
        before = _SHA256.search(data)
        if before is None:
            raise IntegrityError(f"{metadata} names no archive")
        known = Archive(archive.relative_to(self._packages).as_posix(), Digest(before[1].decode()))
        layer = self._known([known])[known]
        if layer.digest != named.sha256:
            raise IntegrityError(f"{metadata} changed while its repository was made", hint="create-repo again")
        return layer, lambda: self._layer_file(known, layer), renamed(data, known.sha256, layer), metadata

    def _found(self, named: Archive) -> Path:
        """The archive that became the layer of an entry."""
        stem = named.path.partition(".package.tar")[0]
        for suffix in ("", ".gz", ".zst"):
            path = self._packages / f"{stem}.package.tar{suffix}"
            if path.is_file():
                return path
        raise SpecError(
            f"the package {stem} is not beside its metadata", where=Place(str(self._packages)), reason="missing-file"
        )

    def _layer_file(self, archive: Archive, layer: ImageLayer) -> IO[bytes]:
        if layer.digest == archive.sha256:
            return self._opened(self._packages / archive.path)
        if not self._store.has_blob(layer.digest):
            made = self._make(archive)
            if made.digest == layer.digest:
                return self._store.blob_path(layer.digest).open("rb")
            # another compressor than that of the note
            self._store.index.set_notes(_NOTES, {archive.sha256.hex: _written(made)})
            raise IntegrityError(f"the layer of {archive.path} cannot be made as it was", hint="create-repo again")
        return self._store.blob_path(layer.digest).open("rb")


def _written(layer: ImageLayer) -> bytes:
    return f"{layer.digest.hex} {layer.size_bytes} {layer.content.hex}".encode()


def _read(noted: bytes) -> ImageLayer:
    digest, size, content = noted.decode().split()
    return ImageLayer(Digest(digest), int(size), Digest(content))
