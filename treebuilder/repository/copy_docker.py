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
from treebuilder.repository.api import INDEX_NAME, SIGNATURE_SUFFIX
from treebuilder.repository.carrying import Carrier
from treebuilder.repository.copying import MAX_PACKAGE_BYTES, SNAPSHOT_SUFFIX, Piece, State, read_state, show
from treebuilder.repository.docker import ARCHIVE, DockerBackend, is_cut, package_tag, tag_of, title_of
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
        self._before: dict[str, Digest | None] = {}  # indexes' images when it was found that they may be replaced
        self._replaced: list[str] = []

    def document(self, name: str) -> bytes | None:
        found = self._target.index(name)
        self._before.setdefault(name, self._target.seen(name))
        return found

    def missing(self, states: Sequence[State]) -> tuple[Piece, ...]:
        wanted: dict[Piece, None] = {}
        known: set[Piece] = set()
        for state in states:
            if self._target.index(state.reference) == state.index:
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
        try:
            state = read_state(self._target, reference, str(self._target))
        except IntegrityError:
            return set()
        except TransportError as err:
            if err.status != 404:
                raise
            return set()
        return set() if state is None else {piece for piece in state.pieces if piece.package}

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
        for reference in self._replaced:
            self._need_unchanged(reference)
        self._tags.move(frozenset(tag for tag, piece in self._newest.items() if not piece.package))
        shown = [show(state, self._target.index, self._write) for state in states]
        changed = any(shown)
        if self._carrier is not None:
            changed = bool(self._carrier.signatures([state.reference for state in states])) or changed
        for name, data in documents.items():
            if self._target.index(name) != data:
                self._target.put(name, data)
                changed = True
        return changed

    def _need_unchanged(self, reference: str) -> None:
        """Raises IntegrityError (reason "changed") for an index that somebody wrote while packages were brought."""
        if self._target.place.digest_of(tag_of(reference)) != self._before.get(reference):
            raise IntegrityError(
                f"{self._target}: somebody published {reference} while it was copied to: that one stays",
                reason="changed", hint="run it again",
            )  # fmt: skip

    def _write(self, reference: str, data: bytes) -> None:
        if reference in self._replaced:
            self._need_unchanged(reference)
        carrier = None if reference.endswith(SIGNATURE_SUFFIX) else self._carrier
        if carrier is None or not carrier.index(reference, Digest.of(data)):
            self._target.commit(reference, data)
