"""Digests of bytes. Always SHA-256, the only algorithm that the formats we read and write use."""

from __future__ import annotations

import re

from treebuilder.records import record

_HEX = re.compile(r"[0-9a-f]{64}\Z")


@record(order=True)
class Digest:
    """A SHA-256; `hex` is 64 lower-case hexadecimal characters."""

    hex: str

    def __post_init__(self) -> None:
        if not _HEX.match(self.hex):
            raise ValueError(f"not a sha256: {self.hex[:80]!r}")

    def __str__(self) -> str:
        return f"sha256:{self.hex}"

    @staticmethod
    def parse(text: str) -> Digest:
        """Reads `sha256:<hex>` or bare hex. Raises ValueError for anything else."""
        return Digest(text.removeprefix("sha256:"))

    @staticmethod
    def of(data: bytes) -> Digest:
        from hashlib import sha256  # brings OpenSSL, 3 ms

        return Digest(sha256(data).hexdigest())
