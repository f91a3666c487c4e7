"""The requests of one repository of one registry: tried again where that may help, logged in where it is asked for.

Plain HTTP is spoken with loopback and with hosts that the user calls insecure, with nobody else. Only what may pass is
tried again: broken connections, 429 and server errors, after as long as the server says.
"""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from treebuilder.errors import TransportError
from treebuilder.oci.login import session_for
from treebuilder.oci.reference import DOCKER_HUB, is_loopback
from treebuilder.system import clock
from treebuilder.system.process import Cancel

if TYPE_CHECKING:
    from requests import Response

T = TypeVar("T")

_ACCEPT = ", ".join([
    "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.docker.distribution.manifest.v2+json",
])  # fmt: skip
TRIES = 4
_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 60.0
_LOGINS = 4  # of one request: a token that others use too may be worn out when its turn comes
_CHUNK = 1 << 18
_LONGEST_ANSWER = 1 << 20
_DOCKER_HUB_API = "registry-1.docker.io"


def _use(method: str) -> str:
    return "read" if method in ("GET", "HEAD") else "write"


class Connection:
    """One repository of one registry: its session, and the token it gave us."""

    def __init__(self, host: str, name: str, plain: bool, cancel: Cancel) -> None:
        self._host, self._name, self._plain, self._cancel = host, name, plain, cancel
        api = _DOCKER_HUB_API if host == DOCKER_HUB else host
        self._url = f"{'http' if plain else 'https'}://{api}/v2/{name}"
        self._lock = threading.Lock()
        # what reads may not be enough to write, and threads do both at once
        self._authorization = {"read": "", "write": ""}
        self._session, self._auth = session_for(host, name, plain)
        self._whole = True  # until the registry shows that it takes no blob in one request

    def log_in(self, user: str, password: str) -> None:
        """A name and a password that count instead of Docker's, where the registry asks for some."""
        self._auth.set_basic_auth(user, password)

    def bear(self, token: str) -> None:
        """A token that goes with every request."""
        self._authorization = dict.fromkeys(self._authorization, f"Bearer {token}")

    def __str__(self) -> str:
        return f"{self._host}/{self._name}"

    # requests ---------------------------------------------------------------------------------------------------
    def _tried(self, once: Callable[[], T]) -> T:
        """Only faults that may pass are tried again, a few times."""
        for attempt in range(1, TRIES):
            try:
                return once()
            except TransportError as err:
                if not err.temporary:
                    raise
                self._pause(attempt, err)
        return once()

    def _pause(self, attempt: int, err: TransportError) -> None:
        """As long as the registry asks for, or longer each time, never the same for everybody."""
        wait = err.retry_after_s if err.retry_after_s is not None else _FIRST_WAIT_S * 3**attempt
        jitter = random.uniform(1.0, 1.3)  # noqa: S311 - no secret
        until = clock.monotonic_s() + min(_LONGEST_WAIT_S, wait * jitter)
        while (left := until - clock.monotonic_s()) > 0:
            self._cancel.check()
            clock.sleep(min(left, 0.2))
        self._cancel.check()

    def _parts(self, reply: Response) -> Iterator[bytes]:
        """The body as it was sent: layers are compressed themselves and must not be unpacked on the way."""
        reply.raw.decode_content = False
        while data := reply.raw.read(_CHUNK):
            self._cancel.check()
            yield data

    def _get(self, path: str) -> AbstractContextManager[Response]:
        """A reply with status 200."""
        return self._request("GET", path)

    @contextmanager
    def _request(
        self, method: str, path: str, *, data: bytes | None = None, headers: Mapping[str, str] | None = None,
        expect: tuple[int, ...] = (200,),
    ) -> Iterator[Response]:  # fmt: skip
        """A reply with one of the statuses expected, logged in if asked for. All of requests' errors become ours here.

        `path` is below the repository's, or a whole URL that the registry gave.
        """
        import requests
        import urllib3

        url = path if "://" in path else f"{self._url}/{path}"
        if url.startswith("http://") and not self._plain and not is_loopback(urlsplit(url).netloc):
            raise TransportError(f"{self}: the registry sends us to {urlsplit(url).netloc} without encryption: refused")
        try:
            reply = self._ask(method, url, data, headers or {})
            for _ in range(_LOGINS):
                if reply.status_code not in (401, 403) or not self._log_in(reply):
                    break
                reply.close()
                reply = self._ask(method, url, data, headers or {})
            with reply:
                if reply.status_code not in expect:
                    raise self._refused(path, reply)
                if method not in ("GET", "HEAD"):
                    _read_out(reply)
                yield reply
        except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as err:
            temporary = not isinstance(err, requests.exceptions.SSLError)
            raise TransportError(f"{self}: {short(err)}", temporary=temporary) from err
        except requests.RequestException as err:
            raise TransportError(f"{self}: {short(err)}") from err

    def _ask(self, method: str, url: str, data: bytes | None, more: Mapping[str, str]) -> Response:
        headers = {"Accept": _ACCEPT, "Accept-Encoding": "identity", **more}
        with self._lock:
            known = self._authorization[_use(method)]
            if known and urlsplit(url).netloc == urlsplit(self._url).netloc:
                headers["Authorization"] = known
        if data is not None:
            headers["Content-Length"] = str(len(data))
        reply: Response = self._session.request(method, url, headers=headers, data=data, stream=True)
        return reply

    def _log_in(self, reply: Response) -> bool:
        """Answers a challenge by user and password, or by a token. True if that is worth another try."""
        challenge = reply.headers.get("Www-Authenticate", "")
        if not challenge:
            return False
        used = reply.request.headers.get("Authorization", "")
        use = _use(str(reply.request.method))
        with self._lock:
            before = self._authorization[use]
            if before not in ("", used):  # another thread was faster
                return True
            basic = getattr(self._auth, "_basic_auth", None)
            if challenge.lower().startswith("basic"):
                if not basic or before == f"Basic {basic}":
                    return False
                self._authorization[use] = f"Basic {basic}"
                return True
            realm = re.search(r'realm="([^"]+)"', challenge)
            if realm is None or not self._may_ask(realm[1]):
                raise TransportError(
                    f"{self} wants a login at {realm[1] if realm else 'no place'}: refused", status=401
                )
            try:
                headers, changed = self._auth.authenticate_request(reply, {}, refresh=True)
            except (ValueError, KeyError, AttributeError) as err:
                raise TransportError(f"{self}: the login at the registry failed: {err}", status=401) from err
            self._authorization[use] = str(headers.get("Authorization", ""))
            return bool(changed) and self._authorization[use] != before

    def _may_ask(self, realm: str) -> bool:
        """Passwords go to encrypted places, and to the plain ones that the user allowed."""
        scheme, _, rest = realm.partition("://")
        host = rest.partition("/")[0]
        return scheme == "https" or (scheme == "http" and (is_loopback(host) or (self._plain and host == self._host)))

    def _refused(self, path: str, reply: Response) -> TransportError:
        status = reply.status_code
        kind, _, name = path.partition("?")[0].partition("/")
        if status in (401, 403):
            return TransportError(
                f"{self}: not allowed ({status})",
                status=status,
                hint=f"docker login {self._host}, if there should be one",
            )
        if status == 404 and kind in ("manifests", "blobs"):
            what = "there is no such image" if kind == "manifests" else "the registry lacks a part of the image"
            return TransportError(f"{self}: {what} ({name})", status=status)
        temporary = status in (408, 425, 429) or status >= 500
        after = reply.headers.get("Retry-After", "")
        return TransportError(
            f"{self}: the registry answered {status}", temporary=temporary, status=status,
            retry_after_s=float(after) if after.isascii() and after.isdigit() and len(after) < 6 else None,
        )  # fmt: skip


def _read_out(reply: Response) -> None:
    """The rest of an answer that nobody reads: one that breaks off is none, whatever its first line says."""
    left = _LONGEST_ANSWER
    while left > 0 and (data := reply.raw.read(_CHUNK)):
        left -= len(data)


def short(err: Exception) -> str:
    """What happened, without the library's words around it."""
    deepest: BaseException = err
    while (inner := deepest.__cause__ or deepest.__context__ or getattr(deepest, "reason", None)) is not None:
        if not isinstance(inner, BaseException) or inner is deepest:
            break
        deepest = inner
    said = getattr(deepest, "strerror", None) or str(deepest)
    return f"it cannot be reached: {said}" if isinstance(deepest, OSError) else f"{type(deepest).__name__}: {said}"
