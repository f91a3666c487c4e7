"""Images of a registry: resolved to digests, fetched blob by blob, checked while they stream.

oras brings the credentials (Docker's configuration and its helpers) and the token dance; requests are our own, for
oras retries refused logins for minutes and writes blobs without looking at their digest. Plain HTTP is spoken with
loopback and with hosts that the user calls insecure, with nobody else.

Source: OCI distribution-spec, "Pull"; Docker's rules for references (`distribution/reference`).
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from treebuilder.archive.compress import decompressed
from treebuilder.errors import ConfigError, IntegrityError, SpecError, TransportError
from treebuilder.events import EventSink, Finished, Progressed, Started
from treebuilder.model.digest import Digest
from treebuilder.model.image import State
from treebuilder.oci.layout import MAX_JSON, image_config, item_digest, json_object, platform_item, unpack_into_store
from treebuilder.oci.store import Store
from treebuilder.records import record
from treebuilder.system import clock
from treebuilder.system.process import Cancel

if TYPE_CHECKING:
    from requests import Response

T = TypeVar("T")

_ACCEPT = ", ".join([
    "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.docker.distribution.manifest.v2+json",
])  # fmt: skip
_HOST = re.compile(r"[A-Za-z0-9.-]+(:\d+)?\Z|\[[0-9A-Fa-f:]+\](:\d+)?\Z")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*\Z")
_TAG = re.compile(r"\w[\w.-]{0,127}\Z", re.ASCII)
_TIMEOUT_S = (15.0, 60.0)
_TRIES = 4
_FIRST_WAIT_S = 0.1
_CHUNK = 1 << 18
_DOCKER_HUB, _DOCKER_HUB_API = "docker.io", "registry-1.docker.io"
_DOCKER_HUB_LOGIN = "https://index.docker.io/v1/"


@record
class Reference:
    """`host/repository:tag@digest`; `tag` is "latest" where neither tag nor digest is said."""

    host: str
    repository: str
    tag: str
    digest: Digest | None

    def __str__(self) -> str:
        return f"{self.host}/{self.repository}" + (f"@{self.digest}" if self.digest else f":{self.tag}")


def parse_reference(text: str) -> Reference:
    """Reads a reference as Docker does. Raises SpecError (reason "image")."""
    name, at, digest_text = text.partition("@")
    try:
        digest = Digest.parse(digest_text) if at else None
    except ValueError as err:
        raise SpecError(f"the image {text!r} has a digest that is no sha256", reason="image") from err
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        host, path = first, rest
    else:
        host, path = _DOCKER_HUB, name
    path, colon, tag = path.partition(":")
    if host in (_DOCKER_HUB, "index.docker.io"):
        host, path = _DOCKER_HUB, path if "/" in path else f"library/{path}"
    if not _HOST.match(host) or not _REPOSITORY.match(path) or (colon and not _TAG.match(tag)):
        raise SpecError(f"{text!r} is no name of an image", reason="image")
    return Reference(host, path, tag or "latest", digest)


def is_loopback(host: str) -> bool:
    """Whether a host (with or without a port) is this machine itself, by its name alone."""
    name = host.rpartition(":")[0] if re.search(r":\d+\Z", host) else host
    if name == "localhost":
        return True
    import ipaddress

    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


class RegistryImages:
    """Images by reference. May be used from many threads. `insecure` are hosts (with port) to speak plain HTTP to."""

    def __init__(self, events: EventSink, cancel: Cancel, insecure: tuple[str, ...] = ()) -> None:
        self._events = events
        self._cancel = cancel
        self._insecure = frozenset(insecure)
        self._lock = threading.Lock()
        self._repositories: dict[tuple[str, str], _Repository] = {}

    def _repository(self, reference: Reference) -> _Repository:
        key = (reference.host, reference.repository)
        with self._lock:
            if key not in self._repositories:
                plain = is_loopback(reference.host) or reference.host in self._insecure
                self._repositories[key] = _Repository(*key, plain, self._cancel)
            return self._repositories[key]

    def resolve(self, reference: str) -> Digest:
        """The digest of the manifest for this platform. Raises TransportError, IntegrityError, SpecError."""
        named = parse_reference(reference)
        repository = self._repository(named)
        digest, manifest = repository.manifest(str(named.digest or named.tag), named.digest)
        for _ in range(3):
            if "manifests" not in manifest:
                return digest
            digest = item_digest(platform_item(manifest, reference), reference)
            _, manifest = repository.manifest(str(digest), digest)
        raise IntegrityError(f"{reference}: indexes of indexes of indexes")

    def load(self, reference: str, digest: Digest, store: Store) -> State:
        """Brings an image's layers into the store. Raises TransportError, IntegrityError for any wrong byte."""
        repository = self._repository(parse_reference(reference))
        _, manifest = repository.manifest(str(digest), digest)
        layers = manifest.get("layers")
        if not isinstance(layers, list):
            raise IntegrityError(f"{reference}: {digest} is no manifest of an image")
        task = f"image {reference}"
        self._events.emit(Started(task, f"fetching {reference}", sum(_size(item) for item in layers), "bytes"))
        began = clock.monotonic_s()
        progress = _Progress(task, self._events)
        try:
            config_item = manifest.get("config") or {}
            with store.scratch() as work:
                file = repository.blob(item_digest(config_item, reference), MAX_JSON, work / "config", progress)
                config = json_object(file.read_bytes(), reference)
            state = State(tuple(self._layer(repository, i, store, progress) for i in layers), image_config(config))
        except BaseException:
            self._events.emit(Finished(task, "failed", seconds=clock.monotonic_s() - began))
            raise
        self._events.emit(Finished(task, seconds=clock.monotonic_s() - began))
        return state

    def _layer(self, repository: _Repository, item: dict[str, Any], store: Store, progress: _Progress) -> Digest:
        """One layer's content digest. A layer of another image that was unpacked before is not fetched again."""
        blob = item_digest(item, str(repository))
        noted = store.index.note("unpacked", blob.hex)
        if noted is not None and store.has_tree(Digest(noted.decode())):
            progress.add(_size(item))
            return Digest(noted.decode())
        with store.scratch() as work:
            file = repository.blob(blob, _size(item), work / "blob", progress)
            with file.open("rb") as source:
                content = unpack_into_store(decompressed(source), store, f"{repository}@{blob}")
        store.index.set_notes("unpacked", {blob.hex: content.hex.encode()})
        return content


