"""Signatures of images in a registry, written and found: cosign's `.sig` tag, and the bundle as a referrer.

The bundle is sent first and the `.sig` tag last, so whoever finds himself under the tag need not look further.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from treebuilder.annotations import Any
from treebuilder.errors import IntegrityError, TransportError
from treebuilder.model.digest import Digest
from treebuilder.oci.arriving import UNSEEN
from treebuilder.oci.layerimage import MANIFEST
from treebuilder.oci.layout import item_digest
from treebuilder.oci.reference import DOCKER_HUB
from treebuilder.oci.remote import Repository
from treebuilder.records import record
from treebuilder.trust import cosign
from treebuilder.trust.keys import PrivateKey, PublicKey, verifies


class ImageSigner:
    """Signs images of one repository. May be used from many threads. `place` is asked for when it is needed.

    Raises ConfigError (reason "key-type") for keys that cannot sign images.
    """

    def __init__(self, place: Callable[[], Repository], keys: Collection[PrivateKey]) -> None:
        for key in keys:
            cosign.signs_images(key.public)
        self._place, self._keys = place, tuple(keys)
        self._lock = threading.Lock()
        self._done: set[Digest] = set()
        self._small: set[Digest] = set()

    def signed(self, image: Digest) -> bool:
        """Whether all keys signed an image. Raises TransportError."""
        if image not in self._done:
            layers = _layers(self._place(), image)
            if self._missing(image, layers):
                return False
            self._done.add(image)
        return True

    def sign(self, image: Digest, size: int, tags: Collection[str] | None = None) -> bool:
        """Signs an image whose manifest has `size` bytes; False if it was. `tags`: all of the repository, if known.

        Signatures of other keys stay. Raises TransportError, IntegrityError.
        """
        if image in self._done:
            return False
        place = self._place()
        layers = [] if tags is not None and cosign.signature_tag(image) not in tags else _layers(place, image)
        missing = self._missing(image, layers)
        for key in missing:
            made = cosign.bundle_referrer(cosign.bundle(image, key), image, size=size, media_type=MANIFEST)
            self._push_blobs(place, made)
            described = {"artifactType": cosign.BUNDLE, "annotations": cosign.BUNDLE_ANNOTATIONS}
            place.put_referrer(made.manifest, MANIFEST, image, described)
        if missing:
            payload = self._payload(image)
            signatures = [cosign.cosign_signature(payload, key) for key in missing]
            made = cosign.signature_image(payload, signatures, image, layers)
            self._push_blobs(place, made)
            place.put_manifest(made.tag, made.manifest, MANIFEST)
        self._done.add(image)
        return bool(missing)

    def _payload(self, image: Digest) -> bytes:
        host, _, name = str(self._place()).partition("/")
        return cosign.cosign_payload(f"{'index.docker.io' if host == DOCKER_HUB else host}/{name}", image)

    def _missing(self, image: Digest, layers: list[dict[str, Any]]) -> list[PrivateKey]:
        """The keys that have not signed our payload for an image."""
        payload = self._payload(image)
        digest = str(Digest.of(payload))
        made = [_signature(layer) for layer in layers if layer.get("digest") == digest]
        found = [data for data in map(cosign.decoded, made) if data is not None]
        return [key for key in self._keys if not any(verifies(key.public, payload, data) for data in found)]

    def _push_blobs(self, place: Repository, made: cosign.SignatureObject) -> None:
        """Small blobs, most of which all signatures have in common."""
        for blob in made.blobs:
            digest = Digest.of(blob)
            if digest in self._small:
                continue
            place.push_small(blob)
            with self._lock:
                self._small.add(digest)


# finding --------------------------------------------------------------------------------------------------------------
@record
class Signature:
    """One that was found. `form` is "tag" or "bundle", `signers` are ids of trusted keys, `fault` is what is wrong."""

    form: str
    digest: str
    signers: tuple[str, ...] = ()
    fault: str = ""


def find_signatures(place: Repository, image: Digest, keys: Collection[PublicKey]) -> tuple[Signature, ...]:
    """What signatures an image has, each judged by `keys`. At most 16 of each form are looked at.

    Raises TransportError for what is no fault of a signature.
    """
    with tempfile.TemporaryDirectory(prefix="treebuild-") as scratch:
        read = _Reader(place, Path(scratch))
        return (*_tagged(read, image, keys), *_bundles(read, image, keys))


class _Reader:
    def __init__(self, place: Repository, scratch: Path) -> None:
        self.place, self._scratch = place, scratch

    def blob(self, item: Any, most: int) -> bytes:  # noqa: ANN401 - of a manifest that somebody wrote
        if not isinstance(item, dict):
            raise IntegrityError("a descriptor that is none")
        file = self._scratch / "blob"
        file.unlink(missing_ok=True)
        digest = item_digest(item, str(self.place))
        return self.place.blob(digest, most, file, UNSEEN).read_bytes()


def _judged(form: str, digest: str, judge: Callable[[], frozenset[str]]) -> Signature:
    try:
        signers = judge()
    except IntegrityError as err:
        return Signature(form, digest, fault=err.message)
    except TransportError as err:
        if err.status != 404:
            raise
        return Signature(form, digest, fault="the registry has not all of it")
    return Signature(form, digest, tuple(sorted(signers)), "" if signers else "of none of the keys")


def _tagged(read: _Reader, image: Digest, keys: Collection[PublicKey]) -> Iterator[Signature]:
    for layer in _layers(read.place, image)[: cosign.MAX_SIGNATURES]:

        def judge(layer: dict[str, Any] = layer) -> frozenset[str]:
            payload = read.blob(layer, cosign.MAX_PAYLOAD_BYTES)
            return cosign.check_signature(payload, _signature(layer), image, keys)

        yield _judged("tag", str(layer.get("digest")), judge)


def _bundles(read: _Reader, image: Digest, keys: Collection[PublicKey]) -> Iterator[Signature]:
    found = [item for item in read.place.referrers(image) if item.get("artifactType") == cosign.BUNDLE]
    for item in found[: cosign.MAX_SIGNATURES]:

        def judge(item: dict[str, Any] = item) -> frozenset[str]:
            digest = item_digest(item, str(read.place))
            _, manifest = read.place.manifest(str(digest), digest)
            layers = manifest.get("layers")
            if not isinstance(layers, list) or not layers:
                raise IntegrityError(f"{digest} holds no bundle")
            return cosign.check_bundle(read.blob(layers[0], cosign.MAX_BUNDLE_BYTES), image, keys)

        yield _judged("bundle", str(item.get("digest")), judge)


def _layers(place: Repository, image: Digest) -> list[dict[str, Any]]:
    """The layers of the image under the `.sig` tag that are signatures; none where there is none."""
    try:
        _, manifest = place.manifest(cosign.signature_tag(image), None)
    except TransportError as err:
        if err.status != 404:
            raise
        return []
    layers = manifest.get("layers")
    found = [item for item in layers if isinstance(item, dict)] if isinstance(layers, list) else []
    return [item for item in found if item.get("mediaType") == cosign.SIMPLE_SIGNING and _is_sound(item)]


def _is_sound(layer: dict[str, Any]) -> bool:
    try:
        return bool(Digest.parse(str(layer.get("digest"))))
    except ValueError:
        return False


def _signature(layer: dict[str, Any]) -> str:
    annotations = layer.get("annotations")
    made = annotations.get(cosign.ANNOTATION) if isinstance(annotations, dict) else None
    return made if isinstance(made, str) else ""
