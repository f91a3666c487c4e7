"""Reading what a client pushes as a manifest: what it names, and whether it is one."""

from __future__ import annotations

import json
from typing import Any

from treebuilder.records import record
from treebuilder.serve.names import is_digest

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
_ELSEWHERE = ("application/vnd.docker.image.rootfs.foreign", "application/vnd.oci.image.layer.nondistributable")


@record
class Manifest:
    """A manifest or index as it was pushed. `subject` is the digest it refers to, "" for none."""

    digest: str
    media: str
    size: int
    subject: str
    artifact: str
    annotations: str

    def descriptor(self) -> dict[str, Any]:
        found: dict[str, Any] = {"mediaType": self.media, "digest": self.digest, "size": self.size}
        if self.artifact:
            found["artifactType"] = self.artifact
        if self.annotations:
            found["annotations"] = json.loads(self.annotations)
        return found


class InvalidError(Exception):
    """It is no manifest."""


@record
class Parsed:
    """A manifest, the blobs it needs and, for an index, the manifests it lists."""

    manifest: Manifest
    blobs: tuple[str, ...]
    children: tuple[str, ...]


def parse(data: bytes, content_type: str, digest: str) -> Parsed:
    """Raises InvalidError. Layers that say they are to be had elsewhere are not needed here."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as err:
        raise InvalidError(f"it is no JSON: {err}") from err
    if not isinstance(value, dict) or value.get("schemaVersion") != 2:
        raise InvalidError("schemaVersion is not 2")
    media = str(value.get("mediaType") or content_type or (INDEX if "manifests" in value else MANIFEST))
    if content_type and value.get("mediaType") and content_type != media:
        raise InvalidError(f"the Content-Type {content_type} is not its mediaType {media}")
    blobs: list[str] = []
    children: list[str] = []
    config: dict[str, Any] = {}
    if media in (INDEX, _DOCKER_LIST):
        children = [_digest(item) for item in _items(value, "manifests")]
    else:
        config = _item(value.get("config", {}))
        blobs = [_digest(config)] if config else []
        for layer in _items(value, "layers"):
            if not str(layer.get("mediaType", "")).startswith(_ELSEWHERE) and not layer.get("urls"):
                blobs.append(_digest(layer))
    subject = value.get("subject")
    kind = value.get("artifactType") or config.get("mediaType") or ""
    annotations = value.get("annotations")
    if annotations is not None and not isinstance(annotations, dict):
        raise InvalidError("annotations are a map")
    made = Manifest(
        digest, media, len(data), _digest(_item(subject)) if subject else "", str(kind),
        json.dumps(annotations, sort_keys=True) if annotations else "",
    )  # fmt: skip
    return Parsed(made, tuple(blobs), tuple(children))


def _items(value: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = value.get(key)
    if found is None:
        return []
    if not isinstance(found, list):
        raise InvalidError(f"{key} is a list")
    return [_item(item) for item in found]


def _item(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidError("a descriptor is a map")
    return value


def _digest(item: dict[str, Any]) -> str:
    digest, size = item.get("digest"), item.get("size")
    if not isinstance(digest, str) or not is_digest(digest):
        raise InvalidError(f"{digest!r} is no digest")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise InvalidError(f"the size of {digest} is {size!r}")
    return digest
