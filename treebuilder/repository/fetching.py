"""Files of a repository over http(s) into the store: checked while they come, resumed where they broke off.

A file whose digest is known is kept as far as it came, also when we are killed: the next run asks for the rest.
"""

from __future__ import annotations

import base64
import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from treebuilder.annotations import Any
from treebuilder.errors import IntegrityError, NoSpace, TransportError
from treebuilder.model.digest import Digest
from treebuilder.oci import connection
from treebuilder.oci.arriving import UNSEEN, Arriving
from treebuilder.oci.refusal import refused, wait
from treebuilder.oci.session import new_session
from treebuilder.oci.store import Store
from treebuilder.system import clock
from treebuilder.system.files import disk_errors
from treebuilder.system.process import Cancel

_CHUNK = 1 << 18
_TRIES = 4
_CONNECT_S, _SILENT_S = 15.0, 60.0  # to connect; between two pieces
_KEPT_S = 7 * 86400  # what nobody came back for
_UNSAID_BYTES = 4 << 30  # of an answer that does not say how long it is
_LOOK_BYTES = 32 << 20  # after so many it is looked how many are left
_SPARE_BYTES = 16 << 20  # of the disk, for everybody else


def authorization(auth: Mapping[str, str]) -> dict[str, str]:
    """The header of a repository's `auth` (luet.md §6.4): a token, basic as it is sent, or a name and a password."""
    if auth.get("token"):
        return {"Authorization": f"token {auth['token']}"}
    if auth.get("basic"):
        return {"Authorization": f"Basic {auth['basic']}"}
    if auth.get("username"):
        pair = f"{auth['username']}:{auth.get('password', '')}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}


class _TooLong(TransportError):
    """More than a file of its kind may have."""


