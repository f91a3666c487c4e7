"""Downloads of URLs into the store: checked while they stream, limited in size, retried only where that may help."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from treebuilder.annotations import Any
from treebuilder.errors import IntegrityError, TransportError
from treebuilder.model.digest import Digest
from treebuilder.oci.refusal import refused, wait
from treebuilder.oci.session import new_session
from treebuilder.oci.store import Store
from treebuilder.system import clock
from treebuilder.system.process import Cancel

_CHUNK = 1 << 18
_TRIES = 4
MAX_BYTES = 64 << 30
_AS_IT_IS = {"Accept-Encoding": "identity"}


class Downloader:
    """Fetches http(s) URLs; keeps connections. May be used from many threads."""

    def __init__(self, store: Store, cancel: Cancel, *, max_bytes: int = MAX_BYTES) -> None:
        self._store = store
        self._cancel = cancel
        self._max_bytes = max_bytes
        self._session: Any = None

    def _get_session(self) -> Any:  # noqa: ANN401 - requests is imported only when there is something to fetch
        if self._session is None:
            self._session = new_session(connections=16)
        return self._session

    def fetch(self, url: str, expected: Digest | None, on_bytes: Callable[[int], None] | None = None) -> Digest:
        """The blob behind a URL, from the store when its digest is known and it is there.

        Raises TransportError (temporary faults after some tries), IntegrityError when the bytes are not `expected`.
        """
        if expected is not None and self._store.verify_blob(expected):
            return expected
        for attempt in range(1, _TRIES + 1):
            began_s = clock.monotonic_s()
            try:
                return self._once(url, expected, on_bytes)
            except TransportError as err:
                if not err.temporary or attempt == _TRIES:
                    raise
                wait(self._cancel, err, attempt, 0.3 * 3**attempt, began_s)
        raise AssertionError("the loop returns or raises")

    def _once(self, url: str, expected: Digest | None, on_bytes: Callable[[int], None] | None) -> Digest:
        import requests
        import urllib3

        if not url.startswith(("http://", "https://")):
            raise TransportError(f"{url}: only http and https URLs can be fetched")
        try:
            with self._get_session().get(url, stream=True, headers=_AS_IT_IS) as reply:
                if reply.status_code != 200:
                    raise refused(f"{url}: the server", reply.status_code, reply.headers)
                # Servers that label a .tar.gz as compressed on its way mean the file all the same.
                chunks = reply.raw.stream(_CHUNK, decode_content=False)
                return self._receive(url, chunks, expected, on_bytes)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as err:
            from treebuilder.oci.connection import short

            raise TransportError(f"{url}: {short(err)}", temporary=True) from err

    def _receive(
        self, url: str, chunks: Iterable[bytes], expected: Digest | None, on_bytes: Callable[[int], None] | None
    ) -> Digest:
        seen = hashlib.sha256()
        size = 0
        with self._store.scratch() as work:
            part = work / "part"
            with part.open("wb") as out:
                for data in chunks:
                    self._cancel.check()
                    size += len(data)
                    if size > self._max_bytes:
                        raise TransportError(f"{url}: longer than {self._max_bytes} bytes")
                    seen.update(data)
                    out.write(data)
                    if on_bytes is not None:
                        on_bytes(len(data))
            digest = Digest(seen.hexdigest())
            if expected is not None and digest != expected:
                raise IntegrityError(f"{url} is {digest}, not the locked {expected}", hint="treebuild lock --update")
            self._store.add_blob_file(part, digest)
        return digest
