"""Clients that cannot be waited for: who sends a byte now and then would hold one of the server's slots for ever.

A socket's time limit is one for each single read. Here the lines of a head share one, from its first byte on, and as
long a wait for a body must bring some of it. Who takes answers slowly is seen by the socket: nothing more fits into it.
"""

from __future__ import annotations

import io
import socket
from http.server import BaseHTTPRequestHandler

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.system import clock

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BUFFER = 1 << 16
_LEAST_BYTES = 1 << 13  # of a body, in as long a wait as nothing may take


class _Patient(io.RawIOBase):
    """What a client sends. Reading raises TimeoutError when it is too late."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        super().__init__()
        self._raw, self._sock, self._limit_s = raw, sock, sock.gettimeout()
        self._in_head, self._until_s = False, 0.0
        self._waited_s, self._came = 0.0, 0

    def head(self) -> None:
        """The lines of a request come next, whenever they begin."""
        self._in_head, self._until_s = True, 0.0

    def body(self) -> None:
        """The lines are there."""
        self._in_head, self._waited_s, self._came = False, 0.0, 0
        self._sock.settimeout(self._limit_s)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        began_s = clock.monotonic_s()
        if self._in_head and self._until_s:
            if self._until_s <= began_s:
                raise TimeoutError("the request takes too long")
            self._sock.settimeout(self._until_s - began_s)
        count = self._raw.readinto(buffer)
        if self._limit_s is None:
            return count
        now_s = clock.monotonic_s()
        if self._in_head:
            self._until_s = self._until_s or now_s + self._limit_s
            return count
        self._waited_s += now_s - began_s
        self._came += count or 0
        if self._came >= _LEAST_BYTES:
            self._waited_s, self._came = 0.0, 0
        elif count and self._waited_s > self._limit_s:
            raise TimeoutError("the request comes too slowly")
        return count

    def close(self) -> None:
        try:
            self._raw.close()
        finally:
            super().close()


class PatientHandler(BaseHTTPRequestHandler):
    """Reads requests so."""

    def setup(self) -> None:
        super().setup()
        self._sent = _Patient(self.rfile.detach(), self.connection)
        self.rfile = io.BufferedReader(self._sent, _BUFFER)

    def handle_one_request(self) -> None:
        self._sent.head()
        super().handle_one_request()

    def parse_request(self) -> bool:
        there = super().parse_request()
        self._sent.body()
        return there

    def handle_expect_100(self) -> bool:
        """Tells the client now that it may go on: it waits for that, and replies may be buffered."""
        going_on = super().handle_expect_100()
        self.wfile.flush()
        return going_on
