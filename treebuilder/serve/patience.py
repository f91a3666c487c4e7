"""Clients that cannot be waited for: who sends a byte now and then would hold one of the server's slots for ever.

The lines of a head share one time limit, from its first byte on, and a body has to come on. Who takes answers slowly is
seen by the socket: nothing more fits into it.
"""

from __future__ import annotations

import io
from http.server import BaseHTTPRequestHandler

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.system.patience import PatientBytes

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BUFFER = 1 << 16


class _Request(PatientBytes):
    """What a client sends, one request after the other."""

    _in_head = False

    def head(self) -> None:
        """The lines of a request come next, whenever they begin."""
        self._in_head = True
        self.end_deadline()
        self.begin_body(counts=False)

    def body(self) -> None:
        """The lines are there."""
        self._in_head = False
        self.end_deadline()
        self.begin_body()

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        count = super().readinto(buffer)
        if self._in_head:
            self.begin_deadline()
        return count


class PatientHandler(BaseHTTPRequestHandler):
    """Reads requests so."""

    def setup(self) -> None:
        super().setup()
        self._sent = _Request(self.rfile.detach(), self.connection, "the request")
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
