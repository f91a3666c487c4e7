"""How far a stranger's archive may expand: a few bytes can promise many, and unpack to a full disk.

The limit is one of proportion, for an honest archive of any size must pass: beyond the first 256 MiB, a hundred times
what was read of it in compressed form. An archive of ours that holds more (holes of a disk image are zeros to a
compressor) says so where it is described, and what is promised there is allowed.
"""

from __future__ import annotations

import io
from collections.abc import Callable

from treebuilder.annotations import TYPE_CHECKING, Any
from treebuilder.errors import UnsafeArchive
from treebuilder.records import record, replace

if TYPE_CHECKING:
    from treebuilder.archive.tar import Sink

TIMES = 100
FREE_BYTES = 256 << 20
_HINT = "if it should: --max-expansion TIMES, or general: {max_expansion: TIMES} in the configuration"


@record
class Bound:
    """What an archive may unpack to: `free_bytes`, and `times` what was read of it; or what was promised."""

    times: int = TIMES
    free_bytes: int = FREE_BYTES
    promised_bytes: int = 0

    def most(self, packed_bytes: int) -> int:
        """How many bytes `packed_bytes` may become."""
        return max(self.free_bytes + self.times * packed_bytes, self.promised_bytes)

    def promised(self, size_bytes: int) -> Bound:
        """The bound of an archive whose description says how long it is."""
        return replace(self, promised_bytes=size_bytes)

    def check(self, size_bytes: int, packed_bytes: int, what: str) -> None:
        """Raises UnsafeArchive (reason "expands-too-far")."""
        if size_bytes > self.most(packed_bytes):
            raise UnsafeArchive(
                f"{what} unpacks to more than {self.times} times its size: {size_bytes >> 20} MiB came out of "
                f"{max(packed_bytes >> 10, 1)} KiB so far", reason="expands-too-far", hint=_HINT,
            )  # fmt: skip


USUAL_BOUND = Bound()


class Counted:
    """A sink that counts what goes on to another, in `size_bytes`."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.size_bytes = 0

    def write(self, data: bytes, /) -> object:
        self.size_bytes += len(data)
        return self._sink.write(data)


class Tally(io.RawIOBase):
    """Counts what is read of a stream, in `size_bytes`; `check` is told of it, and may raise."""

    def __init__(
        self, source: io.RawIOBase | io.BufferedReader, check: Callable[[int], None] | None = None
    ) -> None:  # fmt: skip
        self._source, self._check = source, check
        self.size_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - a writable buffer has no name in typing here
        size = self._source.readinto(buffer) or 0
        self.size_bytes += size
        if self._check is not None:
            self._check(self.size_bytes)
        return size