def _size(item: dict[str, Any]) -> int:
    size = item.get("size")
    if not isinstance(size, int) or size < 0:
        raise IntegrityError("a descriptor without a size")
    return size


class _Progress:
    def __init__(self, task: str, events: EventSink) -> None:
        self._task, self._events, self._done = task, events, 0

    def add(self, size: int) -> None:
        self._done += size
        self._events.emit(Progressed(self._task, self._done))


class _Repository:
    """One repository of one registry: its session, and the token it gave us."""

    def __init__(self, host: str, name: str, plain: bool, cancel: Cancel) -> None:
        self._host, self._name, self._plain, self._cancel = host, name, plain, cancel
        api = _DOCKER_HUB_API if host == _DOCKER_HUB else host
        self._url = f"{'http' if plain else 'https'}://{api}/v2/{name}"
        self._lock = threading.Lock()
        self._authorization = ""
        self._session, self._auth = _session(host, name, plain)

    def __str__(self) -> str:
        return f"{self._host}/{self._name}"

    def manifest(self, tag: str, expected: Digest | None) -> tuple[Digest, dict[str, Any]]:
        """A manifest or index by tag or digest, and the digest of its bytes, which must be `expected` if given."""

        def once() -> bytes:
            data = b""
            with self._get(f"manifests/{tag}") as reply:
                for part in self._parts(reply):
                    data += part
                    if len(data) > MAX_JSON:
                        raise IntegrityError(f"{self}: the manifest {tag} is too large")
            return data

        data = self._tried(once)
        digest = Digest.of(data)
        if expected is not None and digest != expected:
            raise IntegrityError(f"{self}: the manifest {expected} reads as {digest}")
        return digest, json_object(data, f"{self}:{tag}")

    def blob(self, digest: Digest, size: int, file: Path, progress: _Progress) -> Path:
        """Fetches a blob of at most `size` bytes into `file`."""

        def once() -> str:
            seen, count = hashlib.sha256(), 0
            try:
                with self._get(f"blobs/{digest}") as reply, file.open("wb") as out:
                    for part in self._parts(reply):
                        count += len(part)
                        if count > size:
                            raise IntegrityError(f"{self}: {digest} is longer than the {size} bytes it should have")
                        seen.update(part)
                        out.write(part)
                        progress.add(len(part))
            except TransportError:
                progress.add(-count)
                raise
            return seen.hexdigest()

        found = self._tried(once)
        if found != digest.hex:
            raise IntegrityError(f"{self}: {digest} reads as sha256:{found}")
        return file

    def _tried(self, once: Callable[[], T]) -> T:
        """Only faults that may pass are tried again, a few times."""
        for attempt in range(1, _TRIES):
            try:
                return once()
            except TransportError as err:
                if not err.temporary:
                    raise
            clock.sleep(_FIRST_WAIT_S * 3**attempt)
            self._cancel.check()
        return once()

    def _parts(self, reply: Response) -> Iterator[bytes]:
        """The body as it was sent: layers are compressed themselves and must not be unpacked on the way."""
        reply.raw.decode_content = False
        while data := reply.raw.read(_CHUNK):
            self._cancel.check()
            yield data

    @contextmanager
    def _get(self, path: str) -> Iterator[Response]:
        """A reply with status 200, logged in if asked for. All of requests' errors become ours here."""
        import requests
        import urllib3

        url = f"{self._url}/{path}"
        try:
            reply = self._ask(url)
            if reply.status_code in (401, 403) and self._log_in(reply):
                reply.close()
                reply = self._ask(url)
            with reply:
                if reply.status_code != 200:
                    raise self._refused(path, reply.status_code)
                yield reply
        except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as err:
            temporary = not isinstance(err, requests.exceptions.SSLError)
            raise TransportError(f"{self}: {_short(err)}", temporary=temporary) from err
        except requests.RequestException as err:
            raise TransportError(f"{self}: {_short(err)}") from err

    def _ask(self, url: str) -> Response:
        headers = {"Accept": _ACCEPT, "Accept-Encoding": "identity"}
        with self._lock:
            if self._authorization:
                headers["Authorization"] = self._authorization
        reply: Response = self._session.get(url, headers=headers, stream=True)
        return reply

    def _log_in(self, reply: Response) -> bool:
        """Answers a challenge by user and password, or by a token. True if that is worth another try."""
        challenge = reply.headers.get("Www-Authenticate", "")
        with self._lock:
            basic = getattr(self._auth, "_basic_auth", None)
            if challenge.lower().startswith("basic"):
                if not basic or self._authorization == f"Basic {basic}":
                    return False
                self._authorization = f"Basic {basic}"
                return True
            realm = re.search(r'realm="([^"]+)"', challenge)
            if realm is None or not self._may_ask(realm[1]):
                raise TransportError(
                    f"{self} wants a login at {realm[1] if realm else 'no place'}: refused", status=401
                )
            before = self._authorization
            try:
                headers, changed = self._auth.authenticate_request(reply, {}, refresh=True)
            except (ValueError, KeyError, AttributeError) as err:
                raise TransportError(f"{self}: the login at the registry failed: {err}", status=401) from err
            self._authorization = str(headers.get("Authorization", ""))
            return bool(changed) and self._authorization != before

    def _may_ask(self, realm: str) -> bool:
        """Passwords go to encrypted places, and to the plain ones that the user allowed."""
        scheme, _, rest = realm.partition("://")
        host = rest.partition("/")[0]
        return scheme == "https" or (scheme == "http" and (is_loopback(host) or (self._plain and host == self._host)))

    def _refused(self, path: str, status: int) -> TransportError:
        kind, _, name = path.partition("/")
        if status in (401, 403):
            return TransportError(
                f"{self}: not allowed ({status})",
                status=status,
                hint=f"docker login {self._host}, if there should be one",
            )
        if status == 404:
            what = "there is no such image" if kind == "manifests" else "the registry lacks a part of the image"
            return TransportError(f"{self}: {what} ({name})", status=status)
        temporary = status in (408, 425, 429) or status >= 500
        return TransportError(f"{self}: the registry answered {status}", temporary=temporary, status=status)


def _short(err: Exception) -> str:
    return f"{type(err).__name__}: {err}"


def _session(host: str, name: str, plain: bool) -> tuple[Any, Any]:
    """A session whose requests all have time limits, and oras's way to log in with Docker's credentials."""
    import logging
    from http.cookiejar import DefaultCookiePolicy

    import requests
    from oras.auth import get_auth_backend
    from oras.container import Container
    from oras.logger import logger

    class TimedSession(requests.Session):
        def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:  # noqa: ANN401
            kwargs.setdefault("timeout", _TIMEOUT_S)
            return super().request(method, url, *args, **kwargs)

    logger.set_level(logging.CRITICAL)  # it prints; what matters we raise
    session = TimedSession()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    auth = get_auth_backend("token", session, plain)
    key = _DOCKER_HUB_LOGIN if host == _DOCKER_HUB else host
    container = Container(f"{host}/{name}")
    container.registry = key
    folder = os.environ.get("DOCKER_CONFIG", "")
    configs = [f"{folder}/config.json"] if folder and os.path.isfile(f"{folder}/config.json") else None
    try:
        auth.load_configs(container, configs)
    except ValueError as err:
        raise ConfigError(f"Docker's config.json with the logins of registries cannot be read: {err}") from err
    return session, auth
