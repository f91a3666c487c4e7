"""What a repository says of its patches. Nobody has to believe it: what a patch makes counts by its digest alone.

In a folder or behind a web server they lie in `deltas/`, with a list of them beside the index; in a registry each is an
image that refers to the image of the package it makes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from treebuilder.annotations import Any
from treebuilder.errors import IntegrityError
from treebuilder.model.digest import Digest
from treebuilder.oci.layout import json_object
from treebuilder.records import record

LIST = "repository.deltas.json"
ARTIFACT_TYPE = "application/vnd.treebuild.delta.v1"
MAX_PATCH_BYTES = 16 << 30
_SCHEMA = "treebuild.deltas/1"
_BEFORE, _AFTER = "dev.treebuild.delta.from", "dev.treebuild.delta.to"
_MOST = 20_000


@record
class Patch:
    """What makes the tar `after` of the tar `before` (digests of plain tars), and the digest and size of its bytes."""

    before: Digest
    after: Digest
    sha256: Digest
    size_bytes: int

    @property
    def name(self) -> str:
        """Its file, relative to the repository."""
        return f"deltas/{self.after.hex[:32]}-{self.before.hex[:32]}.delta"


def list_document(patches: Iterable[Patch]) -> bytes:
    """The list, sorted, one line for each."""
    items = sorted((one.after.hex, one.before.hex, one.sha256.hex, one.size_bytes) for one in patches)
    lines = ",\n".join(
        json.dumps({"from": before, "sha256": sha256, "size": size, "to": after})
        for after, before, sha256, size in items
    )
    return f'{{"schema": "{_SCHEMA}", "patches": [\n{lines}\n]}}\n'.encode()


def read_list(data: bytes, what: str) -> tuple[Patch, ...]:
    """Raises IntegrityError."""
    value = json_object(data, what)
    items = value.get("patches")
    if value.get("schema") != _SCHEMA or not isinstance(items, list) or len(items) > _MOST:
        raise IntegrityError(f"{what} is no list of patches")
    return tuple(_patch(item, what) for item in items)


def notes_of(patch: Patch) -> dict[str, str]:
    """What the image of a patch says of it."""
    return {
        _BEFORE: patch.before.hex, _AFTER: patch.after.hex, "dev.treebuild.delta.sha256": patch.sha256.hex,
        "dev.treebuild.delta.size": str(patch.size_bytes),
    }  # fmt: skip


def described(item: dict[str, Any], what: str) -> Patch:
    """The patch of an image, from its descriptor in a list of what refers to a package. Raises IntegrityError."""
    notes = item.get("annotations")
    if not isinstance(notes, dict):
        raise IntegrityError(f"{what}: a patch that says nothing of itself")
    size = notes.get("dev.treebuild.delta.size", "")
    value = {
        "from": notes.get(_BEFORE), "to": notes.get(_AFTER), "sha256": notes.get("dev.treebuild.delta.sha256"),
        "size": int(size) if isinstance(size, str) and size.isascii() and size.isdigit() and len(size) < 15 else -1,
    }  # fmt: skip
    return _patch(value, what)


def _patch(item: object, what: str) -> Patch:
    fields = item if isinstance(item, dict) else {}
    size = fields.get("size")
    try:
        digests = [Digest.parse(f"sha256:{fields.get(key)}") for key in ("from", "to", "sha256")]
    except ValueError as err:
        raise IntegrityError(f"{what}: a patch that is none") from err
    if not isinstance(size, int) or not 0 < size <= MAX_PATCH_BYTES:
        raise IntegrityError(f"{what}: a patch without a size")
    return Patch(digests[0], digests[1], digests[2], size)