class Fetcher:
    """Fetches http(s) URLs with the same headers; keeps connections. May be used from many threads.

    `brief`: nobody has to have what is fetched. It is asked for once, and not waited for long.
    """

    def __init__(
        self, store: Store, cancel: Cancel, headers: Mapping[str, str], *, silent_s: float = _SILENT_S,
        brief: bool = False,
    ) -> None:  # fmt: skip
        self._store = store
        self._cancel = cancel
        self._headers = {"Accept-Encoding": "identity", **headers}
        self._silent_s = connection.BRIEF_S if brief else silent_s
        self._connect_s = min(_CONNECT_S, self._silent_s)
        self._most_tries = 1 if brief else _TRIES
        self._brief = brief
        self._session: Any = None

    def small(self, url: str, max_bytes: int) -> bytes:
        """A document, always asked for. Raises TransportError."""
        with self._store.scratch() as work:
            self._tries(url, work / "part", max_bytes, within_s=connection.BRIEF_S if self._brief else None)
            return (work / "part").read_bytes()

    def fetch(self, url: str, expected: Digest, max_bytes: int, progress: Arriving = UNSEEN) -> None:
        """Brings a file into the store; `progress` sees it come.

        Raises TransportError, IntegrityError when it is something else, NoSpace.
        """
        parts = self._store.folder / "partial"
        parts.mkdir(exist_ok=True)
        part = parts / expected.hex
        with self._store.single_flight(f"fetch-{expected.hex}", self._cancel):
            if self._store.has_blob(expected):
                return
            forget_old(parts)
            resumed = part.exists()
            progress.kept(_size(part))
            try:
                self._tries(url, part, max_bytes, progress, as_sent=True)
            except (NoSpace, _TooLong):
                part.unlink(missing_ok=True)  # its room is wanted, and it may not be what it should be
                raise
            found = self._digest(url, part, expected, max_bytes)
            if found != expected.hex and resumed:
                progress.kept(-_size(part))
                part.unlink()  # what was there was not its beginning
                self._tries(url, part, max_bytes, progress, as_sent=True)
                found = self._digest(url, part, expected, max_bytes)
            if found != expected.hex:
                part.unlink()
                raise IntegrityError(f"{url} is sha256:{found}, not {expected}")
            self._store.add_blob_file(part, expected)

    def _digest(self, url: str, part: Path, expected: Digest, max_bytes: int) -> str:
        """Of what came; of what it was before where a server compressed it on its way, and `part` is that then."""
        found = _digest(part)
        if found == expected.hex or not _is_gzip(part):
            return found
        plain = part.with_name(f"{part.name}.plain")
        try:
            with disk_errors(f"unpacking {url}", self._store.folder):
                self._receive(url, _unpacked(part), plain, 0, min(max_bytes, _UNSAID_BYTES), UNSEEN)
            if _digest(plain) == expected.hex:
                plain.replace(part)
                found = expected.hex
        except (zlib.error, _TooLong):
            pass  # something else, and that is said
        finally:
            plain.unlink(missing_ok=True)
        return found

    def _tries(
        self, url: str, part: Path, max_bytes: int, progress: Arriving = UNSEEN, *, within_s: float | None = None,
        as_sent: bool = False,
    ) -> None:  # fmt: skip
        if not url.startswith(("http://", "https://")):
            raise TransportError(f"{url}: only http and https URLs can be fetched")
        attempt = 1
        while True:
            before, began_s = _size(part), clock.monotonic_s()
            try:
                with disk_errors(f"fetching {url}", self._store.folder):
                    self._once(url, part, max_bytes, progress, within_s, as_sent=as_sent)
                return
            except TransportError as err:
                # a try that brought something is none in vain
                attempt = 1 if _size(part) > before else attempt + 1
                if not err.temporary or attempt > self._most_tries:
                    raise
                wait(self._cancel, err, attempt - 1, 0.1 * 3 ** (attempt - 1), began_s)

    def _once(
        self, url: str, part: Path, max_bytes: int, progress: Arriving, within_s: float | None, *, as_sent: bool
    ) -> None:
        """`as_sent`: servers say of a `.gz` that it is compressed on its way, and it is not; its digest tells."""
        import requests
        import urllib3

        have = _size(part)
        headers = {**self._headers, "Range": f"bytes={have}-"} if have else self._headers
        try:
            with self._connected().get(
                url, stream=True, timeout=(self._connect_s, self._silent_s), headers=headers
            ) as reply:
                if have and reply.status_code == 416:  # it is whole, or something else: its digest tells
                    return
                if reply.status_code not in (200, 206):
                    raise refused(f"{url}: the server", reply.status_code, reply.headers)
                if have and reply.status_code == 200:  # from its beginning
                    progress.kept(-have)
                    have = 0
                said = reply.headers.get("Content-Length", "")
                if said.isascii() and said.isdigit() and len(said) < 19:
                    if have + int(said) > max_bytes:
                        raise _TooLong(f"{url}: longer than {max_bytes} bytes")
                    progress.expect(have + int(said))
                    if int(said) > _LOOK_BYTES:
                        self._check_room(url, int(said))
                else:
                    max_bytes = min(max_bytes, _UNSAID_BYTES)
                if as_sent:
                    data = reply.raw.stream(_CHUNK, decode_content=False)
                else:
                    data = reply.iter_content(_CHUNK) if within_s is None else connection.pieces(reply, within_s)
                self._receive(url, data, part, have, max_bytes, progress)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as err:
            raise TransportError(f"{url}: {_said(err)}", temporary=not isinstance(err, ValueError)) from err

    def _receive(
        self, url: str, pieces: Iterable[bytes], part: Path, have: int, max_bytes: int, progress: Arriving
    ) -> None:  # fmt: skip
        """Appends what comes to the `have` bytes that are there."""
        with part.open("r+b" if have else "wb") as out:
            out.seek(have)
            size = have
            for data in pieces:
                self._cancel.check()
                if size // _LOOK_BYTES != (size + len(data)) // _LOOK_BYTES:
                    self._check_room(url, 0)
                size += len(data)
                if size > max_bytes:
                    raise _TooLong(f"{url}: longer than {max_bytes} bytes")
                out.write(data)
                progress.add(len(data))

    def _check_room(self, url: str, size: int) -> None:
        """Raises NoSpace where a file of so many bytes more would leave nothing for others."""
        found = os.statvfs(self._store.folder)
        free = found.f_bavail * found.f_frsize
        if free - size < _SPARE_BYTES:
            raise NoSpace(
                f"fetching {url}: no space left on the disk of {self._store.folder}: {max(size, 1)} bytes more, "
                f"and {free} free", hint="make room, or choose another disk with --cache-dir",
            )  # fmt: skip

    def _connected(self) -> Any:  # noqa: ANN401 - requests is imported only when there is something to fetch
        if self._session is None:
            self._session = new_session(connections=16)
        return self._session


def _said(err: Exception) -> str:
    """What went wrong, without the layers of the libraries around it."""
    text = str(err)
    if "Read timed out" in text:
        return "the server said nothing for too long"
    if "IncompleteRead" in text or "Connection broken" in text:
        return "the connection broke off"
    return connection.short(err)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as source:
        return source.read(2) == b"\x1f\x8b"


def _unpacked(path: Path) -> Iterator[bytes]:
    """Raises zlib.error."""
    packer = zlib.decompressobj(wbits=31)
    with path.open("rb") as source:
        while not packer.eof and (data := packer.unconsumed_tail or source.read(_CHUNK)):
            yield packer.decompress(data, _CHUNK)
    yield packer.flush()


def _digest(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def forget_old(folder: Path) -> None:
    """Deletes parts of files that nobody came back for in a week."""
    for path in folder.iterdir():
        try:
            if path.stat().st_mtime < clock.now_epoch_s() - _KEPT_S:
                path.unlink()
        except OSError:
            continue  # somebody else's at this moment
