"""What functions may know of the world: only what the caller gives, so that equal input gives equal output."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from treebuilder.annotations import Protocol
from treebuilder.records import field, record


class Include(Protocol):
    """Runs a named template and returns its text."""

    def __call__(self, name: str, value: object) -> str: ...


@record(frozen=False)
class Randomness:
    """A stream of bytes from a seed: SHA-256 in counter mode. The seed is asked for when the first byte is."""

    seed: Callable[[], bytes]
    _key: bytes = b""
    _counter: int = 0
    _left: bytes = b""

    def take(self, count: int) -> bytes:
        while len(self._left) < count:
            self._key = self._key or self.seed()
            block = hashlib.sha256(self._key + self._counter.to_bytes(8, "big")).digest()
            self._counter += 1
            self._left += block
        taken, self._left = self._left[:count], self._left[count:]
        return taken

    def below(self, limit: int) -> int:
        """A number from 0 to `limit` - 1, every one equally likely."""
        size = (limit.bit_length() + 7) // 8
        ceiling = (256**size // limit) * limit
        while True:
            value = int.from_bytes(self.take(size), "big")
            if value < ceiling:
                return value % limit


@record
class World:
    """`env` are the variables a template may see, `epoch_s` is what `now` says."""

    env: Mapping[str, str]
    epoch_s: int
    random: Randomness = field(compare=False)
    include: Include = field(compare=False)
