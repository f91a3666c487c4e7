"""The bytes of a connection whose other end may take its time, and no more than its time.

A socket's time limit is one for each single read, so who sends a byte now and then is never late. Two bounds more mend
that, both as long as the socket's own limit: reads may share one deadline, and as long a wait for a body must bring
some of it.
"""

from __future__ import annotations

import io

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.system import clock

if TYPE_CHECKING:
    import socket

    from _typeshed import WriteableBuffer

_LEAST_BYTES = 1 << 13  # of a body, in as long a wait as nothing may take


class PatientBytes(io.RawIOBase):
    """Reads `raw`, which is the socket's file. `what` comes ("the answer"): reading raises TimeoutError, with that in
    its message, when it comes too late or too slowly. A socket without a limit is waited for."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, what: str) -> None:
        super().__init__()
        self._raw, self._sock, self._what = raw, sock, what
        self._limit_s = sock.gettimeout()
        self._until_s: float | None = None  # by the monotonic clock
        self._is_body, self._waited_s, self._came = False, 0.0, 0

    def begin_deadline(self) -> None:
        """What is read from now on has to be there in one time limit, which a deadline that runs already says."""
        if self._until_s is None and self._limit_s is not None:
            self._until_s = clock.monotonic_s() + self._limit_s

    def end_deadline(self) -> None:
        """Each read has its own time limit again."""
        if self._until_s is not None:
            self._until_s = None
            self._sock.settimeout(self._limit_s)

    def begin_body(self, *, counts: bool = True) -> None:
        """From now on, slow bytes count (or do not)."""
        self._is_body, self._waited_s, self._came = counts, 0.0, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        began_s = clock.monotonic_s()
        if self._until_s is not None:
            if self._until_s <= began_s:
                raise TimeoutError(f"{self._what} takes too long")
            self._sock.settimeout(self._until_s - began_s)
        count = self._raw.readinto(buffer)
        if self._is_body and self._limit_s is not None:
            self._waited_s += clock.monotonic_s() - began_s
            self._came += count or 0
            if self._came >= _LEAST_BYTES:
                self._waited_s, self._came = 0.0, 0
            elif count and self._waited_s > self._limit_s:
                raise TimeoutError(f"{self._what} comes too slowly")
        return count

    def close(self) -> None:
        try:
            self._raw.close()
        finally:
            super().close()
