"""What a record's manifest says of its layers, and where they are to be had."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from treebuilder.annotations import IO, Any, Protocol
from treebuilder.archive.bounds import USUAL_BOUND
from treebuilder.errors import IntegrityError
from treebuilder.model.digest import Digest
from treebuilder.oci.arriving import Arriving
from treebuilder.oci.layout import item_digest
from treebuilder.oci.remote import descriptor_size
from treebuilder.records import record

_LAYER = "application/vnd.oci.image.layer.v1.tar+zstd"
_CONTENT = "dev.treebuild.content"  # the digest of the plain tar
_PLAIN = "dev.treebuild.unpacked"  # its length in bytes, where it is odd


class Records(Protocol):
    """One repository of a registry, or a folder that stands for one (`oci.remote`, `oci.folder`)."""

    def manifest(self, tag: str, expected: Digest | None, /) -> tuple[Digest, dict[str, Any]]: ...

    def blob(self, digest: Digest, size: int, file: Path, progress: Arriving, /) -> Path: ...

    def has_blob(self, digest: Digest, /) -> bool: ...

    def digest_of(self, reference: str, /) -> Digest | None: ...

    def push_blob(
        self, digest: Digest, size: int, opened: Callable[[], IO[bytes]], /, *, again: bool = False
    ) -> bool: ...

    def put_manifest(self, reference: str, data: bytes, media: str, /) -> Digest: ...


@record
class Blob:
    """Where a blob is to be had."""

    repository: Records
    digest: Digest
    size: int
    plain_bytes: int = 0  # the length of its tar, where that is more than would be believed


def layer_item(blob: Digest, size: int, content: Digest, plain_bytes: int = 0) -> dict[str, Any]:
    """A layer's descriptor."""
    notes = {_CONTENT: str(content)}
    if plain_bytes > USUAL_BOUND.most(size):
        notes[_PLAIN] = str(plain_bytes)
    return {"mediaType": _LAYER, "digest": str(blob), "size": size, "annotations": notes}


def by_content(repository: Records, items: list[dict[str, Any]]) -> dict[str, Blob]:
    """The layers of a manifest by what they hold. Raises IntegrityError."""
    found = {}
    for item in items:
        given = item.get("annotations")
        notes = given if isinstance(given, dict) else {}
        plain = str(notes.get(_PLAIN, ""))
        try:
            content = Digest.parse(str(notes.get(_CONTENT, "")))
        except ValueError as err:
            raise IntegrityError(f"{repository}: a layer that does not say what it holds") from err
        plain_bytes = int(plain) if plain.isascii() and plain.isdigit() and len(plain) < 18 else 0
        found[content.hex] = Blob(repository, item_digest(item, str(repository)), descriptor_size(item), plain_bytes)
    return found
