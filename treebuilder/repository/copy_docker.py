"""A repository of a registry as the destination of a copy. A package's blob is its archive, byte for byte.

What the index that is there names with the same digest is left alone; everything else is sent before the index is. No
tag that leads somewhere moves before all is there.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from treebuilder.annotations import IO
from treebuilder.archive.compress import decompressed, sniff
from treebuilder.errors import ConfigError, IntegrityError, TransportError
from treebuilder.model.digest import Digest
from treebuilder.oci.layerimage import MANIFEST, ImageLayer, LayerImage, layer_image, push_blobs
from treebuilder.oci.store import Store
from treebuilder.repository.api import INDEX_NAME, MAX_META_BYTES, SIGNATURE_SUFFIX
from treebuilder.repository.carrying import Carrier
from treebuilder.repository.copying import MAX_PACKAGE_BYTES, SNAPSHOT_SUFFIX, Piece, State, packages_of, show
from treebuilder.repository.docker import (
    ARCHIVE,
    NOT_SHOWN,
    SETTLE_S,
    DockerBackend,
    is_cut,
    package_tag,
    tag_of,
    title_of,
)
from treebuilder.repository.index import parse_index
from treebuilder.repository.late_tags import LateTags
from treebuilder.system.process import Cancel

_REF = "org.opencontainers.image.ref.name"
_NOTES = "mirrored-layer"  # an archive's digest to its size and the digest of its tar
_CHUNK = 1 << 20


def _tag(piece: Piece) -> str:
    return package_tag(piece.name) if piece.package else tag_of(piece.name)


def docker_references(target: DockerBackend) -> tuple[str, ...]:
    """The newest index and those of snapshots, the newest name first. Raises TransportError."""
    found: set[str] = set()
    for tag in target.place.tags():
        whole = tag.endswith(SNAPSHOT_SUFFIX)
        if not whole and not is_cut(tag):
            continue
        title = title_of(target.place.manifest(tag, None)[1])
        if title.endswith(SNAPSHOT_SUFFIX) and tag_of(title) == tag:
            found.add(title)
        elif whole:
            found.add(tag)
    return (INDEX_NAME, *sorted(found, reverse=True))


class DockerPlace:
    """Implements `Destination`. What comes from the registry `origin` is carried as it is, with who signed it."""

    by_name = False

    def __init__(
        self, target: DockerBackend, store: Store, cancel: Cancel, origin: DockerBackend | None = None
    ) -> None:
        self._target, self._store, self._cancel = target, store, cancel
        self._tags = LateTags(target.place)
        self._carrier = Carrier(origin, target, store, self._tags) if origin is not None else None
        self._newest: dict[str, Piece] = {}  # by tags
        self._present: dict[str, bytes | None] = {}  # what it was found of that it may be replaced, and nothing newer
        self._replaced: list[str] = []
        self._unsure = False

    def document(self, name: str) -> bytes | None:
        """Read once: what is written in its place takes the place of nothing else."""
        if name not in self._present:
            self._present[name] = self._target.index(name)
        return self._present[name]

    def missing(self, states: Sequence[State]) -> tuple[Piece, ...]:
        wanted: dict[Piece, None] = {}
        known: set[Piece] = set()
        for state in states:
            same, signature = self.document(state.reference) == state.index, state.reference + SIGNATURE_SUFFIX
            if state.signature is not None and not (self.document(signature) == state.signature and same):
                self._replaced.append(signature)
            if same:
                known |= {piece for piece in state.pieces if piece.package}
                continue
            self._replaced.append(state.reference)
            known |= self._known(state.reference)
            wanted |= dict.fromkeys(state.pieces)
        self._check_tags(states)
        if all(state.reference != INDEX_NAME for state in states):  # the newest one there keeps its tags
            self._newest |= {_tag(piece): piece for piece in self._known(INDEX_NAME)}
        return tuple(piece for piece in wanted if not (piece.package and piece in known))

    def _known(self, reference: str) -> set[Piece]:
        """Packages that an index names which is there; none where it cannot be read."""
        present, what = self.document(reference), f"{self._target}: {reference}"
        if present is None:
            return set()
        try:
            meta = parse_index(present, what).file("meta")
            assert meta is not None  # parse_index saw to it
            return set(packages_of(self._target.open(meta.filename, meta.sha256, MAX_META_BYTES), what))
        except IntegrityError:
            return set()
        except TransportError as err:
            if err.status != 404:
                raise
            return set()

    def _check_tags(self, states: Sequence[State]) -> None:
        taken: dict[str, str] = {}
        for state in states:
            if state.reference != INDEX_NAME:
                self._target.need_own_tag(state.reference)
            named = [(tag_of(name), name) for name in (state.reference, state.reference + SIGNATURE_SUFFIX)]
            for piece in state.pieces:
                if piece.package and ARCHIVE not in piece.name:
                    raise IntegrityError(f"{piece.name} is no name of a package's archive")
                tag = _tag(piece)
                named.append((tag, piece.name))
                self._newest[tag] = piece  # the last state is the newest
            for tag, name in named:
                if taken.setdefault(tag, name) != name:
                    raise ConfigError(f"{taken[tag]} and {name} would have the same tag {tag}", reason="same-tag")

    def add(self, piece: Piece, source: Path) -> int:
        tag = _tag(piece)
        newest = self._newest[tag] == piece
        if self._carrier is not None:
            carried = (
                self._carrier.package(tag, piece.sha256, source, newest=newest)
                if piece.package
                else self._carrier.file(piece.name, piece.sha256, newest=newest)
            )
            if carried is not None:
                return carried
        if piece.package:
            image = layer_image(self._layer(piece, source), 0, {_REF: tag})
            return self._send(tag, image, lambda: source.open("rb"), newest)
        data = source.read_bytes()
        if Digest.of(data) != piece.sha256:
            raise IntegrityError(f"{piece.name} is not what its repository promises ({piece.sha256})")
        image, layer = self._target.made(piece.name, data)
        return self._send(tag, image, lambda: io.BytesIO(layer), newest)

    def _send(self, tag: str, image: LayerImage, opened: Callable[[], IO[bytes]], newest: bool) -> int:
        """The bytes moved."""
        moved = 0
        if not self._tags.there(tag, image.digest):
            push_blobs(self._target.place, image, opened)
            moved = image.layer.size_bytes
        self._tags.put(tag, image.manifest, MANIFEST, newest=newest)
        return moved

    def _layer(self, piece: Piece, source: Path) -> ImageLayer:
        with source.open("rb") as data:
            kind = sniff(data.read(4))
            noted = self._store.index.note(_NOTES, piece.sha256.hex)
            if noted is not None:
                size, content = noted.decode().split()
                return ImageLayer(piece.sha256, int(size), Digest(content), kind)
            data.seek(0)
            if hashlib.file_digest(data, "sha256").hexdigest() != piece.sha256.hex:
                raise IntegrityError(f"{piece.name} is not what its repository promises ({piece.sha256})")
            length = data.tell()
            data.seek(0)
            seen, plain = hashlib.sha256(), 0
            stream = decompressed(data)
            while chunk := stream.read(_CHUNK):
                self._cancel.check()
                plain += len(chunk)
                if plain > MAX_PACKAGE_BYTES:
                    raise IntegrityError(f"{piece.name} unpacks to more than {MAX_PACKAGE_BYTES >> 30} GiB")
                seen.update(chunk)
        self._store.index.set_notes(_NOTES, {piece.sha256.hex: f"{length} {seen.hexdigest()}".encode()})
        return ImageLayer(piece.sha256, length, Digest(seen.hexdigest()), kind)

    def publish(self, states: Sequence[State], documents: Mapping[str, bytes]) -> bool:
        self._need_unchanged(NOT_SHOWN)
        self._tags.move(frozenset(tag for tag, piece in self._newest.items() if not piece.package))
        shown = [show(state, self.document, self._write) for state in states]
        changed = any(shown)
        if self._unsure:  # so of two who publish at once, one finds the other's
            self._cancel.pause(SETTLE_S)
            self._need_unchanged("that one shows")
        if self._carrier is not None:
            changed = bool(self._carrier.signatures([state.reference for state in states])) or changed
        for name, data in documents.items():
            if self._target.index(name) != data:
                self._target.put(name, data)
                changed = True
        return changed

    def _need_unchanged(self, state: str) -> None:
        """Raises IntegrityError (reason "changed") for what somebody wrote while packages were brought."""
        for reference in self._replaced:
            self._target.need_unchanged(reference, state)

    def _write(self, reference: str, data: bytes) -> None:
        carrier = None if reference.endswith(SIGNATURE_SUFFIX) else self._carrier
        image = None if carrier is None else carrier.index(reference, Digest.of(data))
        if reference + SIGNATURE_SUFFIX in self._replaced:  # it fits both indexes, and what somebody else wrote may not
            self._target.need_unchanged(reference + SIGNATURE_SUFFIX, NOT_SHOWN)
        took_s = self._target.replace(reference, data) if image is None else self._target.lead(reference, *image)
        self._unsure = self._unsure or took_s is not None
