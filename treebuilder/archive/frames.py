"""Whether a zstd stream is whole: the library gives what it has of a frame that was cut off, and says nothing.

Only headers are looked at, those of frames and of their blocks. Source: RFC 8878 §3.1.
"""

from __future__ import annotations

from treebuilder.annotations import IO

_SKIPPABLE = b"\x2a\x4d\x18"
_DICTIONARY_ID = (0, 1, 2, 4)
_CONTENT_SIZE = (0, 2, 4, 8)
_MAGIC, _SIZE, _DESCRIPTOR, _BLOCK = 4, -4, 1, 3  # what comes next; its length is how many bytes that has
_RLE = 1


class Frames:
    """A source of zstd frames, looked at as it is read."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._next, self._held, self._skip = _MAGIC, b"", 0
        self._checksum = 0

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        at = 0
        while at < len(data):
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
                at += step
                continue
            piece = data[at : at + abs(self._next) - len(self._held)]
            at += len(piece)
            self._held += piece
            if len(self._held) == abs(self._next):
                self._header(self._held)
                self._held = b""
        return data

    def are_whole(self) -> bool:
        """Whether the last of them came to its end."""
        return self._next == _MAGIC and not self._held and not self._skip

    def _header(self, held: bytes) -> None:
        if self._next == _MAGIC:
            self._next = _SIZE if held[1:] == _SKIPPABLE else _DESCRIPTOR
        elif self._next == _SIZE:
            self._next, self._skip = _MAGIC, int.from_bytes(held, "little")
        elif self._next == _DESCRIPTOR:
            flags = held[0]
            is_single = bool(flags & 0x20)
            content_size = _CONTENT_SIZE[flags >> 6] or int(is_single)
            self._checksum = 4 if flags & 4 else 0
            self._next, self._skip = _BLOCK, (not is_single) + _DICTIONARY_ID[flags & 3] + content_size
        else:
            said = int.from_bytes(held, "little")
            self._skip = 1 if said >> 1 & 3 == _RLE else said >> 3
            if said & 1:
                self._skip += self._checksum
                self._next = _MAGIC
