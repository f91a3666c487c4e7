"""One repository of one registry: manifests, blobs and tags, pulled and pushed, checked while they stream.

Requests are our own, for oras retries refused logins for minutes and writes blobs without looking at their digest.
Plain HTTP is spoken with loopback and with hosts that the user calls insecure, with nobody else. Only what may pass is
tried again: broken connections, 429 and server errors, after as long as the server says.

Source: OCI distribution-spec 1.1.
"""

from __future__ import annotations

import hashlib
import random
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin, urlsplit

from treebuilder.errors import IntegrityError, TransportError
from treebuilder.events import EventSink, Progressed
from treebuilder.model.digest import Digest
from treebuilder.oci.layout import MAX_JSON, json_object
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
_TRIES = 4
_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 60.0
_CHUNK = 1 << 18
_PART = 32 << 20  # bytes of one request of an upload
_DOCKER_HUB_API = "registry-1.docker.io"


def descriptor_size(item: dict[str, Any]) -> int:
    size = item.get("size")
    if not isinstance(size, int) or size < 0:
        raise IntegrityError("a descriptor without a size")
    return size


class Progress:
    """Counts bytes of a task."""

    def __init__(self, task: str, events: EventSink) -> None:
        self._task, self._events, self._done = task, events, 0

    def add(self, size: int) -> None:
        self._done += size
        self._events.emit(Progressed(self._task, self._done))


