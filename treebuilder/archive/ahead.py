"""Reads a stream ahead in a thread, so that it is decompressed while what came out of it is written.

Only what is long has a thread: it begins after the first megabytes, and small packages never see it.
"""

from __future__ import annotations

import io
import os

from treebuilder.annotations import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from queue import SimpleQueue

_PIECE = 1 << 20
_PIECES = 4
_BEFORE = 8 << 20


class Ahead(io.RawIOBase):
    """The bytes of `source`, which nobody else reads. What reading it raises is raised where it would have been."""

    def __init__(self, source: io.RawIOBase) -> None:
        self._source = source
        self._alone = _BEFORE if len(os.sched_getaffinity(0)) > 1 else -1
        self._free: SimpleQueue[bytearray | None] | None = None
        self._full: SimpleQueue[tuple[bytearray, int] | BaseException]
        self._piece, self._from, self._to = bytearray(), 0, 0
        self._ended: BaseException | bool = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - a writable buffer has no name in typing here
        if self._free is None:
            if self._alone:
                size = self._source.readinto(buffer) or 0
                self._alone = max(0, self._alone - size) if self._alone > 0 else -1
                return size
            self._begin()
        if self._from == self._to and not self._next():
            return 0
        size = min(len(buffer), self._to - self._from)
        buffer[:size] = memoryview(self._piece)[self._from : self._from + size]
        self._from += size
        return size

    def close(self) -> None:
        """The thread ends with what it has in hand."""
        if self._free is not None and not self.closed:
            self._free.put(None)
        super().close()

    def _next(self) -> bool:
        assert self._free is not None
        if self._ended:
            if self._ended is not True:
                raise self._ended
            return False
        if self._piece:
            self._free.put(self._piece)
        found = self._full.get()
        if isinstance(found, BaseException):
            self._ended = found
            raise found
        self._piece, self._to = found
        self._from = 0
        self._ended = not self._to
        return bool(self._to)

    def _begin(self) -> None:
        from queue import SimpleQueue
        from threading import Thread

        self._free, self._full = SimpleQueue(), SimpleQueue()
        for _ in range(_PIECES):
            self._free.put(bytearray(_PIECE))
        Thread(target=_read, args=(self._source, self._free, self._full), name="decompress", daemon=True).start()


def _read(
    source: io.RawIOBase, free: SimpleQueue[bytearray | None], full: SimpleQueue[tuple[bytearray, int] | BaseException]
) -> None:
    """Fills pieces to the end. It knows nothing of the reader, whose end it would prevent."""
    while (piece := free.get()) is not None:
        try:
            size = source.readinto(piece) or 0
        except BaseException as err:
            full.put(err)
            return
        full.put((piece, size))
        if not size:
            return
