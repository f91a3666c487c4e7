"""Compression as transport: streams only, fixed levels, so that equal content gives equal bytes.

zstd's bytes differ between one-shot and streaming and between zero and more threads (measured, style.md §3.6), so
always streaming, one level, `threads=2`; gzip without name and time. Readers sniff by content and trust no suffix.
"""

from __future__ import annotations

import io
import os
import stat
import zlib
from collections.abc import Callable

from treebuilder.annotations import IO, Any, Protocol, cast
from treebuilder.archive import foreign as others
from treebuilder.archive.ahead import Ahead
from treebuilder.archive.bounds import Bound, Tally
from treebuilder.archive.frames import Frames
from treebuilder.archive.tar import Sink
from treebuilder.errors import IntegrityError

ZSTD_LEVEL = 3
ZSTD_THREADS = 2
GZIP_LEVEL = 6
_BUFFER = 1 << 17  # what is read in larger pieces goes past it, from the decompressor to where it is wanted
SUFFIXES = {"none": "", "gzip": ".gz", "zstd": ".zst"}


class Compressor(Protocol):
    def write(self, data: bytes, /) -> object: ...
    def close(self) -> None: ...


class _Plain:
    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def write(self, data: bytes, /) -> object:
        return self._sink.write(data)

    def close(self) -> None:
        return


class _Stream:
    def __init__(
        self, sink: Sink, compress: Callable[[bytes], bytes], flush: Callable[[], bytes],
        ended: Callable[[], object] = lambda: None,
    ) -> None:  # fmt: skip
        self._sink, self._compress, self._flush, self._ended = sink, compress, flush, ended

    def write(self, data: bytes, /) -> object:
        out = self._compress(data)
        if out:
            self._sink.write(out)
        return len(data)

    def close(self) -> None:
        self._sink.write(self._flush())
        self._ended()


# Compressors between two streams: each has threads of its own, and starting them costs more than a small package.
_idle: list[Any] = []


def compressor(kind: str, sink: Sink) -> Compressor:
    """A writer that compresses into `sink`; `close` ends the stream and leaves the sink open."""
    if kind == "none":
        return _Plain(sink)
    if kind == "gzip":
        gz = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 31)
        return _Stream(sink, gz.compress, gz.flush)
    if kind == "zstd":
        made = _idle.pop() if _idle else _new_zstd()
        zst = made.compressobj()
        return _Stream(sink, zst.compress, zst.flush, lambda: _idle.append(made))
    raise ValueError(f"unknown compression {kind!r}")


def _new_zstd() -> Any:  # noqa: ANN401 - imported where it is needed
    import zstandard

    return zstandard.ZstdCompressor(level=ZSTD_LEVEL, threads=ZSTD_THREADS)


def prepare(kind: str) -> None:
    """Makes ahead of time what the next `compressor` of this kind needs."""
    if kind == "zstd" and not _idle:
        _idle.append(_new_zstd())


def sniff(head: bytes) -> str:
    """The compression of a stream that begins with `head` (at least 4 bytes)."""
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return "zstd"
    return "none"


class _GzipReader(io.RawIOBase):
    """Incremental gunzip of any number of members; damage is an IntegrityError."""

    def __init__(self, source: io.BufferedReader | Tally) -> None:
        self._source = source
        self._z = zlib.decompressobj(31)
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - a writable buffer has no name in typing here
        want = len(buffer)
        while not self._ready:
            data = self._z.unused_data if self._z.eof else self._z.unconsumed_tail
            if not data:
                data = self._source.read(1 << 16)
                if not data:
                    if not self._z.eof:
                        raise IntegrityError("the gzip stream ends too early")
                    return 0
            if self._z.eof:
                self._z = zlib.decompressobj(31)
            try:
                self._ready = self._z.decompress(data, max(want, 1 << 16))
            except zlib.error as err:
                raise IntegrityError(f"the gzip stream is damaged: {err}") from err
        take = self._ready[:want]
        self._ready = self._ready[len(take) :]
        buffer[: len(take)] = take
        return len(take)


class _Mapped(io.RawIOBase):
    """A zstd reader whose library errors become ours."""

    def __init__(self, reader: io.RawIOBase, frames: Frames, error: type[Exception]) -> None:
        self._reader, self._frames, self._error = reader, frames, error

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401
        try:
            size = self._reader.readinto(buffer) or 0
        except self._error as err:
            raise IntegrityError(f"the zstd stream is damaged: {err}") from err
        if not size and len(buffer) and not self._frames.are_whole():
            raise IntegrityError("the zstd stream ends too early")
        return size


def decompressed(
    source: IO[bytes], bound: Bound | None = None, what: str = "the archive", *, foreign: bool = False
) -> io.BufferedReader:
    """A reader of the plain bytes of `source`, whatever its compression is: gzip, zstd, and `foreign` bzip2 and xz.

    With a `bound`, what comes out of a compressed `source` must not be more; `what` names it then.
    Raises IntegrityError for damage, UnsafeArchive (reason "expands-too-far").
    """
    buffered = (
        source if isinstance(source, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, source), 1 << 20)
    )
    head = buffered.peek(others.HEAD_BYTES)
    kind = sniff(head)
    if kind == "none" and foreign:
        kind = others.sniff(head)
    if kind == "none":
        return buffered
    if bound is None:
        return io.BufferedReader(_ahead(_expanded(kind, buffered), buffered), _BUFFER)
    packed = Tally(buffered)
    tally = Tally(_expanded(kind, packed), lambda size: bound.check(size, packed.size_bytes, what))
    return io.BufferedReader(_ahead(tally, buffered), _BUFFER)


def _ahead(plain: io.RawIOBase, packed: io.BufferedReader) -> io.RawIOBase:
    """Only a file of its own is read by a thread: what lies in another stream is read on by whoever reads that."""
    try:
        is_file = stat.S_ISREG(os.fstat(packed.fileno()).st_mode)
    except OSError:
        is_file = False
    return Ahead(plain) if is_file else plain


def _expanded(kind: str, packed: io.BufferedReader | Tally) -> io.RawIOBase:
    if kind == "gzip":
        return _GzipReader(packed)
    if kind != "zstd":
        return others.Reader(kind, packed)
    import zstandard

    made = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    frames = Frames(cast("IO[bytes]", packed))
    reader = made.stream_reader(cast("IO[bytes]", frames), read_across_frames=True)
    return _Mapped(cast("io.RawIOBase", reader), frames, zstandard.ZstdError)
