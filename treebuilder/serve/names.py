"""What may stand in a request's path (OCI distribution specification 1.1, "Pulling manifests")."""

from __future__ import annotations

import hashlib
import re

from treebuilder.annotations import Any

_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*\Z", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z", re.ASCII)
_DIGEST = re.compile(r"(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})\Z")
_ODD = re.compile(r"[^a-z0-9]+")
_MAX_NAME = 255


def is_name(text: str) -> bool:
    return len(text) <= _MAX_NAME and _NAME.match(text) is not None


def as_name(text: str) -> str:
    """A repository's name made from what other programs allow, as `host:port/Name`; empty if nothing is left."""
    if is_name(text):
        return text
    parts = (_ODD.sub("-", part).strip("-") for part in text.lower().split("/"))
    made = "/".join(part for part in parts if part)
    return made if is_name(made) else ""


def is_tag(text: str) -> bool:
    return _TAG.match(text) is not None


def is_digest(text: str) -> bool:
    """`sha256:` or `sha512:` and lower-case hexadecimal characters."""
    return _DIGEST.match(text) is not None


def hasher(digest: str) -> Any:  # noqa: ANN401 - hashlib's objects have no public type
    """An empty hash of the digest's kind."""
    return hashlib.new(digest.partition(":")[0])


def digest_of(data: bytes, like: str = "sha256:") -> str:
    """The digest of bytes, of the same kind as `like`."""
    made = hasher(like)
    made.update(data)
    return f"{made.name}:{made.hexdigest()}"
