"""A folder over HTTP, to be read only: what a repository needs of a web server, with ranges.

Nothing outside of the folder is served, whatever its links say, and no kind of file but plain ones.
"""

from __future__ import annotations

import html
import os
import socket
import stat
from collections.abc import Callable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO
from urllib.parse import quote, unquote

from treebuilder.errors import ConfigError

_CHUNK = 1 << 20
_IDLE_S = 60.0
_TYPES = {".yaml": "text/yaml; charset=utf-8", ".gz": "application/gzip", ".zst": "application/zstd"}


class FolderServer:
    """Listens from the beginning; `run` answers until `stop` is called. Raises ConfigError (no address, no folder)."""

    def __init__(self, folder: Path, host: str, port: int, log: Callable[[str], None]) -> None:
        if not folder.is_dir():
            raise ConfigError(f"there is no folder {folder}")
        top = os.path.realpath(folder)

        class Handler(_Handler):
            def __init__(self, request: socket.socket, client: tuple[str, int], server: ThreadingHTTPServer) -> None:
                self.top, self.say = top, log
                super().__init__(request, client, server)

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

            def handle_error(self, request: object, client_address: object) -> None:
                return  # a client that went away

        try:
            self._server = Server((host, port), Handler)
        except OSError as err:
            raise ConfigError(f"cannot listen on {host} port {port}: {err.strerror or err}") from err

    @property
    def address(self) -> str:
        """HOST:PORT."""
        host, port = str(self._server.server_address[0]), self._server.server_address[1]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def run(self) -> None:
        self._server.serve_forever(poll_interval=0.1)

    def stop(self) -> None:
        """Ends `run`, of another thread; answers under way end with the process."""
        self._server.shutdown()

    def close(self) -> None:
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    top: str
    say: Callable[[str], None]
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "treebuild", ""
    timeout = _IDLE_S

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, format: str, *args: object) -> None:
        self.say(f"{self.address_string()} {(format % args).encode('ascii', 'backslashreplace').decode()}")

    def _answer(self, *, body: bool) -> None:
        fd = self._opened()
        mode = os.fstat(fd).st_mode if fd is not None else 0
        if fd is None or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            if fd is not None:
                os.close(fd)
            self._text(404, "not found\n", body=body)
            return
        if stat.S_ISDIR(mode):
            self._listing(fd, body=body)
            return
        with os.fdopen(fd, "rb", buffering=0) as file:
            self._file(file, os.fstat(fd), body=body)

    def _opened(self) -> int | None:
        """The file that the path names, if it lies in the folder."""
        path = unquote(self.path.partition("?")[0].partition("#")[0], errors="surrogateescape")
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if "\0" in path or ".." in parts:
            return None
        try:
            fd = os.open(os.path.join(self.top, *parts), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        real = os.readlink(f"/proc/self/fd/{fd}")
        if real != self.top and not real.startswith(self.top.rstrip("/") + "/"):
            os.close(fd)
            return None
        return fd

    def _listing(self, fd: int, *, body: bool) -> None:
        """The names in a folder; links in it are relative to its path, which ends with a slash."""
        try:
            with os.scandir(fd) as found:
                names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in found)
        except OSError:
            names = []
        finally:
            os.close(fd)
        path = self.path.partition("?")[0]
        if not path.endswith("/"):
            self.send_response(301)
            self.send_header("Location", quote(unquote(path, errors="surrogateescape"), errors="surrogateescape") + "/")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        shown = (f'<a href="./{quote(os.fsencode(name))}">{html.escape(name)}</a>\n' for name in names)
        self._text(200, f"<!doctype html>\n<pre>\n{''.join(shown)}</pre>\n", body=body, kind="text/html")

    def _file(self, file: IO[bytes], info: os.stat_result, *, body: bool) -> None:
        start, end = 0, info.st_size
        asked = self.headers.get("Range")
        if asked is not None and (found := _range(asked, info.st_size)) is not None:
            start, end = found
            if start >= end:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{info.st_size}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{info.st_size}")
        else:
            self.send_response(200)
        suffix = os.path.splitext(self.path)[1]
        self.send_header("Content-Type", _TYPES.get(suffix, "application/octet-stream"))
        self.send_header("Content-Length", str(end - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Last-Modified", formatdate(info.st_mtime, usegmt=True))
        self.end_headers()
        file.seek(start)
        left = end - start if body else 0
        while left:
            data = file.read(min(_CHUNK, left))
            if not data:  # it became shorter: the client must not take the rest of something else for it
                self.close_connection = True
                return
            self.wfile.write(data)
            left -= len(data)

    def _text(self, status: int, text: str, *, body: bool, kind: str = "text/plain") -> None:
        data = text.encode("utf-8", "replace")
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)


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
