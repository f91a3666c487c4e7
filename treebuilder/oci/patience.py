"""Connections whose answers must come on: neither their heads nor their bodies can be dragged out for ever.

Lines in a row, which are the status, the headers, any number of `100 Continue` before them, the sizes of chunks, and
what follows the last one, share one time limit; and the body has to come on.
"""

from __future__ import annotations

import io
import socket
from http.client import HTTPResponse

from requests.adapters import HTTPAdapter

from treebuilder.annotations import TYPE_CHECKING, Any
from treebuilder.oci.session import Until
from treebuilder.system.patience import PatientBytes

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from requests import PreparedRequest, Response
    from urllib3 import PoolManager, ProxyManager


class _Pieces(io.BufferedReader):
    """What `http.client` and urllib3 read answers from: lines, and the pieces of the body between them."""

    def __init__(self, waited: PatientBytes) -> None:
        super().__init__(waited)
        self._waited = waited

    def readline(self, size: int | None = -1, /) -> bytes:
        self._waited.begin_deadline()
        return super().readline(size)

    def read(self, size: int | None = -1, /) -> bytes:
        self._waited.end_deadline()
        return super().read(size)

    def read1(self, size: int = -1, /) -> bytes:
        self._waited.end_deadline()
        return super().read1(size)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        self._waited.end_deadline()
        return super().readinto(buffer)


class _Response(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(sock, *args, **kwargs)
        self._waited = PatientBytes(self.fp.detach(), sock, "the answer")
        self.fp = _Pieces(self._waited)

    def begin(self) -> None:
        super().begin()
        self._waited.begin_body()


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
