"""Images that go from one registry to another as they are, manifest and all, and with them who signed them.

A signature is of a manifest, so an image that is made anew has none. What is carried is compared with what the
repository promises: a package's image is one whose only layer is the archive, a file's one that holds this file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from treebuilder.annotations import Any
from treebuilder.errors import IntegrityError, TransportError
from treebuilder.model.digest import Digest
from treebuilder.oci.arriving import UNSEEN
from treebuilder.oci.layerimage import MANIFEST, only_layer
from treebuilder.oci.layout import item_digest, json_object
from treebuilder.oci.remote import descriptor_size
from treebuilder.oci.store import Store
from treebuilder.records import record
from treebuilder.repository.docker import DockerBackend, file_of_layer, tag_of
from treebuilder.repository.late_tags import LateTags
from treebuilder.system.pool import in_parallel
from treebuilder.trust import cosign

_TAG = re.compile(r"sha256-([0-9a-f]{64})\.(?:sig|att|sbom)\Z")
_MOST_BYTES = 64 << 20  # of what is no package
_MOST_REFERRERS = 100
_THREADS = 4


@record
class _Image:
    """An image of one layer, as the origin has it."""

    reference: str
    data: bytes
    media: str
    config: Any
    layer: Digest
    size_bytes: int


class Carrier:
    """Carries images of one copy. `tags` are those that move late."""

    def __init__(self, origin: DockerBackend, target: DockerBackend, store: Store, tags: LateTags) -> None:
        self._origin, self._target, self._store, self._tags = origin, target, store, tags

    def package(self, tag: str, archive: Digest, file: Path, *, newest: bool) -> int | None:
        """A package's image, whose layer is here as `file`; the bytes moved. None for one that cannot be carried."""
        return self._image(tag, tag, lambda layer: layer == archive, file, newest)

    def file(self, name: str, content: Digest, *, newest: bool) -> int | None:
        """The image of a repository's file, where the origin has one of this content."""
        known = self._origin.described(name)
        return self._image(str(known or tag_of(name)), tag_of(name), self._holding(content), None, newest)

    def index(self, reference: str, content: Digest) -> tuple[bytes, str] | None:
        """Brings all of an index's image but its manifest, which it gives with its media type; None for one that
        cannot be carried."""
        seen = self._origin.seen(reference)
        found = None if seen is None else self._found(str(seen), self._holding(content))
        if found is None:
            return None
        self._blobs_of(found, None)
        return found.data, found.media

    def _holding(self, content: Digest) -> Callable[[Digest], bool]:
        return lambda layer: file_of_layer(self._store, layer) == content

    def _image(
        self, reference: str, tag: str, fits: Callable[[Digest], bool], file: Path | None, newest: bool
    ) -> int | None:
        """`newest` as in `LateTags.put`."""
        found = self._found(reference, fits)
        if found is None:
            return None
        moved = 0 if self._tags.there(tag, Digest.of(found.data)) else self._blobs_of(found, file)
        self._tags.put(tag, found.data, found.media, newest=newest)
        return moved

    def _found(self, reference: str, fits: Callable[[Digest], bool]) -> _Image | None:
        """An image of the origin; None for one that cannot be carried."""
        try:
            data = self._origin.place.manifest_bytes(reference, None)
            manifest = json_object(data, reference)
            layer, size = only_layer(manifest, reference)
        except IntegrityError:
            return None
        except TransportError as err:
            if err.status != 404:
                raise
            return None
        media = str(manifest.get("mediaType") or MANIFEST)
        return _Image(reference, data, media, manifest.get("config"), layer, size) if fits(layer) else None

    def _blobs_of(self, image: _Image, file: Path | None) -> int:
        """The bytes moved."""
        layer, size = image.layer, image.size_bytes
        if file is None:
            moved = self._blob(layer, size)
        else:
            moved = size if self._target.place.push_blob(layer, size, lambda: file.open("rb", buffering=0)) else 0
        return moved + self._blob(item_digest(image.config, image.reference), descriptor_size(image.config))

    def _blob(self, digest: Digest, size: int) -> int:
        """Brings a small blob over unless it is there; the bytes moved."""
        place = self._target.place
        if place.has_blob(digest):
            return 0
        if size > _MOST_BYTES:
            raise IntegrityError(f"{self._origin}: {digest} is too large for what it belongs to")
        with self._store.part() as part:
            self._origin.place.blob(digest, size, part, UNSEEN)
            place.push_blob(digest, part.stat().st_size, lambda: part.open("rb", buffering=0))
        return size

    # signatures -------------------------------------------------------------------------------------------------
    def signatures(self, references: Sequence[str]) -> int:
        """Carries the signatures of all images that are in both places; how many images got any.

        An index is signed after all that it names: where its signatures are the same, so are those of the rest, and
        only what has none at all is looked at. Raises TransportError, IntegrityError.
        """
        there = {tag: match[1] for tag in self._origin.place.tags() if (match := _TAG.match(tag))}
        if not there:
            return 0
        ours = set(self._target.place.tags())
        indexes = [self._origin.seen(reference) for reference in references]
        signed = [cosign.signature_tag(index) for index in indexes if index is not None]
        first = [tag for tag in signed if tag in there]
        same = bool(first) and all(self._same(tag) for tag in first)
        wanted = [tag for tag in there if tag not in ours] if same else [tag for tag in there if not self._same(tag)]
        last = [tag for tag in wanted if tag in first]  # the indexes' after all others
        done = in_parallel([tag for tag in wanted if tag not in last], self._signature, _THREADS)
        return sum([*done, *map(self._signature, last)])

    def _same(self, tag: str) -> bool:
        return self._target.place.digest_of(tag) == self._origin.place.digest_of(tag)

    def _signature(self, tag: str) -> bool:
        """What is under a tag, and the bundles; False where the image that it is of is not in the destination."""
        origin, place = self._origin.place, self._target.place
        match = _TAG.match(tag)
        assert match is not None
        subject = Digest(match[1])
        if place.digest_of(str(subject)) is None:
            return False
        present = {str(item.get("digest")) for item in place.referrers(subject)}
        for item in origin.referrers(subject)[:_MOST_REFERRERS]:
            digest = item_digest(item, str(origin))
            if item.get("artifactType") != cosign.BUNDLE or str(digest) in present:
                continue
            data = origin.manifest_bytes(str(digest), digest)
            self._blobs(json_object(data, str(digest)), str(digest))
            described: dict[str, Any] = {key: item[key] for key in ("artifactType", "annotations") if key in item}
            place.put_referrer(data, MANIFEST, subject, described)
        data = origin.manifest_bytes(tag, None)
        manifest = json_object(data, tag)
        self._blobs(manifest, tag)
        place.put_manifest(tag, data, str(manifest.get("mediaType") or MANIFEST))
        return True

    def _blobs(self, manifest: dict[str, Any], what: str) -> None:
        layers = manifest.get("layers")
        for item in (manifest.get("config"), *(layers if isinstance(layers, list) else ())):
            digest = item_digest(item, what)
            self._blob(digest, descriptor_size(item) if isinstance(item, dict) else 0)
