"""http and https, with limits on time and size: for keys, downloads, sources and metadata services.

The limit of the whole request holds whatever the server sends, and when: a timer ends the connection. Without it, one
that sends a letter of a header now and then would hold a boot for ever.

Python's own client, so that the zipapp has it; imported only where something is fetched (it takes 50 ms). Nothing but
http and https is opened, also not by way of a redirect, and nobody is led from https to http.
"""

from __future__ import annotations

import base64
import http.client
import io
import socket
from collections.abc import Callable
from threading import Timer
from types import TracebackType
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from treebuilder.annotations import IO
from treebuilder.cloudconfig.ask import Ask, shown, split
from treebuilder.errors import ConfigError, TransportError
from treebuilder.system.clock import monotonic_s, sleep

_CHUNK = 1 << 16
_TEMPORARY = (408, 425, 429, 500, 502, 503, 504)
_AGENT = "treebuild-yip"


def fetch(ask: Ask, *, tries: int = 1, pause_s: float = 2.0) -> bytes:
    """The body. Temporary failures are tried again. Raises TransportError, ConfigError for what is no URL."""
    out = io.BytesIO()
    fetch_into(ask, out, tries=tries, pause_s=pause_s)
    return out.getvalue()


def fetch_into(ask: Ask, out: IO[bytes], *, tries: int = 1, pause_s: float = 2.0) -> None:
    """Writes the body as it comes, anew at each try. Raises as `fetch`; then `out` holds a part of it."""
    while True:
        try:
            _fetch(ask, out)
            return
        except TransportError as err:
            tries -= 1
            if not err.temporary or tries < 1:
                raise
        sleep(pause_s)
        out.seek(0)
        out.truncate()


def _fetch(ask: Ask, out: IO[bytes]) -> None:
    parts = split(ask.url)
    with _Watch(ask) as watch:
        try:
            request = _request(ask, parts)
            with _opener(ask.proxied, watch).open(request, timeout=ask.socket_s) as answer:
                _copy(answer, out, ask)
        except (OSError, http.client.HTTPException, ValueError) as err:
            if isinstance(err, HTTPError):
                err.close()
            raise watch.late() if watch.passed else _fault(err, shown(ask.url)) from err
        if watch.passed:  # what has no length ends like any other when its connection ends
            raise watch.late()


def _fault(err: Exception, where: str) -> TransportError | ConfigError:
    match err:
        case HTTPError():
            again = err.code in _TEMPORARY
            return TransportError(
                f"{where}: the server answers {err.code} {err.reason}", temporary=again, status=err.code
            )
        case URLError():
            return TransportError(f"{where} cannot be reached: {_why(err.reason)}", temporary=True)
        case http.client.InvalidURL() | ValueError():  # a line end in a URL or a header
            return ConfigError(f"{where} cannot be asked for: {err}", reason="url")
        case _:  # a time limit, a connection that broke
            return TransportError(f"{where} cannot be read: {_why(err)}", temporary=True)


class _Watch:
    """Ends the connections of one request when its time is over. `passed` says that it was."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._until = None if ask.total_s is None else monotonic_s() + ask.total_s
        self._sockets: list[socket.socket] = []
        self._timer = None if ask.total_s is None else Timer(max(ask.total_s, 0), self._end)
        self.passed = False

    def __enter__(self) -> _Watch:
        if self._timer is not None:
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()
        for each in self._sockets:
            each.close()

    def _end(self) -> None:
        self.passed = True
        for each in list(self._sockets):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:  # it has ended by itself
                pass

    def late(self) -> TransportError:
        return TransportError(f"{shown(self._ask.url)} took longer than {self._ask.total_s:g} s", temporary=True)

    def connect(self, address: tuple[str, int], wait_s: float, source: tuple[str, int] | None = None) -> socket.socket:
        """A connection to one of the host's addresses. Raises OSError."""
        fault: OSError = OSError(f"{address[0]} has no address")
        for family, kind, number, _, place in socket.getaddrinfo(*address, type=socket.SOCK_STREAM):
            left_s = wait_s if self._until is None else min(wait_s, self._until - monotonic_s())
            if self.passed or left_s <= 0:
                self.passed = True
                raise TimeoutError
            made = socket.socket(family, kind, number)
            try:
                made.settimeout(left_s)
                if source is not None:
                    made.bind(source)
                made.connect(place)
                made.settimeout(wait_s)
                self._sockets.append(made.dup())  # its own: TLS takes the other one over
                if self.passed:
                    raise TimeoutError
                return made
            except OSError as err:
                made.close()
                fault = err
        raise fault


def _request(ask: Ask, parts: SplitResult) -> Request:
    """A name and a password in the URL become a header."""
    headers = {"User-Agent": _AGENT, **ask.headers}
    login, at, host = parts.netloc.rpartition("@")
    if at:
        headers["Authorization"] = f"Basic {base64.b64encode(unquote(login).encode()).decode()}"
    return Request(urlunsplit(parts._replace(netloc=host)), headers=headers, method=ask.method)


def _copy(answer: http.client.HTTPResponse, out: IO[bytes], ask: Ask) -> None:
    done = 0
    while chunk := answer.read1(_CHUNK):
        done += len(chunk)
        if done > ask.limit_bytes:
            raise TransportError(f"{shown(ask.url)} is larger than {ask.limit_bytes} bytes")
        out.write(chunk)
    if answer.length:  # what the server promised and did not send
        raise TransportError(f"{shown(ask.url)} ended {answer.length} bytes too early", temporary=True)


class _Redirects(HTTPRedirectHandler):
    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage, newurl: str
    ) -> Request | None:  # fmt: skip
        scheme = urlsplit(newurl).scheme.lower()
        if scheme not in ("http", "https") or (req.type == "https" and scheme == "http"):
            raise URLError(f"it leads to {shown(newurl)}, which is not followed")
        made = super().redirect_request(req, fp, code, msg, headers, newurl)
        fp.close()  # else its body, of any size, is read into memory
        if made is not None and urlsplit(newurl).netloc != urlsplit(req.full_url).netloc:
            for name in ("Authorization", "Cookie"):  # meant for the first server
                made.remove_header(name)
        return made


def _watched(kind: type[http.client.HTTPConnection], watch: _Watch) -> Callable[..., http.client.HTTPConnection]:
    """Makes connections whose sockets the watch can close."""

    def connection(host: str, /, *, timeout: float = 0, **_: object) -> http.client.HTTPConnection:
        made = kind(host, timeout=timeout)
        vars(made)["_create_connection"] = watch.connect
        return made

    return connection


class _Http(HTTPHandler):
    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self._watch = watch

    def http_open(self, req: Request) -> http.client.HTTPResponse:
        return self.do_open(_watched(http.client.HTTPConnection, self._watch), req)


class _Https(HTTPSHandler):
    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self._watch = watch

    def https_open(self, req: Request) -> http.client.HTTPResponse:
        return self.do_open(_watched(http.client.HTTPSConnection, self._watch), req)


def _opener(proxied: bool, watch: _Watch) -> OpenerDirector:
    opener = OpenerDirector()
    proxies = ProxyHandler() if proxied else ProxyHandler({})
    for handler in (
        proxies, _Http(watch), _Https(watch), HTTPDefaultErrorHandler(), _Redirects(), HTTPErrorProcessor(),
    ):  # fmt: skip
        opener.add_handler(handler)
    return opener


def _why(reason: object) -> str:
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return str(reason)
