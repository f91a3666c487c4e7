"""The requests of one repository of one registry: tried again where that may help, logged in where it is asked for.

Plain HTTP is spoken with loopback and with hosts that the user calls insecure, with nobody else, whoever sends us to
them. A registry on loopback may want TLS nevertheless: it gets it when plain HTTP is no language to it. Only what may
pass is tried again: broken connections, 429 and server errors, after as long as the server says.
"""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from urllib.parse import urlsplit

from treebuilder.annotations import TYPE_CHECKING, Any, TypeVar
from treebuilder.errors import ConfigError, IntegrityError, TransportError
from treebuilder.model.digest import Digest
from treebuilder.oci.layout import json_object
from treebuilder.oci.login import Login, credentials
from treebuilder.oci.reference import DOCKER_HUB, is_loopback
from treebuilder.oci.refusal import may_pass, refused, wait
from treebuilder.oci.session import TIMEOUT_S, Until, is_plain, new_session
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
BRIEF_S = 10.0  # for answers that nobody has to have: once, and no longer
_FIRST_WAIT_S = 0.1
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
        self._url = self._address(plain)
        self._heard = False  # whether the registry gave an answer to plain HTTP
        self._lock = threading.Lock()
        # what reads may not be enough to write, and threads do both at once
        self._authorization = {"read": "", "write": ""}
        self._session = new_session(self._follow)
        self._login = credentials(host, name)
        self._sending: dict[Digest, threading.Lock] = {}  # small blobs, and those that are there
        self._small: set[Digest] = set()
        self._whole = True  # until the registry shows that it takes no blob in one request

    def _address(self, plain: bool) -> str:
        api = _DOCKER_HUB_API if self._host == DOCKER_HUB else self._host
        return f"{'http' if plain else 'https'}://{api}/v2/{self._name}"

    def enter(self, auth: Mapping[str, str]) -> None:
        """The login that somebody names, by luet's keys (luet.md §6.4); without any, Docker's count.

        Raises ConfigError.
        """
        user, password = auth.get("username", ""), auth.get("password", "")
        if not user and auth.get("auth"):
            try:
                user, _, password = base64.b64decode(auth["auth"], validate=True).decode().partition(":")
            except ValueError as err:
                raise ConfigError(f"{self}: auth is not the base64 of NAME:PASSWORD") from err
        if auth.get("identitytoken"):
            self.identify(auth["identitytoken"])
        elif user:
            self.log_in(user, password)
        if auth.get("registrytoken"):
            self.bear(auth["registrytoken"])

    def log_in(self, user: str, password: str) -> None:
        """A name and a password that count instead of Docker's, where the registry asks for some."""
        self._login = Login(base64.b64encode(f"{user}:{password}".encode()).decode())

    def identify(self, token: str) -> None:
        """A token that gets others, where the registry asks for some; it counts instead of Docker's logins."""
        self._login = Login(identity=token)

    def bear(self, token: str) -> None:
        """A token that goes with every request."""
        self._authorization = dict.fromkeys(self._authorization, f"Bearer {token}")

    def __str__(self) -> str:
        return f"{self._host}/{self._name}"

    # requests ---------------------------------------------------------------------------------------------------
    def _tried(self, once: Callable[[], T], tries: int = TRIES) -> T:
        """Only faults that may pass are tried again, a few times."""
        for attempt in range(1, tries):
            began_s = clock.monotonic_s()
            try:
                return once()
            except TransportError as err:
                if not err.temporary:
                    raise
                self._pause(attempt, err, began_s)
        return once()

    def _pause(self, attempt: int, err: TransportError, began_s: float) -> None:
        """As long as the registry asks for, or longer each time."""
        wait(self._cancel, err, attempt, _FIRST_WAIT_S * 3**attempt, began_s)

    def _parts(self, reply: Response, until: Until | None = None) -> Iterator[bytes]:
        """The body as it was sent: layers are compressed themselves and must not be unpacked on the way."""
        for data in pieces(reply, None if until is None else until.left_s()):
            self._cancel.check()
            yield data

    def _get(self, path: str, until: Until | None = None) -> AbstractContextManager[Response]:
        """A reply with status 200."""
        return self._request("GET", path, until=until)

    @contextmanager
    def _request(
        self, method: str, path: str, *, data: bytes | None = None, headers: Mapping[str, str] | None = None,
        expect: tuple[int, ...] = (200,), until: Until | None = None,
    ) -> Iterator[Response]:  # fmt: skip
        """A reply with one of the statuses expected, logged in if asked for. All of requests' errors become ours here.

        `path` is below the repository's, or a whole URL that the registry gave. `until`: logins and redirects too.
        """
        import requests
        import urllib3

        if "://" in path:
            self._follow(self._url, path)
        try:
            reply = self._understood(method, path, data, headers or {}, until)
            for _ in range(_LOGINS):
                if reply.status_code not in (401, 403) or not self._log_in(reply, until):
                    break
                reply.close()
                reply = self._ask(method, path, data, headers or {}, until)
            with reply:
                if reply.status_code not in expect:
                    raise self._refused(path, reply)
                if method not in ("GET", "HEAD"):
                    _read_out(reply)
                yield reply
        except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as err:
            refused = isinstance(err, requests.exceptions.SSLError)
            raise TransportError(
                f"{self}: {short(err)}", temporary=not refused, hint=self._tls_hint(err) if refused else None
            ) from err
        except requests.RequestException as err:
            raise TransportError(f"{self}: {short(err)}") from err
        except OSError as err:  # requests' own for a file that is not there
            if "CA certificate bundle" not in str(err):
                raise
            raise TransportError(f"{self}: {err}", hint="REQUESTS_CA_BUNDLE names a file that is there") from err

    def _tls_hint(self, err: Exception) -> str:
        if "WRONG_VERSION_NUMBER" in str(err):
            return (
                f"it speaks no TLS: --insecure-registry {self._host} lets us speak plain HTTP to it, "
                f"or of a configured repository an address that begins with http://"
            )
        return "REQUESTS_CA_BUNDLE=FILE names the certificates that are trusted"

    def _follow(self, before: str, after: str) -> None:
        """Where the registry sends us. Raises TransportError for a place that would be spoken to in plain HTTP."""
        if is_plain(after) and not self._may_be_plain(after):
            raise TransportError(
                f"{self}: the registry sends us to {urlsplit(after).netloc} without encryption: refused"
            )

    def _may_be_plain(self, url: str) -> bool:
        """This machine's, and the host that the user allowed."""
        parts = urlsplit(url)
        return is_loopback(parts.hostname or "") or (self._plain and parts.hostname == urlsplit(self._url).hostname)

    def _understood(
        self, method: str, path: str, data: bytes | None, headers: Mapping[str, str], until: Until | None
    ) -> Response:
        """The first answer of a registry on loopback shows whether it speaks plain HTTP."""
        import requests

        reply, plain = None, self._plain
        try:
            reply = self._ask(method, path, data, headers, until)
        except requests.ConnectionError:
            if not self._turns_to_tls(plain):
                raise
        else:
            if reply.status_code == 400 and self._turns_to_tls(plain):  # what Go's and nginx's say to plain HTTP
                reply.close()
                reply = None
        if reply is None:
            reply = self._ask(method, path, data, headers, until)
        self._heard = True
        return reply

    def _turns_to_tls(self, plain: bool) -> bool:
        """Whether what was asked in plain HTTP, if it was, is to be asked again in another language."""
        if plain and not self._plain:  # another thread was faster
            return True
        if self._heard or not is_loopback(self._host) or not _speaks_tls(self._host):
            return False
        with self._lock:
            self._url = self._address(plain=False)
            self._plain = False  # after it: who reads this without the lock asks again, and there
        return True

    def _ask(
        self, method: str, path: str, data: bytes | None, more: Mapping[str, str], until: Until | None
    ) -> Response:
        url = path if "://" in path else f"{self._url}/{path}"
        headers = {"Accept": _ACCEPT, "Accept-Encoding": "identity", **more}
        with self._lock:
            known = self._authorization[_use(method)]
            if known and urlsplit(url).netloc == urlsplit(self._url).netloc:
                headers["Authorization"] = known
        if data is not None:
            headers["Content-Length"] = str(len(data))
        reply: Response = self._session.request(method, url, headers=headers, data=data, stream=True, **_limit(until))
        return reply

    def _log_in(self, reply: Response, until: Until | None) -> bool:
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
            if challenge.lower().startswith("basic"):
                basic = self._login.basic
                if not basic or before == f"Basic {basic}":
                    return False
                self._authorization[use] = f"Basic {basic}"
                return True
            said = dict(re.findall(r'([A-Za-z]+)="([^"]+)"', challenge))
            realm = said.get("realm", "")
            if urlsplit(realm).scheme != "https" and not (is_plain(realm) and self._may_be_plain(realm)):
                raise TransportError(f"{self} wants a login at {realm or 'no place'}: refused", status=401)
            token = self._token(realm, {key: said[key] for key in ("service", "scope") if key in said}, until)
            self._authorization[use] = f"Bearer {token}" if token else ""
            return bool(token) and self._authorization[use] != before

    def _token(self, realm: str, asked: Mapping[str, str], until: Until | None) -> str:
        """What the registry's place for logins gives us; "" for nothing. Source: distribution-spec, token."""
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        more: dict[str, Any] = {"params": asked}
        if self._login.identity:  # OAuth 2, as docker's registries have it
            form = {"grant_type": "refresh_token", "client_id": "treebuild", "refresh_token": self._login.identity}
            more = {"data": {**asked, **form}}
        elif self._login.basic:
            headers["Authorization"] = f"Basic {self._login.basic}"
        ask = self._session.post if self._login.identity else self._session.get
        with ask(realm, headers=headers, stream=True, **more, **_limit(until)) as reply:
            if may_pass(reply.status_code):
                raise refused(
                    f"{self}: the login at the registry failed: {urlsplit(realm).netloc}",
                    reply.status_code,
                    reply.headers,
                )
            if reply.status_code != 200:
                return ""
            data = b""
            for part in pieces(reply, TIMEOUT_S[1] if until is None else until.left_s()):
                data += part
                if len(data) > _LONGEST_ANSWER:
                    raise TransportError(
                        f"{self}: the login at the registry failed: its answer is too long", status=401
                    )
        try:
            value = json_object(data, realm)
        except IntegrityError as err:
            raise TransportError(f"{self}: the login at the registry failed: {err.message}", status=401) from err
        found = value.get("token") or value.get("access_token") or ""
        return found if isinstance(found, str) else ""

    def _refused(self, path: str, reply: Response) -> TransportError:
        status = reply.status_code
        kind, _, name = path.partition("?")[0].partition("/")
        if status in (401, 403):
            return TransportError(
                f"{self}: not allowed ({status})",
                status=status,
                hint=self._login.fault or f"docker login {self._host}, if there should be one",
            )
        if status == 404 and name.startswith("uploads/"):
            return TransportError(
                f"{self}: the registry takes nothing there (404)", status=status,
                hint="some want a project to be made first; or the address is another",
            )  # fmt: skip
        if status == 404 and kind in ("manifests", "blobs"):
            what = "there is no such image" if kind == "manifests" else "the registry lacks a part of the image"
            return TransportError(f"{self}: {what} ({name})", status=status)
        return refused(f"{self}: the registry", status, reply.headers)


