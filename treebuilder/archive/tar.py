"""Canonical tars: the same entries always give the same bytes.

USTAR headers, with a PAX record only where USTAR cannot say it (long or odd names, big numbers, xattrs); numeric
owners, no names; folders end with `/`; walk order; times in whole seconds. This is also luet's artifact form
(luet.md §5.2) and a valid OCI layer. Sparse files are written out whole, as Docker does.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable

from treebuilder.annotations import IO, Protocol
from treebuilder.archive.entry import Entry, scan
from treebuilder.errors import IntegrityError, TreebuildError

_BLOCK = 512
_CHUNK = 1 << 20
_TYPES = {
    "f": b"0", "d": b"5", "l": b"2", "h": b"1", "c": b"3", "b": b"4", "p": b"6",
}  # fmt: skip
_TRAILER = bytes(2 * _BLOCK)
_REST = bytes(247)  # of a header: names of owners, and what is not used


class Sink(Protocol):
    def write(self, data: bytes, /) -> object: ...


def header(entry: Entry) -> bytes:
    """The header blocks of one entry (kinds other than "w")."""
    plain = _plain_header(entry)
    return plain if plain is not None else _pax_header(entry)


def _plain_header(entry: Entry) -> bytes | None:
    """A bare USTAR header, forty times as fast as tarfile's; None when the entry does not fit into one."""
    name = entry.path + "/" if entry.kind == "d" else entry.path
    if (
        entry.xattrs or len(name) > 100 or len(entry.link) > 100 or not name.isascii() or not entry.link.isascii()
        or entry.size >= 1 << 33 or entry.uid >= 1 << 21 or entry.gid >= 1 << 21
        or not 0 <= entry.mtime < 1 << 33 or entry.kind in "cb"
    ):  # fmt: skip
        return None
    before = b"%s%07o\0%07o\0%07o\0%011o\0%011o\0" % (
        name.encode().ljust(100, b"\0"), entry.mode, entry.uid, entry.gid, entry.size, entry.mtime,
    )  # fmt: skip
    after = b"%s%sustar\x0000" % (_TYPES[entry.kind], entry.link.encode().ljust(100, b"\0"))
    # Half of this checksum is one more than the sum of the bytes, which in ASCII is far below where it would wrap.
    total = (zlib.adler32(b"%s        %s" % (before, after)) & 0xFFFF) - 1
    return b"%s%06o\0 %s%s" % (before, total, after, _REST)


def _pax_header(entry: Entry) -> bytes:
    import tarfile

    info = tarfile.TarInfo(entry.path)
    info.type = _TYPES[entry.kind]
    info.mode, info.uid, info.gid = entry.mode, entry.uid, entry.gid
    info.size, info.mtime, info.linkname = entry.size, entry.mtime, entry.link
    if entry.kind in "cb":
        info.devmajor, info.devminor = os.major(entry.rdev), os.minor(entry.rdev)
    # PAX values are text to tarfile; surrogateescape carries the bytes through unchanged.
    info.pax_headers = {f"SCHILY.xattr.{k}": v.decode("utf-8", "surrogateescape") for k, v in entry.xattrs}
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def write_entries(
    entries: Iterable[Entry], sink: Sink, opener: Callable[[Entry], IO[bytes]], *, whiteouts: bool = True
) -> None:
    """Writes entries and the end of the archive. `opener` gives the content of a file.

    Raises IntegrityError when a file changes while it is read.
    """
    for entry in entries:
        if entry.kind == "w":
            if whiteouts:
                sink.write(header(_whiteout(entry)))
            continue
        if whiteouts and entry.path.rpartition("/")[2].startswith(".wh."):
            raise TreebuildError(f"a layer cannot hold the name {entry.path!r}: `.wh.` marks deletions there")
        sink.write(header(entry))
        if entry.kind == "f" and entry.size:
            _copy(entry, sink, opener)
        elif entry.opaque and whiteouts:
            sink.write(header(_opaque(entry)))
    sink.write(_TRAILER)


def _whiteout(entry: Entry) -> Entry:
    folder, _, name = entry.path.rpartition("/")
    return Entry(f"{folder}/.wh.{name}" if folder else f".wh.{name}", "f", 0o600, 0, 0, 0, 0)


def _opaque(entry: Entry) -> Entry:
    return Entry(f"{entry.path}/.wh..wh..opq", "f", 0o600, 0, 0, 0, 0)


def _copy(entry: Entry, sink: Sink, opener: Callable[[Entry], IO[bytes]]) -> None:
    left = entry.size
    with opener(entry) as source:
        while left:
            data = source.read(min(_CHUNK, left))
            if not data:
                raise IntegrityError(f"{entry.path} became shorter while it was read")
            sink.write(data)
            left -= len(data)
    if entry.size % _BLOCK:
        sink.write(bytes(_BLOCK - entry.size % _BLOCK))


def write_folder(root: str, sink: Sink, *, seen: Callable[[Entry], object] | None = None) -> None:
    """The canonical tar of a folder in layer form. `seen` is told of every entry."""

    def opener(entry: Entry) -> IO[bytes]:
        return open(f"{root}/{entry.path}", "rb", buffering=0)

    entries = scan(root)
    if seen is not None:
        entries = (entry for entry in entries if seen(entry) is None)
    write_entries(entries, sink, opener)


def size_bytes(entries: Iterable[Entry]) -> int:
    """The length of the canonical tar in layer form that `write_entries` would write."""
    size = len(_TRAILER)
    for entry in entries:
        if entry.kind == "w":
            size += len(header(_whiteout(entry)))
            continue
        size += len(header(entry))
        if entry.kind == "f":
            size += -(-entry.size // _BLOCK) * _BLOCK
        elif entry.opaque:
            size += len(header(_opaque(entry)))
    return size
