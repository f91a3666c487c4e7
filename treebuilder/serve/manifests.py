"""Reading what a client pushes as a manifest: what it names, and whether it is one."""

from __future__ import annotations

import json
import re

from treebuilder.annotations import Any
from treebuilder.records import record
from treebuilder.serve.names import is_digest

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
_DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
_ELSEWHERE = ("application/vnd.docker.image.rootfs.foreign", "application/vnd.oci.image.layer.nondistributable")
KINDS = frozenset((INDEX, MANIFEST, _DOCKER_LIST, _DOCKER))  # manifests by the name of their kind
_MEDIA = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}\Z", re.ASCII)
_MENTIONED = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


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
class Descriptor:
    """What a manifest says of something that it needs. `media` is "" where it says nothing."""

    digest: str
    size: int
    media: str


@record
class Parsed:
    """A manifest, the blobs it needs and, for an index, the manifests it lists.

    `mentioned` are all digests that stand anywhere in it, sorted: what must not be deleted while it is there.
    """

    manifest: Manifest
    blobs: tuple[Descriptor, ...]
    children: tuple[Descriptor, ...]
    mentioned: tuple[str, ...]


def parse(data: bytes, content_type: str, digest: str) -> Parsed:
    """Raises InvalidError. Layers that say they are to be had elsewhere are not needed here."""
    try:
        value = json.loads(data)
        text = json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError) as err:
        raise InvalidError(f"it is no JSON: {err}") from err
    if not isinstance(value, dict) or value.get("schemaVersion") != 2:
        raise InvalidError("schemaVersion is not 2")
    said = _media(value, "mediaType")
    media = said or content_type or (INDEX if "manifests" in value else MANIFEST)
    if _MEDIA.match(media) is None:
        raise InvalidError(f"the Content-Type {media[:80]!r} is none")
    if content_type and said and content_type != said:
        raise InvalidError(f"the Content-Type {content_type} is not its mediaType {said}")
    blobs: list[Descriptor] = []
    children: list[Descriptor] = []
    config: dict[str, Any] = {}
    if media in (INDEX, _DOCKER_LIST):
        children = [_descriptor(item) for item in _items(value, "manifests")]
    else:
        config = _item(value.get("config", {}))
        blobs = [_descriptor(config)] if config else []
        for layer in _items(value, "layers"):
            if not str(layer.get("mediaType", "")).startswith(_ELSEWHERE) and not layer.get("urls"):
                blobs.append(_descriptor(layer))
    subject = value.get("subject")
    kind = _media(value, "artifactType") or (_media(config, "mediaType") if config else "")
    made = Manifest(
        digest, media, len(data), _descriptor(_item(subject)).digest if subject else "", kind, _annotations(value)
    )
    mentioned = sorted(set(_MENTIONED.findall(text)) - {digest})
    return Parsed(made, tuple(blobs), tuple(children), tuple(mentioned))


def mentions(data: bytes) -> tuple[str, ...]:
    """The digests in a manifest that an earlier version took, sorted."""
    return tuple(sorted(set(_MENTIONED.findall(data.decode("utf-8", "replace")))))


def _annotations(value: dict[str, Any]) -> str:
    found = value.get("annotations")
    if found is None:
        return ""
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise InvalidError("annotations are a map of texts")
    return json.dumps(found, sort_keys=True)


def _media(item: dict[str, Any], key: str) -> str:
    """A media type; "" for none. It goes into the headers of replies, so it must be one (RFC 6838 §4.2)."""
    found = item.get(key)
    if found is None or found == "":
        return ""
    if not isinstance(found, str) or _MEDIA.match(found) is None:
        raise InvalidError(f"{key} is no media type: {str(found)[:80]!r}")
    return found


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


def _descriptor(item: dict[str, Any]) -> Descriptor:
    digest, size = item.get("digest"), item.get("size")
    if not isinstance(digest, str) or not is_digest(digest):
        raise InvalidError(f"{digest!r:.80} is no digest")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 63:
        raise InvalidError(f"the size of {digest} is {size!r:.80}")
    media = item.get("mediaType")  # of what is below: it goes into no header, and some write parameters behind it
    return Descriptor(digest, size, media if isinstance(media, str) else "")
