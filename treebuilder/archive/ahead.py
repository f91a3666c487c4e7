"""Reads a stream ahead in a thread, so that it is decompressed while what came out of it is written.

Only what is long has a thread: it begins after the first megabytes, and small packages never see it.
"""

from __future__ import annotations

import io
import os
import sys

from treebuilder.annotations import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from queue import SimpleQueue
    from threading import Thread

_PIECE = 1 << 20
_PIECES = 4
_BEFORE = 8 << 20


class Ahead(io.RawIOBase):
    """The bytes of `source`, which nobody else reads. What reading it raises is raised where it would have been."""

    def __init__(self, source: io.RawIOBase) -> None:
        self._source = source
        self._alone = _BEFORE  # bytes still to come before a thread begins
        self._threads = len(os.sched_getaffinity(0)) > 1
        self._free: SimpleQueue[bytearray | None] | None = None
        self._full: SimpleQueue[tuple[bytearray, int] | BaseException]
        self._thread: Thread | None = None
        self._piece, self._from, self._to = bytearray(), 0, 0
        self._ended: BaseException | bool = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - a writable buffer has no name in typing here
        if self._free is None and (self._alone or not self._begin()):
            size = self._source.readinto(buffer) or 0
            self._alone = max(0, self._alone - size)
            return size
        if self._from == self._to and not self._next():
            return 0
        size = min(len(buffer), self._to - self._from)
        buffer[:size] = memoryview(self._piece)[self._from : self._from + size]
        self._from += size
        return size

    def close(self) -> None:
        """Nobody reads the source any more when this is done."""
        if self._thread is not None and not self.closed:
            assert self._free is not None
            while not self._free.empty():
                self._free.get()
            self._free.put(None)
            if not sys.is_finalizing():  # threads stand still then
                self._thread.join()
        super().close()

    def _next(self) -> bool:
        assert self._free is not None
        if self._ended:
            if self._ended is not True:
                raise self._ended
            return False
        if self._piece:
            self._free.put(self._piece)
            self._piece, self._from, self._to = bytearray(), 0, 0
        found = self._full.get()
        if isinstance(found, BaseException):
            self._ended = found
            raise found
        self._piece, self._to = found
        self._from = 0
        self._ended = not self._to
        return bool(self._to)

    def _begin(self) -> bool:
        """False where no thread is to be had, which is not asked again."""
        if not self._threads:
            return False
        from queue import SimpleQueue
        from threading import Thread

        free: SimpleQueue[bytearray | None] = SimpleQueue()
        self._full = SimpleQueue()
        for _ in range(_PIECES):
            free.put(bytearray(_PIECE))
        thread = Thread(target=_read, args=(self._source, free, self._full), name="decompress", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._threads = False
            return False
        self._free, self._thread = free, thread
        return True


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