def soon(brief: bool) -> Until | None:
    """The time limit of what is asked for now, if it is to be a brief one."""
    return Until(clock.monotonic_s() + BRIEF_S) if brief else None


def _limit(until: Until | None) -> dict[str, Until]:
    return {} if until is None else {"timeout": until}


def _read_out(reply: Response) -> None:
    """The rest of an answer that nobody reads: one that breaks off is none, whatever its first line says."""
    left = _LONGEST_ANSWER
    while left > 0 and (data := reply.raw.read(_CHUNK)):
        left -= len(data)


def pieces(reply: Response, within_s: float | None = None) -> Iterator[bytes]:
    """A body as it was sent. Raises TransportError where `within_s` seconds are not enough for it."""
    raw = reply.raw
    raw.decode_content = False
    # as it comes, where it can: who sends a byte now and then would be waited for
    read = raw.read if within_s is None else getattr(raw, "read1", raw.read)
    began = clock.monotonic_s()
    while data := read(_CHUNK):
        if within_s is not None and clock.monotonic_s() - began > within_s:
            raise TransportError(f"{urlsplit(reply.url).netloc}: the answer takes too long", temporary=True)
        yield data


def _speaks_tls(host: str) -> bool:
    """Whether a server of this machine answers to TLS. Nothing is sent, so its certificate does not matter here."""
    import socket
    import ssl

    parts = urlsplit(f"//{host}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((parts.hostname or "", parts.port or 443), BRIEF_S) as plain,
            context.wrap_socket(plain),
        ):
            return True
    except (OSError, ValueError):
        return False


def short(err: Exception) -> str:
    """What happened, without the library's words around it."""
    deepest: BaseException = err
    while (inner := deepest.__cause__ or deepest.__context__ or getattr(deepest, "reason", None)) is not None:
        if not isinstance(inner, BaseException) or inner is deepest:
            break
        deepest = inner
    said = getattr(deepest, "strerror", None) or str(deepest)
    return f"it cannot be reached: {said}" if isinstance(deepest, OSError) else f"{type(deepest).__name__}: {said}"