class Repository:
    """One repository of one registry: its session, and the token it gave us."""

    def __init__(self, host: str, name: str, plain: bool, cancel: Cancel) -> None:
        self._host, self._name, self._plain, self._cancel = host, name, plain, cancel
        api = _DOCKER_HUB_API if host == DOCKER_HUB else host
        self._url = f"{'http' if plain else 'https'}://{api}/v2/{name}"
        self._lock = threading.Lock()
        self._authorization = ""
        self._session, self._auth = session_for(host, name, plain)

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

    def blob(self, digest: Digest, size: int, file: Path, progress: Progress) -> Path:
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

    # pushing ----------------------------------------------------------------------------------------------------
    def has_blob(self, digest: Digest) -> bool:
        """Whether the repository has these bytes."""
        return self._is_there(f"blobs/{digest}")

    def digest_of(self, reference: str) -> Digest | None:
        """The digest of the manifest that a tag or digest leads to; None when there is none."""

        def once() -> Digest | None:
            with self._request("HEAD", f"manifests/{reference}", expect=(200, 404)) as reply:
                if reply.status_code == 404:
                    return None
                try:
                    return Digest.parse(reply.headers.get("Docker-Content-Digest", ""))
                except ValueError:
                    return self.manifest(reference, None)[0]

        return self._tried(once)

    def _is_there(self, path: str) -> bool:
        def once() -> bool:
            with self._request("HEAD", path, expect=(200, 404)) as reply:
                return reply.status_code == 200

        return self._tried(once)

    def mount(self, digest: Digest, source: str) -> bool:
        """Takes a blob over from another repository of the same registry; False if that was not possible."""

        def once() -> bool:
            query = f"blobs/uploads/?mount={digest}&from={source}"
            with self._request("POST", query, expect=(201, 202)) as reply:
                if reply.status_code == 202:  # an upload was begun instead, which nobody wants
                    self._abandon(reply)
                return reply.status_code == 201

        return self._tried(once)

    def push_blob(
        self, digest: Digest, size: int, opened: Callable[[], IO[bytes]], progress: Progress | None = None
    ) -> bool:
        """Uploads a blob of `size` bytes in parts, going on after a fault where the registry stands.

        True if it was sent, False if it was there. Raises TransportError, IntegrityError when the registry reads
        something else than was sent.
        """
        if self.has_blob(digest):
            return False
        place = self._tried(self._begin)
        with opened() as source:
            position = 0
            tries = 0
            while True:
                try:
                    if position < size and size > _PART:
                        place, position = self._send_part(place, source, position, size, progress)
                        tries = 0
                        continue
                    self._send_last(place, source, position, size, digest, progress)
                    return True
                except TransportError as err:
                    tries += 1
                    if not err.temporary or tries >= _TRIES:
                        raise
                    self._pause(tries, err)
                    place, position = self._resumed(place, position)

    def put_manifest(self, reference: str, data: bytes, media: str) -> Digest:
        """Stores a manifest under a tag or its digest. Its blobs must be there."""
        digest = Digest.of(data)

        def once() -> str:
            headers = {"Content-Type": media}
            with self._request("PUT", f"manifests/{reference}", data=data, headers=headers, expect=(201,)) as reply:
                return reply.headers.get("Docker-Content-Digest", "")

        said = self._tried(once)
        if said not in ("", str(digest)):
            raise IntegrityError(f"{self}: the manifest {digest} was stored as {said[:80]}")
        return digest

    def delete_manifest(self, reference: str) -> bool:
        """Removes a manifest (by digest) or a tag; False if it was not there."""

        def once() -> bool:
            with self._request("DELETE", f"manifests/{reference}", expect=(200, 202, 404)) as reply:
                return reply.status_code != 404

        return self._tried(once)

    def tags(self) -> list[str]:
        """All tags, sorted; none when there is no such repository."""
        found: list[str] = []
        path = "tags/list?n=1000"
        for _ in range(10_000):
            data, link = self._tried(lambda path=path: self._page(path))  # type: ignore[misc]
            tags = data.get("tags") or []
            if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
                raise IntegrityError(f"{self}: a list of tags that is none")
            found += tags
            following = re.search(r'<([^>]*)>\s*;\s*rel="?next', link)
            query = urlsplit(following[1]).query if following else ""
            if not query or not tags:
                break
            path = f"tags/list?{query}"
        return sorted(set(found))

    def _page(self, path: str) -> tuple[dict[str, Any], str]:
        with self._request("GET", path, expect=(200, 404)) as reply:
            if reply.status_code == 404:
                return {}, ""
            data = b""
            for part in self._parts(reply):
                data += part
                if len(data) > MAX_JSON:
                    raise IntegrityError(f"{self}: the list of tags is too large")
            return json_object(data, f"{self}: tags"), reply.headers.get("Link", "")

    def referrers(self, subject: Digest) -> list[dict[str, Any]]:
        """Descriptors of what refers to a manifest: by the API, or where there is none by the tag `sha256-…`."""

        def once() -> dict[str, Any] | None:
            with self._request("GET", f"referrers/{subject}", expect=(200, 400, 404, 405)) as reply:
                if reply.status_code != 200 or "image.index" not in reply.headers.get("Content-Type", ""):
                    return None
                return json_object(b"".join(self._parts(reply)), f"{self}: referrers")

        value = self._tried(once)
        if value is None:
            try:
                _, value = self.manifest(f"sha256-{subject.hex}", None)
            except TransportError as err:
                if err.status != 404:
                    raise
                return []
        items = value.get("manifests") or []
        return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []

    def _begin(self) -> str:
        with self._request("POST", "blobs/uploads/", expect=(202,)) as reply:
            return self._place(reply, "")

    def _place(self, reply: Response, before: str) -> str:
        """Where an upload goes on."""
        place = reply.headers.get("Location")
        if not place and not before:
            raise IntegrityError(f"{self}: an upload that is nowhere")
        return urljoin(reply.url, place) if place else before

    def _abandon(self, reply: Response) -> None:
        place = self._place(reply, "")
        with self._request("DELETE", place, expect=(204, 202, 200, 404, 405)):
            return

    def _send_part(
        self, place: str, source: IO[bytes], position: int, size: int, progress: Progress | None
    ) -> tuple[str, int]:
        source.seek(position)
        data = source.read(min(_PART, size - position))
        end = position + len(data)
        headers = {"Content-Type": "application/octet-stream", "Content-Range": f"{position}-{end - 1}"}
        with self._request("PATCH", place, data=data, headers=headers, expect=(202, 204, 201)) as reply:
            place = self._place(reply, place)
        if progress is not None:
            progress.add(len(data))
        return place, end

    def _send_last(
        self, place: str, source: IO[bytes], position: int, size: int, digest: Digest, progress: Progress | None
    ) -> None:
        source.seek(position)
        data = source.read(size - position) if position < size else b""
        target = f"{place}{'&' if urlsplit(place).query else '?'}digest={digest}"
        headers = {"Content-Type": "application/octet-stream"}
        if position and data:
            headers["Content-Range"] = f"{position}-{size - 1}"
        with self._request("PUT", target, data=data, headers=headers, expect=(201, 400)) as reply:
            if reply.status_code == 400:
                raise IntegrityError(f"{self}: the registry refused {digest}: what arrived is not what was sent")
        if progress is not None and data:
            progress.add(len(data))

    def _resumed(self, place: str, position: int) -> tuple[str, int]:
        """Asks how much has arrived; where the registry does not know, the upload begins anew."""
        try:
            with self._request("GET", place, expect=(204, 200, 404)) as reply:
                found = re.match(r"(?:bytes=)?0-(\d+)\Z", reply.headers.get("Range", ""))
                if reply.status_code != 404:
                    arrived = int(found[1]) + 1 if found else 0
                    return self._place(reply, place), arrived if arrived > 1 or position else 0
        except TransportError as err:
            if not err.temporary:
                raise
        return self._tried(self._begin), 0

    # requests ---------------------------------------------------------------------------------------------------
    def _tried(self, once: Callable[[], T]) -> T:
        """Only faults that may pass are tried again, a few times."""
        for attempt in range(1, _TRIES):
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
            if reply.status_code in (401, 403) and self._log_in(reply):
                reply.close()
                reply = self._ask(method, url, data, headers or {})
            with reply:
                if reply.status_code not in expect:
                    raise self._refused(path, reply)
                yield reply
        except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as err:
            temporary = not isinstance(err, requests.exceptions.SSLError)
            raise TransportError(f"{self}: {_short(err)}", temporary=temporary) from err
        except requests.RequestException as err:
            raise TransportError(f"{self}: {_short(err)}") from err

    def _ask(self, method: str, url: str, data: bytes | None, more: Mapping[str, str]) -> Response:
        headers = {"Accept": _ACCEPT, "Accept-Encoding": "identity", **more}
        with self._lock:
            if self._authorization and urlsplit(url).netloc == urlsplit(self._url).netloc:
                headers["Authorization"] = self._authorization
        if data is not None:
            headers["Content-Length"] = str(len(data))
        reply: Response = self._session.request(method, url, headers=headers, data=data, stream=True)
        return reply

    def _log_in(self, reply: Response) -> bool:
        """Answers a challenge by user and password, or by a token. True if that is worth another try."""
        challenge = reply.headers.get("Www-Authenticate", "")
        if not challenge:
            return False
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


def _short(err: Exception) -> str:
    """What happened, without the library's words around it."""
    deepest: BaseException = err
    while (inner := deepest.__cause__ or deepest.__context__ or getattr(deepest, "reason", None)) is not None:
        if not isinstance(inner, BaseException) or inner is deepest:
            break
        deepest = inner
    said = getattr(deepest, "strerror", None) or str(deepest)
    return f"it cannot be reached: {said}" if isinstance(deepest, OSError) else f"{type(deepest).__name__}: {said}"
