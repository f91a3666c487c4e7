"""One HTTP request and its reply, with the bounds that strangers need."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs

from treebuilder.annotations import BinaryIO
from treebuilder.system import clock

_CHUNK = 1 << 18
_LINE = 1 << 12
_HEARD_S = 10.0
_HEARD_BYTES = 64 << 20
Header = str | tuple[str, ...]  # several are several lines
_UNFIT = re.compile(r"[^\x20-\x7e]")


class BodyError(Exception):
    """The body ended too early or was malformed: the connection cannot be used further."""


class RefusedError(Exception):
    """A reply that says no. `code` is one of the specification's."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, dict(headers or {})


class UnfitHeaderError(Exception):
    """What would stand in a header is none, or would be more than one: nothing was sent."""


class Exchange:
    """A request as the routes see it. The reply is sent by one of `empty`, `json`, `bytes` and `file`."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self._handler = handler
        self.method = handler.command
        target, _, query = handler.path.partition("#")[0].partition("?")
        if not target.startswith("/"):  # a proxy's form: http://host/path
            target = "/" + target.partition("://")[2].partition("/")[2]
        self.path = target
        self.query = parse_qs(query, keep_blank_values=True)
        self.headers = handler.headers
        self.replied = False
        self._read = False
        self._whole = False  # whether the body was read to its end

    def asked(self, name: str) -> str:
        """The first value of a query's parameter, "" for none."""
        return self.query.get(name, [""])[0]

    # the request ------------------------------------------------------------------------------------------------
    @property
    def length(self) -> int | None:
        """What Content-Length says; None when the body comes in chunks. Raises RefusedError."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return None
        said = set(self.headers.get_all("Content-Length") or ("0",))
        text = said.pop()
        if said or not (text.isascii() and text.isdigit() and len(text) < 19):
            raise RefusedError(400, "SIZE_INVALID", "Content-Length is no number")
        return int(text)

    @property
    def _has_body(self) -> bool:
        """Whether bytes follow, or nobody can tell."""
        try:
            return self.length is None or self.length > 0
        except RefusedError:
            return True

    def parts(self) -> Iterator[bytes]:
        """The body. Raises BodyError."""
        self._read = True
        length = self.length
        if length is None:
            yield from self._chunks()
            self._whole = True
            return
        while length:
            data = self._handler.rfile.read(min(_CHUNK, length))
            if not data:
                raise BodyError("the body ended too early")
            length -= len(data)
            yield data
        self._whole = True

    def _chunks(self) -> Iterator[bytes]:
        source = self._handler.rfile
        while True:
            line = source.readline(_LINE).partition(b";")[0].strip()
            if not line or len(line) > 15 or any(c not in b"0123456789abcdefABCDEF" for c in line):
                raise BodyError("a chunk without a length")
            left = int(line, 16)
            if left == 0:
                while source.readline(_LINE) not in (b"\r\n", b"\n", b""):
                    pass
                return
            while left:
                data = source.read(min(_CHUNK, left))
                if not data:
                    raise BodyError("the body ended too early")
                left -= len(data)
                yield data
            if source.readline(_LINE) not in (b"\r\n", b"\n"):
                raise BodyError("a chunk without an end")

    def body(self, limit: int) -> bytes:
        """The whole body. Raises RefusedError (413), BodyError."""
        found = bytearray()
        for part in self.parts():
            found += part
            if len(found) > limit:
                self.forget_body()
                raise RefusedError(413, "SIZE_INVALID", f"more than {limit} bytes")
        return bytes(found)

    def forget_body(self) -> None:
        """The rest of the body is not read, so the connection ends with the reply."""
        self._handler.close_connection = True

    def hear_out(self) -> None:
        """Reads on, for a while, what came too late for the reply: many who send see it only when they are through, and
        a connection that is closed before is reset under it (RFC 9112 §9.6).
        """
        if self._whole or not self._has_body or not self.replied:
            return
        self._handler.wfile.flush()
        connection, until_s, left = self._handler.connection, clock.monotonic_s() + _HEARD_S, _HEARD_BYTES
        with suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
            while left > 0 and (wait_s := until_s - clock.monotonic_s()) > 0:
                connection.settimeout(wait_s)
                data = connection.recv(_CHUNK)
                if not data:
                    return
                left -= len(data)

    # the reply --------------------------------------------------------------------------------------------------
    def empty(self, status: int, **headers: Header) -> None:
        self._head(status, {**_named(headers), "Content-Length": "0"})

    def json(self, status: int, value: object, media: str = "application/json", **headers: Header) -> None:
        self.bytes(status, json.dumps(value).encode(), media, **headers)

    def bytes(self, status: int, data: bytes, media: str, **headers: Header) -> None:
        self._head(status, {**_named(headers), "Content-Type": media, "Content-Length": str(len(data))})
        if self.method != "HEAD":
            self._handler.wfile.write(data)

    def refuse(self, error: RefusedError) -> None:
        value = {"errors": [{"code": error.code, "message": error.message, "detail": None}]}
        data = json.dumps(value).encode()
        self._head(
            error.status, {**error.headers, "Content-Type": "application/json", "Content-Length": str(len(data))}
        )
        if self.method != "HEAD":
            self._handler.wfile.write(data)

    def file(self, path: Path, media: str, **headers: str) -> None:
        """A file, or the range of it that is asked for."""
        with path.open("rb", buffering=0) as source:
            self.send(source, media, **headers)

    def send(self, source: BinaryIO, media: str, **headers: str) -> None:
        """An open file, or the range of it that is asked for."""
        size = os.fstat(source.fileno()).st_size
        part = _range(self.headers.get("Range", ""), size)
        start, end = part or (0, size)
        if part is not None and start >= end:
            raise RefusedError(416, "RANGE_INVALID", f"there are {size} bytes", {"Content-Range": f"bytes */{size}"})
        head = {**_named(headers), "Content-Type": media, "Accept-Ranges": "bytes", "Content-Length": str(end - start)}
        if part is not None:
            head["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        self._head(206 if part is not None else 200, head)
        if self.method == "HEAD":
            return
        source.seek(start)
        while start < end:
            data = source.read(min(_CHUNK, end - start))
            if not data:  # it became shorter: the client must not take the rest of something else for it
                self._handler.close_connection = True
                return
            self._handler.wfile.write(data)
            start += len(data)

    def _head(self, status: int, headers: Mapping[str, Header]) -> None:
        given = {name: (value,) if isinstance(value, str) else value for name, value in headers.items()}
        lines = [(name, value) for name, values in given.items() for value in values]
        for name, value in lines:
            if _UNFIT.search(name + value):
                raise UnfitHeaderError(f"the reply's header {name} would be {value!r:.200}")
        self.replied = True
        if not self._read and self._has_body:
            self.forget_body()
        self._handler.send_response(status)
        for name, value in lines:
            self._handler.send_header(name, value)
        if self._handler.close_connection:
            self._handler.send_header("Connection", "close")
        self._handler.end_headers()


def _range(text: str, size: int) -> tuple[int, int] | None:
    """First byte and the one behind the last; equal where there is none. None: send everything (RFC 9110 §14.2)."""
    unit, _, spec = text.partition("=")
    first, dash, last = spec.strip().partition("-")
    if unit.strip().lower() != "bytes" or not dash or "," in spec:
        return None
    if any(part and not (part.isascii() and part.isdigit() and len(part) < 19) for part in (first, last)):
        return None
    if not first:
        return (max(0, size - int(last)), size) if last else None
    if last and int(last) < int(first):
        return None
    return int(first), min(size, int(last) + 1) if last else size


def _named(headers: Mapping[str, Header]) -> dict[str, Header]:
    """Python's names as HTTP's: `content_range` is Content-Range."""
    return {
        "-".join(part if part.isupper() else part.capitalize() for part in name.split("_")): value
        for name, value in headers.items()
    }
