"""Connections whose answers must come on: neither their heads nor their bodies can be dragged out for ever.

A socket's time limit is one for each single read, so a server that sends a byte now and then is never late. Here lines
in a row, which are the status, the headers, any number of `100 Continue` before them, the sizes of chunks, and what
follows the last one, share one limit; and as long a wait for the body must bring some of it. Both are the time limit
between two pieces that the request was given.
"""

from __future__ import annotations

import io
import socket
from http.client import HTTPResponse

from requests.adapters import HTTPAdapter

from treebuilder.annotations import TYPE_CHECKING, Any
from treebuilder.oci.session import Until
from treebuilder.system import clock

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from requests import PreparedRequest, Response
    from urllib3 import PoolManager, ProxyManager

_LEAST_BYTES = 1 << 13  # of a body, in as long a wait as nothing may take


class _Waited(io.RawIOBase):
    """The bytes of a connection. Reading raises TimeoutError when they are too late."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        super().__init__()
        self._raw, self._sock = raw, sock
        self._limit_s = sock.gettimeout()
        self._in_body, self._waited_s, self._came = False, 0.0, 0
        self.until_s: float | None = None  # by the monotonic clock: when lines in a row have to be there

    def head_is_there(self) -> None:
        """From now on slow bytes count too."""
        self._in_body = True

    def lines(self) -> None:
        """Lines come next."""
        if self.until_s is None and self._limit_s is not None:
            self.until_s = clock.monotonic_s() + self._limit_s

    def body(self) -> None:
        """Something else than a line comes next."""
        if self.until_s is not None:
            self.until_s = None
            self._sock.settimeout(self._limit_s)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        began = clock.monotonic_s()
        if self.until_s is not None:
            left = self.until_s - began
            if left <= 0:
                raise TimeoutError("the answer takes too long")
            self._sock.settimeout(left)
        count = self._raw.readinto(buffer)
        if self._in_body and self._limit_s is not None:
            self._waited_s += clock.monotonic_s() - began
            self._came += count or 0
            if self._came >= _LEAST_BYTES:
                self._waited_s, self._came = 0.0, 0
            elif count and self._waited_s > self._limit_s:
                raise TimeoutError("the answer comes too slowly")
        return count

    def close(self) -> None:
        try:
            self._raw.close()
        finally:
            super().close()


class _Pieces(io.BufferedReader):
    """What `http.client` and urllib3 read answers from: lines, and the pieces of the body between them."""

    def __init__(self, waited: _Waited) -> None:
        super().__init__(waited)
        self._waited = waited

    def readline(self, size: int | None = -1, /) -> bytes:
        self._waited.lines()
        return super().readline(size)

    def read(self, size: int | None = -1, /) -> bytes:
        self._waited.body()
        return super().read(size)

    def read1(self, size: int = -1, /) -> bytes:
        self._waited.body()
        return super().read1(size)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        self._waited.body()
        return super().readinto(buffer)


class _Response(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(sock, *args, **kwargs)
        self._waited = _Waited(self.fp.detach(), sock)
        self.fp = _Pieces(self._waited)

    def begin(self) -> None:
        super().begin()
        self._waited.head_is_there()


class Adapter(HTTPAdapter):
    """Also for connections through a proxy. A time limit may be one `Until` for a request and all its redirects."""

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:  # noqa: ANN401 - handed on
        limit = kwargs.get("timeout")
        if isinstance(limit, Until):
            kwargs["timeout"] = (limit.left_s(),) * 2
        return super().send(request, *args, **kwargs)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        super().init_poolmanager(*args, **kwargs)
        _use(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> ProxyManager:  # noqa: ANN401 - handed on
        known = proxy in self.proxy_manager
        manager: ProxyManager = super().proxy_manager_for(proxy, **kwargs)
        if not known:
            _use(manager)
        return manager


def _use(manager: PoolManager) -> None:
    """Makes a manager's connections read their answers as `_Response`."""
    made: dict[str, Any] = {}
    pools: dict[str, Any] = manager.pool_classes_by_scheme
    for scheme, pool in pools.items():
        connection = type("Connection", (pool.ConnectionCls,), {"response_class": _Response})
        made[scheme] = type("Pool", (pool,), {"ConnectionCls": connection})
    manager.pool_classes_by_scheme = made
