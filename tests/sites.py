"""What tests put before what is served: it notes what is asked for, holds it up, or hands it on."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Mapping

from treebuilder.serve.exchange import Exchange, RefusedError
from treebuilder.serve.server import Site

_PATIENCE_S = 20.0
_HOP = ("connection", "host", "transfer-encoding")


class Counted:
    """A site that notes what it is asked for. It refuses when told, and answers the paths of `ways` as they do."""

    def __init__(self, site: Site, ways: Mapping[str, Callable[[Exchange], None]] | None = None) -> None:
        self.site, self.ways = site, ways or {}
        self.asked: list[str] = []
        self.ranges: list[str | None] = []
        self.refuse_after: int | None = None

    def answer(self, exchange: Exchange) -> None:
        self.asked.append(f"{exchange.method} {exchange.path}")
        self.ranges.append(exchange.headers.get("Range"))
        if self.refuse_after is not None and len(self.asked) > self.refuse_after:
            raise RefusedError(403, "DENIED", "no more")
        self.ways.get(exchange.path, self.site.answer)(exchange)


class Slow(Counted):
    """Who asks for the first of those paths that `held` knows waits for somebody who asks for a second.

    `met`: somebody came.
    """

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.met = False
        self._held: Callable[[str], bool] = lambda path: False
        self._first, self._second = threading.Lock(), threading.Event()

    def hold(self, held: Callable[[str], bool]) -> None:
        """Once. What was asked for before is forgotten."""
        self._held = held
        self.asked.clear()

    def answer(self, exchange: Exchange) -> None:
        if self._held(exchange.path):
            if self._first.acquire(blocking=False):
                self.met = self._second.wait(_PATIENCE_S)
            else:
                self._second.set()
        super().answer(exchange)


def hand_on(exchange: Exchange, registry: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    """What a registry answers to the same request."""
    connection = http.client.HTTPConnection(registry, timeout=60)
    headers = {name: value for name, value in exchange.headers.items() if name.lower() not in _HOP}
    connection.request(exchange.method, exchange._handler.path, body or None, headers)
    reply = connection.getresponse()
    data = reply.read()
    connection.close()
    return reply.status, {name: value for name, value in reply.getheaders() if name.lower() not in _HOP}, data


def hand_back(exchange: Exchange, status: int, head: dict[str, str], data: bytes) -> None:
    """Tells what was answered, to whoever asked."""
    exchange._head(status, head)
    if exchange.method != "HEAD":
        exchange._handler.wfile.write(data)
