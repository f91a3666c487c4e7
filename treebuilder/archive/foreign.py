"""Compressions that we only read, and only where Docker does (ADD, a tar from a user): bzip2 and xz.

Both are read piece by piece, for a block of either may hold far more than memory does; what follows the last stream is
passed over, as by Python's own readers.
"""

from __future__ import annotations

import io
from collections.abc import Callable

from treebuilder.annotations import Any
from treebuilder.errors import IntegrityError

_PIECE = 1 << 16
_MAX_XZ_BYTES = 512 << 20  # of memory; `xz -9` needs 65 MiB
NEEDS_MEMORY = "needs-memory"  # the reason of an IntegrityError: nothing is damaged, the dictionary is too large
_OVER_LIMIT = "Memory usage limit exceeded"  # all that the library tells this fault from damage by
_MAGIC = {"bzip2": b"BZh", "xz": b"\xfd7zXZ\0"}
HEAD_BYTES = max(map(len, _MAGIC.values()))


def sniff(head: bytes) -> str:
    """Which of them a stream is that begins with `head`, `HEAD_BYTES` if it has as many; or "none"."""
    return next((kind for kind, magic in _MAGIC.items() if head.startswith(magic)), "none")


def _streams(kind: str) -> tuple[Callable[[], Any], tuple[type[Exception], ...]]:
    """What makes the decompressor of one stream, and what it says of damage."""
    if kind == "bzip2":
        import bz2

        return bz2.BZ2Decompressor, (OSError, ValueError)
    import lzma

    return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _MAX_XZ_BYTES), (lzma.LZMAError,)


class Reader(io.RawIOBase):
    """The plain bytes of `packed`, any number of streams. Reading them raises IntegrityError.

    Its reason is `NEEDS_MEMORY` where it takes more memory than we give, which is known before anything comes out.
    """

    def __init__(self, kind: str, packed: io.BufferedIOBase | io.RawIOBase) -> None:
        self._kind, self._packed = kind, packed
        self._new, self._damage = _streams(kind)
        self._stream = self._new()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - a writable buffer has no name in typing here
        while True:
            data = b""
            if self._stream.eof:
                data = self._next_stream()
                if not data:
                    return 0
                self._stream = self._new()
            elif self._stream.needs_input:
                data = self._packed.read(_PIECE)
                if not data:
                    raise IntegrityError(f"the {self._kind} stream ends too early")
            try:
                out = self._stream.decompress(data, len(buffer))
            except self._damage as err:
                if _OVER_LIMIT in str(err):
                    raise IntegrityError(
                        f"the {self._kind} stream needs more than {_MAX_XZ_BYTES >> 20} MiB of memory",
                        hint="compress it with a smaller dictionary: xz -9 will do", reason=NEEDS_MEMORY,
                    ) from err  # fmt: skip
                raise IntegrityError(f"the {self._kind} stream is damaged: {err}") from err
            if out:
                buffer[: len(out)] = out
                return len(out)

    def _next_stream(self) -> bytes:
        """The beginning of another stream, without the zeros that xz pads with; or nothing."""
        magic, data = _MAGIC[self._kind], self._stream.unused_data.lstrip(b"\0")
        while len(data) < len(magic):
            more = self._packed.read(_PIECE)
            if not more:
                return b""
            data = (data + more).lstrip(b"\0")
        return data if data.startswith(magic) else b""
