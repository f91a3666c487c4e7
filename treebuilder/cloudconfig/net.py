"""http and https, with limits on time and size: for keys, downloads, sources and metadata services.

Python's own client, so that the zipapp has it; imported only where something is fetched (it takes 50 ms). Nothing but
http and https is opened, also not by way of a redirect, and nobody is led from https to http.
"""

from __future__ import annotations

import base64
import http.client
import io
from typing import IO
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
    where = shown(ask.url)
    parts = split(ask.url)
    until = None if ask.total_s is None else monotonic_s() + ask.total_s
    try:
        request = _request(ask, parts)
        with _opener(ask.proxied).open(request, timeout=ask.socket_s) as answer:
            _copy(answer, out, ask, until)
    except HTTPError as err:
        err.close()
        raise TransportError(
            f"{where}: the server answers {err.code} {err.reason}", temporary=err.code in _TEMPORARY, status=err.code
        ) from err
    except URLError as err:
        raise TransportError(f"{where} cannot be reached: {_why(err.reason)}", temporary=True) from err
    except (http.client.InvalidURL, UnicodeError, ValueError) as err:  # a line end in a URL or a header
        raise ConfigError(f"{where} cannot be asked for: {err}", reason="url") from err
    except (OSError, http.client.HTTPException) as err:  # a time limit, a connection that broke
        raise TransportError(f"{where} cannot be read: {_why(err)}", temporary=True) from err


def _request(ask: Ask, parts: SplitResult) -> Request:
    """A name and a password in the URL become a header."""
    headers = {"User-Agent": _AGENT, **ask.headers}
    login, at, host = parts.netloc.rpartition("@")
    if at:
        headers["Authorization"] = f"Basic {base64.b64encode(unquote(login).encode()).decode()}"
    return Request(urlunsplit(parts._replace(netloc=host)), headers=headers, method=ask.method)


def _copy(answer: http.client.HTTPResponse, out: IO[bytes], ask: Ask, until: float | None) -> None:
    done = 0
    while chunk := answer.read1(_CHUNK):
        done += len(chunk)
        if done > ask.limit_bytes:
            raise TransportError(f"{shown(ask.url)} is larger than {ask.limit_bytes} bytes")
        if until is not None and monotonic_s() > until:
            raise TransportError(f"{shown(ask.url)} took longer than {ask.total_s:g} s", temporary=True)
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
        if made is not None and urlsplit(newurl).netloc != urlsplit(req.full_url).netloc:
            for name in ("Authorization", "Cookie"):  # meant for the first server
                made.remove_header(name)
        return made


def _opener(proxied: bool) -> OpenerDirector:
    opener = OpenerDirector()
    proxies = ProxyHandler() if proxied else ProxyHandler({})
    for handler in (
        proxies, HTTPHandler(), HTTPSHandler(), HTTPDefaultErrorHandler(), _Redirects(), HTTPErrorProcessor(),
    ):  # fmt: skip
        opener.add_handler(handler)
    return opener


def _why(reason: object) -> str:
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return str(reason)
