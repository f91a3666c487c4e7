"""A limit to what the description of a repository may grow to when it is unpacked: few bytes can promise many."""

from __future__ import annotations

import io
from collections.abc import Iterator

from treebuilder.annotations import IO
from treebuilder.archive.bounds import Tally
from treebuilder.archive.compress import decompressed
from treebuilder.archive.entry import Entry
from treebuilder.archive.reading import entries
from treebuilder.errors import UnsafeArchive

MAX_EXPANDED_BYTES = 1 << 30
MAX_ENTRIES = 1_000_000
_REFUSED = {"c": "a device node", "b": "a device node", "p": "a pipe"}


def _check(size_bytes: int, what: str, limit_bytes: int) -> None:
    if size_bytes > limit_bytes:
        raise UnsafeArchive(f"{what} unpacks to more than {limit_bytes >> 20} MiB, which no tree of specfiles needs")


def bounded(
    packed: IO[bytes], what: str, *, max_bytes: int = MAX_EXPANDED_BYTES, max_entries: int = MAX_ENTRIES
) -> Iterator[tuple[Entry, IO[bytes] | None]]:
    """The entries of a compressed archive of plain files. Raises UnsafeArchive, IntegrityError."""
    size = 0
    tally = Tally(decompressed(packed), lambda read: _check(read, what, max_bytes))  # with headers
    stream = io.BufferedReader(tally, 1 << 17)
    for number, (entry, content) in enumerate(entries(stream, what), 1):
        size += entry.size  # of a sparse file that is more than what was read
        if number > max_entries:
            raise UnsafeArchive(f"{what} holds more than {max_entries} entries, which no tree of specfiles needs")
        _check(size, what, max_bytes)
        if entry.kind in _REFUSED:
            raise UnsafeArchive(f"{what} holds {_REFUSED[entry.kind]}, {entry.path!r}")
        yield entry, content
