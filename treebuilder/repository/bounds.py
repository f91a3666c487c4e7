"""A limit to what the description of a repository may grow to when it is unpacked: few bytes can promise many."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO, Any, NoReturn, cast

from treebuilder.archive.compress import decompressed
from treebuilder.archive.entry import Entry
from treebuilder.archive.extract import entries
from treebuilder.errors import UnsafeArchive

MAX_EXPANDED_BYTES = 1 << 30
MAX_ENTRIES = 1_000_000
_REFUSED = {"c": "a device node", "b": "a device node", "p": "a pipe"}


class _Counted(io.RawIOBase):
    """A stream that is refused where it is longer than `limit` bytes: headers count too."""

    def __init__(self, source: IO[bytes], what: str, limit: int) -> None:
        self._source, self._what, self._limit, self._left = source, what, limit, limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - a writable buffer has no name in typing here
        data = self._source.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            _refuse(self._what, self._limit)
        buffer[: len(data)] = data
        return len(data)


def _refuse(what: str, limit_bytes: int) -> NoReturn:
    raise UnsafeArchive(f"{what} unpacks to more than {limit_bytes >> 20} MiB, which no tree of specfiles needs")


def bounded(
    packed: IO[bytes], what: str, *, max_bytes: int = MAX_EXPANDED_BYTES, max_entries: int = MAX_ENTRIES
) -> Iterator[tuple[Entry, IO[bytes] | None]]:
    """The entries of a compressed archive of plain files. Raises UnsafeArchive, IntegrityError."""
    size = 0
    stream = cast("IO[bytes]", _Counted(decompressed(packed), what, max_bytes))
    for number, (entry, content) in enumerate(entries(stream, what), 1):
        size += entry.size  # of a sparse file that is more than what was read
        if number > max_entries:
            raise UnsafeArchive(f"{what} holds more than {max_entries} entries, which no tree of specfiles needs")
        if size > max_bytes:
            _refuse(what, max_bytes)
        if entry.kind in _REFUSED:
            raise UnsafeArchive(f"{what} holds {_REFUSED[entry.kind]}, {entry.path!r}")
        yield entry, content
