"""One repository of one registry: manifests, blobs and tags, pulled and pushed, checked while they stream.

Requests are our own, for oras retries refused logins for minutes and writes blobs without looking at their digest.

Source: OCI distribution-spec 1.1.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from treebuilder.annotations import IO, TYPE_CHECKING, Any
from treebuilder.errors import IntegrityError, TransportError
from treebuilder.events import EventSink, Progressed
from treebuilder.model.digest import Digest
from treebuilder.oci.arriving import UNSEEN, Arriving
from treebuilder.oci.connection import TRIES, Connection, soon
from treebuilder.oci.layout import INDEXES, MAX_JSON, json_object
from treebuilder.system import clock

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

    from requests import Response

    from treebuilder.oci.session import Until

COMPARED = "Treebuild-Compared"  # header of an answer to a request with a condition, which was looked at
_PART = 32 << 20  # bytes of one request of an upload
_TAG_LENGTH = 128
_MOST_TAGS = 500_000
_MOST_PAGES = 5_000
_NOTHING: Mapping[str, str] = {}


def descriptor_size(item: dict[str, Any]) -> int:
    size = item.get("size")
    if not isinstance(size, int) or size < 0:
        raise IntegrityError("a descriptor without a size")
    return size


class Progress:
    """Counts bytes of a task, whose end was said when it began. `moved_bytes` are those that came. For many threads."""

    def __init__(self, task: str, events: EventSink) -> None:
        self._task, self._events, self._done, self.moved_bytes = task, events, 0, 0
        self._lock = threading.Lock()

    def add(self, size: int) -> None:
        with self._lock:
            self.moved_bytes += size
        self.kept(size)

    def kept(self, size: int) -> None:
        with self._lock:
            self._done += size
            self._events.emit(Progressed(self._task, self._done))

    def expect(self, size: int) -> None:
        """What there will be was said when the task began."""


class Repository(Connection):
    """One repository of one registry. May be used from many threads."""

    def manifest(self, tag: str, expected: Digest | None, *, brief: bool = False) -> tuple[Digest, dict[str, Any]]:
        """A manifest or index by tag or digest, and the digest of its bytes, which must be `expected` if given.

        `brief`: nobody has to have it, so it is asked for once and not waited for long; so in other methods.
        """
        data = self.manifest_bytes(tag, expected, brief=brief)
        return Digest.of(data), json_object(data, f"{self}:{tag}")

    def manifest_bytes(self, tag: str, expected: Digest | None, *, brief: bool = False) -> bytes:
        """The same, as it is stored."""

        def once() -> bytes:
            until = soon(brief)
            with self._get(f"manifests/{tag}", until) as reply:
                return self._document(reply, f"the manifest {tag}", until)

        data = self._tried(once, 1 if brief else TRIES)
        digest = Digest.of(data)
        if expected is not None and digest != expected:
            raise IntegrityError(f"{self}: the manifest {expected} reads as {digest}")
        return data

    def _document(self, reply: Response, what: str, until: Until | None = None) -> bytes:
        """A small body. Raises IntegrityError for one that is none."""
        data = b""
        for part in self._parts(reply, until):
            data += part
            if len(data) > MAX_JSON:
                raise IntegrityError(f"{self}: {what} is too large")
        return data

    def blob(self, digest: Digest, size: int, file: Path, progress: Arriving, *, brief: bool = False) -> Path:
        """Fetches a blob of at most `size` bytes into `file`, going on after what is there of it already.

        Raises TransportError (what came stays in the file), IntegrityError (nothing stays).
        """
        found, joined = self._received(digest, size, file, progress, brief)
        if found != digest.hex and joined:  # what was there was not its beginning
            progress.kept(-file.stat().st_size)
            file.unlink()
            found, _ = self._received(digest, size, file, progress, brief)
        if found != digest.hex:
            file.unlink()
            raise IntegrityError(f"{self}: {digest} reads as sha256:{found}")
        return file

    def _received(self, digest: Digest, size: int, file: Path, progress: Arriving, brief: bool) -> tuple[str, bool]:
        """The sha256 of what is in the file in the end, and whether it came in several answers.

        A try that brought something is none in vain.
        """
        tries = 0
        with file.open("ab+") as out:
            out.seek(0)
            seen = hashlib.file_digest(out, "sha256")
            progress.kept(out.tell())
            while True:
                before, began_s = out.tell(), clock.monotonic_s()
                try:
                    return self._receive(digest, size, out, seen, progress, brief).hexdigest(), before > 0
                except TransportError as err:
                    tries = 1 if out.tell() > before else tries + 1
                    if not err.temporary or tries >= (1 if brief and out.tell() == before else TRIES):
                        raise
                    self._pause(tries, err, began_s)
                    out.seek(0)
                    seen = hashlib.file_digest(out, "sha256")

    def _receive(self, digest: Digest, size: int, out: IO[bytes], seen: Hash, progress: Arriving, brief: bool) -> Hash:
        """Appends what comes to a file of which `seen` has seen all."""
        have = out.tell()
        headers = {"Range": f"bytes={have}-"} if have else {}
        ok = (200, 206, 416)
        with self._request("GET", f"blobs/{digest}", headers=headers, expect=ok, until=soon(brief)) as reply:
            if reply.status_code == 416:  # it is whole, or something else: its digest tells
                return seen
            if have and reply.status_code == 200:
                progress.kept(-have)
                out.seek(0)
                out.truncate()
                have, seen = 0, hashlib.sha256()
            length = reply.headers.get("Content-Length", "")
            if length.isascii() and length.isdigit():
                progress.expect(min(have + int(length), size))
            for part in self._parts(reply):
                have += len(part)
                if have > size:
                    out.seek(0)
                    out.truncate()
                    raise IntegrityError(f"{self}: {digest} is longer than the {size} bytes it should have")
                seen.update(part)
                out.write(part)
                progress.add(len(part))
        return seen

    # pushing ----------------------------------------------------------------------------------------------------
    def has_blob(self, digest: Digest) -> bool:
        """Whether the repository has these bytes."""
        return self._is_there(f"blobs/{digest}")

    def digest_of(self, reference: str, *, brief: bool = False) -> Digest | None:
        """The digest of the manifest that a tag or digest leads to; None when there is none."""

        def once() -> Digest | None:
            with self._request("HEAD", f"manifests/{reference}", expect=(200, 404), until=soon(brief)) as reply:
                if reply.status_code == 404:
                    return None
                try:
                    return Digest.parse(reply.headers.get("Docker-Content-Digest", ""))
                except ValueError:
                    return self.manifest(reference, None, brief=brief)[0]

        return self._tried(once, 1 if brief else TRIES)

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
        self, digest: Digest, size: int, opened: Callable[[], IO[bytes]], progress: Arriving = UNSEEN, *,
        again: bool = False,
    ) -> bool:  # fmt: skip
        """Uploads a blob of `size` bytes in parts, going on after a fault where the registry stands.

        `again`: also where the registry says that it has it. True if it was sent, False if it was there.
        Raises TransportError, IntegrityError when the registry reads something else than was sent.
        """
        if not again and self.has_blob(digest):
            return False
        place = self._tried(self._begin)
        with opened() as source:
            position = 0
            tries = 0
            while True:
                began_s = clock.monotonic_s()
                try:
                    if position < size and size > _PART:
                        place, position = self._send_part(place, source, position, size, progress)
                        tries = 0
                        continue
                    self._send_last(place, source, position, size, digest, progress)
                    return True
                except TransportError as err:
                    tries += 1
                    if not err.temporary or tries >= TRIES:
                        raise
                    self._pause(tries, err, began_s)
                    place, position = self._resumed(place, position)

    def push_small(self, data: bytes) -> Digest:
        """Uploads a blob of a few KiB, which is cheaper than to ask for it. Raises as `push_blob`.

        One that many images share is sent once: Debian's registry writes its note of a blob anew each time, and at
        that instant denies the blob to whoever refers to it.
        """
        digest = Digest.of(data)
        with self._lock:
            sending = self._sending.setdefault(digest, threading.Lock())
        with sending:
            if digest not in self._small:
                self._push_small(digest, data)
                self._small.add(digest)
        return digest

    def _push_small(self, digest: Digest, data: bytes) -> None:

        def once() -> None:
            place = ""
            if self._whole:
                headers = {"Content-Type": "application/octet-stream"}
                query = f"blobs/uploads/?digest={digest}"
                with self._request("POST", query, data=data, headers=headers, expect=(201, 202)) as reply:
                    if reply.status_code == 201:
                        return
                    self._whole = False
                    place = self._place(reply, "")
            self._send_last(place or self._begin(), io.BytesIO(data), 0, len(data), digest, UNSEEN)

        self._tried(once)

    def put_manifest(self, reference: str, data: bytes, media: str) -> Digest:
        """Stores a manifest under a tag or its digest. Its blobs must be there."""
        return self._put_manifest(reference, data, media)[0]

    def replace_manifest(self, tag: str, data: bytes, media: str, before: Digest | None) -> bool:
        """Stores a manifest under a tag that should lead to `before`, or to nothing.

        True where the registry compared, as ours does; most pass over what they are told, and one that compares with
        something else, for nobody says that a manifest's ETag is its digest, is told without a condition. Raises
        TransportError (412) where the tag leads elsewhere.
        """
        condition = {"If-None-Match": "*"} if before is None else {"If-Match": f'"{before}"'}
        try:
            return COMPARED in self._put_manifest(tag, data, media, condition)[1]
        except TransportError as err:
            led = self.digest_of(tag) if err.status == 412 else None
            if err.status != 412 or led not in (before, Digest.of(data)):
                raise
            if led == Digest.of(data):  # it was stored, and the answer was lost
                return True
        self._put_manifest(tag, data, media)
        return False

    def _put_manifest(
        self, reference: str, data: bytes, media: str, more: Mapping[str, str] = _NOTHING
    ) -> tuple[Digest, Mapping[str, str]]:
        """The manifest's digest, and the headers of the answer."""
        digest = Digest.of(data)

        def once() -> Mapping[str, str]:
            headers = {"Content-Type": media, **more}
            with self._request("PUT", f"manifests/{reference}", data=data, headers=headers, expect=(201,)) as reply:
                found: Mapping[str, str] = reply.headers
                return found

        headers = self._tried(once)
        said = headers.get("Docker-Content-Digest", "")
        if said not in ("", str(digest)):
            raise IntegrityError(f"{self}: the manifest {digest} was stored as {said[:80]}")
        return digest, headers

    def put_referrer(self, data: bytes, media: str, subject: Digest, described: dict[str, Any]) -> Digest:
        """Stores a manifest that refers to `subject`, also in the index `sha256-…` of a registry that keeps no list.

        `described` are its artifactType and annotations, which that index repeats. Of two that add to one index at
        the same time, one may be lost there: so it is in the specification, and adding again mends it.
        """
        digest, headers = self._put_manifest(str(Digest.of(data)), data, media)
        if "OCI-Subject" in headers:  # it took note
            return digest
        tag = f"sha256-{subject.hex}"
        try:
            _, index = self.manifest(tag, None)
        except TransportError as err:
            if err.status != 404:
                raise
            index = {}
        present = index.get("manifests")
        items = [item for item in present if isinstance(item, dict)] if isinstance(present, list) else []
        if all(item.get("digest") != str(digest) for item in items):
            items.append({"mediaType": media, "digest": str(digest), "size": len(data), **described})
            value = {"schemaVersion": 2, "mediaType": INDEXES[0], "manifests": items}
            self.put_manifest(tag, json.dumps(value, sort_keys=True, separators=(",", ":")).encode(), INDEXES[0])
        return digest

    def delete_manifest(self, reference: str) -> bool:
        """Removes a manifest (by digest) or a tag; False if it was not there."""

        def once() -> bool:
            with self._request("DELETE", f"manifests/{reference}", expect=(200, 202, 404)) as reply:
                return reply.status_code != 404

        return self._tried(once)

    def tags(self, *, parts: int = 0, brief: bool = False) -> list[str]:
        """All tags, sorted; none when there is no such repository. Raises TransportError; IntegrityError for a list
        that is none, or has no end within `parts`, if they are told. `brief`: one time limit for all parts."""
        found: set[str] = set()
        path = "tags/list?n=1000"
        until = soon(brief)
        most = parts or _MOST_PAGES
        for _ in range(most):
            data, link = self._tried(lambda path=path: self._page(path, until), 1 if brief else TRIES)  # type: ignore[misc]
            tags = data.get("tags") or []
            if not isinstance(tags, list) or not all(isinstance(tag, str) and len(tag) <= _TAG_LENGTH for tag in tags):
                raise IntegrityError(f"{self}: a list of tags that is none")
            before = len(found)
            found.update(tags)
            following = re.search(r'<([^>]*)>\s*;\s*rel="?next', link)
            query = urlsplit(following[1]).query if following else ""
            if not query or not tags:
                return sorted(found)
            if len(found) == before or len(found) > _MOST_TAGS:
                break
            path = f"tags/list?{query}"
        raise IntegrityError(
            f"{self}: the list of tags has no end",
            hint=f"after {len(found)} tags the registry promised more; {_MOST_TAGS} in {most} parts are read",
        )

    def _page(self, path: str, until: Until | None) -> tuple[dict[str, Any], str]:
        with self._request("GET", path, expect=(200, 404), until=until) as reply:
            if reply.status_code == 404:
                return {}, ""
            data = self._document(reply, "the list of tags", until)
            return json_object(data, f"{self}: tags"), reply.headers.get("Link", "")

    def referrers(self, subject: Digest, *, brief: bool = False) -> list[dict[str, Any]]:
        """Descriptors of what refers to a manifest: by the API, or where there is none by the tag `sha256-…`."""

        def once() -> dict[str, Any] | None:
            expect, until = (200, 400, 404, 405), soon(brief)
            with self._request("GET", f"referrers/{subject}", expect=expect, until=until) as reply:
                if reply.status_code != 200 or "image.index" not in reply.headers.get("Content-Type", ""):
                    return None
                return json_object(self._document(reply, "the list of referrers", until), f"{self}: referrers")

        value = self._tried(once, 1 if brief else TRIES)
        if value is None:
            try:
                _, value = self.manifest(f"sha256-{subject.hex}", None, brief=brief)
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
        self, place: str, source: IO[bytes], position: int, size: int, progress: Arriving
    ) -> tuple[str, int]:
        source.seek(position)
        data = source.read(min(_PART, size - position))
        end = position + len(data)
        headers = {"Content-Type": "application/octet-stream", "Content-Range": f"{position}-{end - 1}"}
        with self._request("PATCH", place, data=data, headers=headers, expect=(202, 204, 201)) as reply:
            place = self._place(reply, place)
        progress.add(len(data))
        return place, end

    def _send_last(
        self, place: str, source: IO[bytes], position: int, size: int, digest: Digest, progress: Arriving
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
        if data:
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
