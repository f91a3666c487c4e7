"""Images of one layer, as packages and files of a repository are published: normal images that any engine can run.

Equal input gives equal bytes, so an image is known by its digest before anything of it was sent.
Source: OCI image-spec 1.1, manifest.md, config.md, annotations.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from treebuilder.annotations import IO, Any
from treebuilder.errors import IntegrityError
from treebuilder.model.digest import Digest
from treebuilder.oci.arriving import UNSEEN, Arriving
from treebuilder.oci.layout import item_digest
from treebuilder.oci.platform import architecture
from treebuilder.oci.remote import Repository, descriptor_size
from treebuilder.records import record
from treebuilder.system.clock import utc

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYERS = {
    "none": "application/vnd.oci.image.layer.v1.tar",
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
}
_SMALL = 1 << 16  # bytes that are sent without asking whether they are there


@record
class ImageLayer:
    """A layer as it is stored: the blob, its size in bytes, and the digest of the tar in it."""

    digest: Digest
    size_bytes: int
    content: Digest
    compression: str = "gzip"


@record
class LayerImage:
    """An image of one layer; both documents are JSON."""

    layer: ImageLayer
    config: bytes
    manifest: bytes

    @property
    def digest(self) -> Digest:
        return Digest.of(self.manifest)


def layer_image(
    layer: ImageLayer, epoch_s: int, annotations: Mapping[str, str], *, command: tuple[str, ...] = (),
    labels: Mapping[str, str] | None = None,
) -> LayerImage:  # fmt: skip
    """The image for this machine's architecture. `command` is what it runs when nothing else is said."""
    created = utc(epoch_s, "%Y-%m-%dT%H:%M:%SZ")
    own: dict[str, Any] = {"Cmd": list(command)} if command else {}
    if labels:
        own["Labels"] = dict(labels)
    config = _json({
        "architecture": architecture(), "config": own, "created": created,
        "history": [{"comment": "Custom image", "created": created, "created_by": "treebuild"}], "os": "linux",
        "rootfs": {"diff_ids": [str(layer.content)], "type": "layers"},
    })  # fmt: skip
    manifest: dict[str, Any] = {
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": _CONFIG, "digest": str(Digest.of(config)), "size": len(config)},
        "layers": [
            {"mediaType": _LAYERS[layer.compression], "digest": str(layer.digest), "size": layer.size_bytes}
        ],
    }  # fmt: skip
    if annotations:
        manifest["annotations"] = dict(annotations)
    return LayerImage(layer, config, _json(manifest))


def push_image(
    place: Repository, image: LayerImage, tag: str, opened: Callable[[], IO[bytes]], progress: Arriving = UNSEEN
) -> None:
    """Uploads what the repository lacks of an image and lets the tag lead to it. Raises what `push_blob` raises."""
    push_blobs(place, image, opened, progress)
    place.put_manifest(tag, image.manifest, MANIFEST)


def push_blobs(
    place: Repository, image: LayerImage, opened: Callable[[], IO[bytes]], progress: Arriving = UNSEEN, *,
    again: bool = False,
) -> None:  # fmt: skip
    """Uploads what the repository lacks of an image, all but its manifest; `again`: what it says to have, too.

    Raises what `push_blob` raises.
    """
    layer = image.layer
    if layer.size_bytes <= _SMALL:
        with opened() as source:
            data = source.read(_SMALL + 1)
        if Digest.of(data) != layer.digest:
            raise IntegrityError(f"the layer {layer.digest} reads as {Digest.of(data)}")
        place.push_small(data)
    else:
        place.push_blob(layer.digest, layer.size_bytes, opened, progress, again=again)
    place.push_small(image.config)


def only_layer(manifest: Mapping[str, Any], what: str) -> tuple[Digest, int]:
    """Digest and size of the one layer of an image. Raises IntegrityError when it has more or none."""
    layers = manifest.get("layers")
    if not isinstance(layers, list) or len(layers) != 1 or not isinstance(layers[0], dict):
        raise IntegrityError(f"{what} is no image of one layer, as a repository's are")
    return item_digest(layers[0], what), descriptor_size(layers[0])


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
