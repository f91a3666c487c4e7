"""A folder over HTTP, to be read only: what a repository needs of a web server, with ranges.

Nothing outside of the folder is served, whatever its links say, and no kind of file but plain ones.
"""

from __future__ import annotations

import html
import os
import stat
from email.utils import formatdate
from pathlib import Path
from urllib.parse import quote, unquote

from treebuilder.errors import ConfigError
from treebuilder.serve.exchange import Exchange

_TYPES = {".yaml": "text/yaml; charset=utf-8", ".gz": "application/gzip", ".zst": "application/zstd"}
_TEXT = "text/plain; charset=utf-8"


class Folder:
    """Implements `server.Site`. Raises ConfigError where there is no folder."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ConfigError(f"there is no folder {folder}")
        self._top = os.path.realpath(folder)

    def answer(self, exchange: Exchange) -> None:
        if exchange.method not in ("GET", "HEAD"):
            exchange.bytes(405, b"only to be read\n", _TEXT, allow="GET, HEAD")
            return
        fd = self._opened(exchange.path)
        mode = os.fstat(fd).st_mode if fd is not None else 0
        if fd is not None and stat.S_ISREG(mode):
            with os.fdopen(fd, "rb", buffering=0) as file:
                kind = _TYPES.get(os.path.splitext(exchange.path)[1], "application/octet-stream")
                exchange.send(file, kind, last_modified=formatdate(os.fstat(fd).st_mtime, usegmt=True))
            return
        try:
            if fd is None or not stat.S_ISDIR(mode):
                exchange.bytes(404, b"not found\n", _TEXT)
            elif exchange.path.endswith("/"):
                exchange.bytes(200, _listing(fd), "text/html; charset=utf-8")
            else:  # links in a listing are relative to its path
                path = unquote(exchange.path, errors="surrogateescape")
                exchange.empty(301, location=quote(path, errors="surrogateescape") + "/")
        finally:
            if fd is not None:
                os.close(fd)

    def _opened(self, quoted: str) -> int | None:
        """The file that the path names, if it lies in the folder."""
        path = unquote(quoted, errors="surrogateescape")
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if "\0" in path or ".." in parts:
            return None
        try:
            fd = os.open(os.path.join(self._top, *parts), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        real = os.readlink(f"/proc/self/fd/{fd}")
        if real != self._top and not real.startswith(self._top.rstrip("/") + "/"):
            os.close(fd)
            return None
        return fd


def _listing(fd: int) -> bytes:
    """The names in a folder."""
    try:
        with os.scandir(fd) as found:
            names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in found)
    except OSError:
        names = []
    shown = (f'<a href="./{quote(os.fsencode(name))}">{html.escape(name)}</a>\n' for name in names)
    return f"<!doctype html>\n<pre>\n{''.join(shown)}</pre>\n".encode("utf-8", "replace")
