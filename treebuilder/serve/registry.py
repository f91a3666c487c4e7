"""The OCI distribution specification 1.1 over a `Storage`: pull, push, discovery, content management, referrers."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote, unquote

from treebuilder.errors import NoSpace
from treebuilder.serve.exchange import Exchange, Header, RefusedError
from treebuilder.serve.manifests import INDEX, Descriptor, InvalidError, Manifest, Parsed, parse
from treebuilder.serve.names import digest_of, is_digest, is_name, is_tag
from treebuilder.serve.storage import Storage
from treebuilder.serve.uploads import Upload, Uploads

MAX_MANIFEST = 8 << 20
_PATH = re.compile(
    r"/v2/(?P<name>.+?)/(?:blobs/(?P<uploads>uploads)(?:/(?P<id>[^/]*))?"
    r"|(?P<kind>blobs|manifests|referrers)/(?P<what>[^/]+)|(?P<tags>tags)/list)\Z"
)
_RANGE = re.compile(r"(?:bytes[ =])?(\d{1,18})-(\d{1,18})(?:/.*)?\Z", re.ASCII)


class Registry:
    """Answers requests. Any number of threads may call `answer`."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.uploads = self._uploads = Uploads(storage.folder / "uploads")

    def answer(self, exchange: Exchange) -> None:
        """Replies to one request. Raises RefusedError for what is refused."""
        if exchange.path in ("/v2", "/v2/"):
            if exchange.method not in ("GET", "HEAD"):
                raise _unsupported(exchange)
            exchange.json(200, {})
            return
        if exchange.path == "/v2/_catalog":
            if exchange.method != "GET":
                raise _unsupported(exchange)
            names, headers = _page(exchange, self._storage.repositories())
            exchange.json(200, {"repositories": names}, **headers)
            return
        found = _PATH.match(unquote(exchange.path))  # some write a digest's colon as %3A
        if found is None:
            raise RefusedError(404, "NAME_UNKNOWN", "there is no such place")
        name = found["name"]
        if not is_name(name):
            raise RefusedError(400, "NAME_INVALID", f"{name[:80]!r} is no name of a repository")
        route: Callable[[Exchange, str, str], None]
        if found["uploads"] and not found["id"]:
            route, what = self._begin, ""
        elif found["uploads"]:
            route, what = self._upload, found["id"]
        elif found["tags"]:
            route, what = self._tags, ""
        else:
            routes = {"blobs": self._blob, "manifests": self._manifest, "referrers": self._referrers}
            route, what = routes[found["kind"]], found["what"]
        route(exchange, name, what)

    # blobs ------------------------------------------------------------------------------------------------------
    def _blob(self, exchange: Exchange, name: str, digest: str) -> None:
        if not is_digest(digest):
            raise RefusedError(400, "DIGEST_INVALID", f"{digest[:80]!r} is no digest")
        if exchange.method == "DELETE":
            if not self._storage.delete_blob(name, digest):
                raise RefusedError(404, "BLOB_UNKNOWN", f"{name} has no blob {digest}")
            exchange.empty(202)
        elif exchange.method in ("GET", "HEAD"):
            # A damaged one is not there for whoever would push it again, and a fault for whoever reads it.
            found = self._storage.use if exchange.method == "HEAD" else self._storage.check
            if not found(name, digest):
                raise RefusedError(404, "BLOB_UNKNOWN", f"{name} has no blob {digest}")
            exchange.file(self._storage.path(digest), "application/octet-stream", docker_content_digest=digest)
        else:
            raise _unsupported(exchange)

    def _begin(self, exchange: Exchange, name: str, _: str) -> None:
        """A new upload, a whole blob in one request, or one that another repository has."""
        if exchange.method != "POST":
            raise _unsupported(exchange)
        mount, source, digest = exchange.asked("mount"), exchange.asked("from"), exchange.asked("digest")
        if mount and is_digest(mount) and self._storage.mount(name, source, mount):
            exchange.empty(201, location=f"/v2/{name}/blobs/{mount}", docker_content_digest=mount)
            return
        id = self._uploads.begin(name)
        upload = self._uploads.get(name, id)
        assert upload is not None
        if digest:
            try:
                upload.append(exchange.parts())
                self._finish(exchange, name, id, upload, digest)
            finally:  # nobody was told its name
                self._uploads.end(name, id)
            return
        exchange.empty(202, location=f"/v2/{name}/blobs/uploads/{id}", range="0-0", docker_upload_uuid=id)

    def _upload(self, exchange: Exchange, name: str, id: str) -> None:
        upload = self._uploads.get(name, id)
        if upload is None:
            raise RefusedError(404, "BLOB_UPLOAD_UNKNOWN", "there is no such upload")
        with upload.lock:
            if not upload.path.exists():
                raise RefusedError(404, "BLOB_UPLOAD_UNKNOWN", "there is no such upload")
            match exchange.method:
                case "GET":
                    self._state(exchange, name, id, upload, 204)
                case "PATCH":
                    self._expect(exchange, name, id, upload)
                    self._append(exchange, name, id, upload)
                    self._state(exchange, name, id, upload, 202)
                case "PUT":
                    self._expect(exchange, name, id, upload)
                    self._append(exchange, name, id, upload)
                    self._finish(exchange, name, id, upload, exchange.asked("digest"))
                case "DELETE":
                    self._uploads.end(name, id)
                    exchange.empty(204)
                case _:
                    raise _unsupported(exchange)

    def _append(self, exchange: Exchange, name: str, id: str, upload: Upload) -> None:
        """What arrived before the connection broke stays; what fills the disk does not."""
        try:
            upload.append(exchange.parts())
        except NoSpace:
            self._uploads.end(name, id)
            raise

    def _state(self, exchange: Exchange, name: str, id: str, upload: Upload, status: int) -> None:
        place = f"/v2/{name}/blobs/uploads/{id}"
        exchange.empty(status, location=place, range=f"0-{max(0, upload.size - 1)}", docker_upload_uuid=id)

    def _expect(self, exchange: Exchange, name: str, id: str, upload: Upload) -> None:
        """A chunk that says where it belongs must belong at the end."""
        text = exchange.headers.get("Content-Range")
        if not text:
            return
        found = _RANGE.match(text.strip())
        length = exchange.length
        start, end = (int(found[1]), int(found[2])) if found else (-1, -1)
        if found is None or start != upload.size or (length is not None and end - start + 1 != length):
            raise RefusedError(
                416, "BLOB_UPLOAD_INVALID", f"the next byte is {upload.size}",
                {"Location": f"/v2/{name}/blobs/uploads/{id}", "Range": f"0-{max(0, upload.size - 1)}"},
            )  # fmt: skip

    def _finish(self, exchange: Exchange, name: str, id: str, upload: Upload, digest: str) -> None:
        """The upload becomes a blob if it is what its digest says."""
        if not is_digest(digest):
            self._uploads.end(name, id)
            raise RefusedError(400, "DIGEST_INVALID", f"{digest[:80]!r} is no digest")
        found = upload.digest(digest)
        if found != digest:
            self._uploads.end(name, id)
            raise RefusedError(400, "DIGEST_INVALID", f"what was sent reads as {found}")
        try:
            self._storage.add_file(name, digest, upload.path)
        finally:
            self._uploads.end(name, id)
        exchange.empty(201, location=f"/v2/{name}/blobs/{digest}", docker_content_digest=digest)

    # manifests --------------------------------------------------------------------------------------------------
    def _manifest(self, exchange: Exchange, name: str, reference: str) -> None:
        if not is_digest(reference) and not is_tag(reference):
            if exchange.method in ("GET", "HEAD") and ":" not in reference:  # so whoever asks if it is there is told
                raise RefusedError(404, "MANIFEST_UNKNOWN", f"{name} has no manifest {reference[:80]!r}")
            code = "DIGEST_INVALID" if ":" in reference else "MANIFEST_INVALID"
            raise RefusedError(400, code, f"{reference[:80]!r} is neither a tag nor a digest")
        match exchange.method:
            case "GET" | "HEAD":
                found = self._storage.manifest(name, reference)
                if found is None:
                    raise RefusedError(404, "MANIFEST_UNKNOWN", f"{name} has no manifest {reference}")
                data = self._storage.manifest_bytes(found)
                exchange.bytes(200, data, found.media, docker_content_digest=found.digest)
            case "PUT":
                self._put_manifest(exchange, name, reference)
            case "DELETE":
                if not self._storage.delete_manifest(name, reference):
                    raise RefusedError(404, "MANIFEST_UNKNOWN", f"{name} has no manifest {reference}")
                exchange.empty(202)
            case _:
                raise _unsupported(exchange)

    def _put_manifest(self, exchange: Exchange, name: str, reference: str) -> None:
        data = exchange.body(MAX_MANIFEST)
        by_digest = is_digest(reference)
        digest = digest_of(data, reference if by_digest else "sha256:")
        if by_digest and digest != reference:
            raise RefusedError(400, "DIGEST_INVALID", f"what was sent reads as {digest}")
        tags = exchange.query.get("tag", []) if by_digest else [reference]
        if not all(is_tag(tag) for tag in tags):
            raise RefusedError(400, "MANIFEST_INVALID", "a tag that is none")
        try:
            parsed = parse(data, exchange.headers.get("Content-Type", "").partition(";")[0].strip(), digest)
        except InvalidError as err:
            raise RefusedError(400, "MANIFEST_INVALID", str(err)) from err
        with self._storage.steady():
            self._check_needs(name, parsed)
            compared = self._compared(exchange, name, reference)
            self._storage.put_manifest(name, parsed.manifest, data, tags)
        more: dict[str, Header] = {"OCI_subject": parsed.manifest.subject} if parsed.manifest.subject else {}
        if by_digest and tags:
            more["OCI_tag"] = tuple(tags)
        place = f"/v2/{name}/manifests/{reference}"
        exchange.empty(201, location=place, docker_content_digest=digest, **more, **compared)

    def _compared(self, exchange: Exchange, name: str, reference: str) -> dict[str, str]:
        """What a tag is to lead to before (RFC 9110 §13.1), so that of two publishers one is told. Raises RefusedError.

        The specification has no such conditions. That they were looked at is said, for most registries pass over them.
        """
        wanted, absent = exchange.headers.get("If-Match"), exchange.headers.get("If-None-Match")
        if wanted is None and absent is None:
            return {}
        found = self._storage.manifest(name, reference)
        digest = found.digest if found is not None else ""
        if (wanted is not None and not _names(wanted, digest)) or (absent is not None and _names(absent, digest)):
            raise RefusedError(412, "DENIED", f"{reference} leads to {digest or 'nothing'}")
        return {"treebuild_compared": "yes"}

    def _check_needs(self, name: str, parsed: Parsed) -> None:
        """All that a manifest names is there, and as long as it says. Raises RefusedError."""
        for blob in parsed.blobs:
            self._check_size(name, blob, self._storage.blob_size(name, blob.digest))
        for child in parsed.children:
            found = self._storage.manifest(name, child.digest)
            self._check_size(name, child, found.size if found is not None else None)

    def _check_size(self, name: str, wanted: Descriptor, size: int | None) -> None:
        if size is None:
            raise RefusedError(404, "MANIFEST_BLOB_UNKNOWN", f"{name} has no {wanted.digest}")
        if size != wanted.size:
            raise RefusedError(400, "MANIFEST_INVALID", f"{wanted.digest} has {size} bytes, not {wanted.size}")

    # discovery --------------------------------------------------------------------------------------------------
    def _tags(self, exchange: Exchange, name: str, _: str) -> None:
        if exchange.method != "GET":
            raise _unsupported(exchange)
        if not self._storage.has_repository(name):
            raise RefusedError(404, "NAME_UNKNOWN", f"there is no repository {name}")
        tags, headers = _page(exchange, self._storage.tags(name))
        exchange.json(200, {"name": name, "tags": tags}, **headers)

    def _referrers(self, exchange: Exchange, name: str, digest: str) -> None:
        if exchange.method != "GET":
            raise _unsupported(exchange)
        if not is_digest(digest):
            raise RefusedError(400, "DIGEST_INVALID", f"{digest[:80]!r} is no digest")
        found: list[Manifest] = self._storage.referrers(name, digest)
        wanted, headers = exchange.asked("artifactType"), {}
        if wanted:
            found = [manifest for manifest in found if manifest.artifact == wanted]
            headers["OCI_filters_applied"] = "artifactType"
        value = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest.descriptor() for manifest in found]}
        exchange.json(200, value, INDEX, **headers)


def _page(exchange: Exchange, items: list[str]) -> tuple[list[str], dict[str, str]]:
    """The part of a sorted list that `n` and `last` ask for, and the header that leads to the next one."""
    last, wanted = exchange.asked("last"), exchange.asked("n")
    items = [item for item in items if item > last]
    if not wanted:
        return items, {}
    if not (wanted.isascii() and wanted.isdigit() and len(wanted) < 10):
        raise RefusedError(400, "UNSUPPORTED", f"n={wanted[:20]!r} is no number")
    count = int(wanted)
    if not 0 < count < len(items):
        return items[:count], {}
    link = f'<{exchange.path}?n={count}&last={quote(items[count - 1], safe="")}>; rel="next"'
    return items[:count], {"link": link}


def _names(condition: str, digest: str) -> bool:
    """Whether a list of entity tags, or `*`, has that of a digest; "" is none."""
    return bool(digest) and (condition.strip() == "*" or f'"{digest}"' in condition)


def _unsupported(exchange: Exchange) -> RefusedError:
    return RefusedError(405, "UNSUPPORTED", f"{exchange.method} does nothing here")
