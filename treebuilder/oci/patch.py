"""What leads from one archive's tar to another's: segments of the new one, each compressed with a part of the old one.

A segment is a zstd frame whose prefix is a window of the old tar (`zstd --patch-from`), so what did not change costs a
few bytes, wherever it lies within the window. Whoever applies a patch holds one window and one segment at a time, at
any size of archive. Nothing in a patch is believed: lengths are bounded, and the result counts by its digest alone.

Making one needs `backports.zstd` (Python 3.14: `compression.zstd`), for `zstandard` knows no prefixes; applying needs
only `zstandard`, which takes a prefix for a dictionary without a name. Source: RFC 8878; docs/adr/0018.
"""

from __future__ import annotations

import hashlib
import importlib
import mmap
import os
import struct
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterator
from pathlib import Path

from treebuilder.annotations import IO, Any
from treebuilder.archive.tar import Sink
from treebuilder.errors import ConfigError, IntegrityError
from treebuilder.model.digest import Digest
from treebuilder.records import record

SEGMENT_BYTES = 16 << 20
WINDOW_BYTES = 64 << 20
_MARGIN = 8 << 20  # around what is known to match
_MAGIC = b"treebuild-delta1"
_HEAD = struct.Struct(">16s32s32sQ")
_SEGMENT = struct.Struct(">QIII")
_BLOCK = 512  # of tars: whatever lies in one begins at a multiple of it
_SAMPLED = 32  # of so many blocks one is looked for in the old tar
_LEVEL = 9
_WINDOW_LOG = 27


@record
class _Part:
    """A segment: the window of the old tar that it is made with, its size, and that of its frame, in bytes."""

    at: int
    length: int
    size: int
    packed: int


# making ---------------------------------------------------------------------------------------------------------------
def make_patch(old: Path, new: Path, before: Digest, after: Digest, out: Sink) -> None:
    """Writes what leads from the tar `old` to `new`, whose digests are `before` and `after`.

    Equal input and library give equal bytes. Raises ConfigError (reason "no-zstd") without a library that can.
    """
    size = new.stat().st_size
    out.write(_HEAD.pack(_MAGIC, bytes.fromhex(before.hex), bytes.fromhex(after.hex), size))
    with old.open("rb") as one, new.open("rb") as two, _mapped(one) as source, _mapped(two) as target:
        places = _places(source)
        expected = 0
        for start in range(0, size, SEGMENT_BYTES):
            end = min(start + SEGMENT_BYTES, size)
            found = sorted(places[mark] for _, mark in _marks(target, start, end) if mark in places)
            at, length = _window(found, expected, len(source))
            frame = _packed(source[at : at + length], target[start:end])
            out.write(_SEGMENT.pack(at, length, end - start, len(frame)))
            out.write(frame)
            expected = found[-1] if found else expected + SEGMENT_BYTES


def _mapped(file: IO[bytes]) -> mmap.mmap:
    """A tar, which is never empty: two blocks of zeros end it."""
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _marks(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Some blocks, chosen by what is in them: the same ones in both tars, wherever they lie."""
    for at in range(start, end - _BLOCK + 1, _BLOCK):
        mark = zlib.crc32(data[at : at + _BLOCK])
        if mark % _SAMPLED == 0:
            yield at, mark


def _places(data: mmap.mmap) -> dict[int, int]:
    """Where the chosen blocks lie that are there once."""
    found: dict[int, int] = {}
    twice: set[int] = set()
    for at, mark in _marks(data, 0, len(data)):
        if found.setdefault(mark, at) != at:
            twice.add(mark)
    return {mark: at for mark, at in found.items() if mark not in twice}


def _window(found: list[int], expected: int, size: int) -> tuple[int, int]:
    """The part of the old tar that holds most of the places `found`, else what lies around `expected`."""
    widest = WINDOW_BYTES - 2 * _MARGIN
    first, last = expected, expected + SEGMENT_BYTES
    best = 0
    for number, low in enumerate(found):
        behind = bisect_left(found, low + widest)
        if behind - number > best:
            best, first, last = behind - number, low, found[behind - 1] + _BLOCK
    at = max(0, min(first - _MARGIN, size - 2 * SEGMENT_BYTES))
    end = min(size, max(last + _MARGIN, at + 2 * SEGMENT_BYTES), at + WINDOW_BYTES)
    return at, end - at


def _packed(prefix: bytes, data: bytes) -> bytes:
    zstd = _library()
    known = zstd.CompressionParameter
    options = {
        known.compression_level: _LEVEL, known.window_log: _WINDOW_LOG, known.enable_long_distance_matching: 1,
    }  # fmt: skip
    given = zstd.ZstdDict(prefix, is_raw=True).as_prefix if len(prefix) >= 8 else None
    packer = zstd.ZstdCompressor(options=options, zstd_dict=given)
    packer.set_pledged_input_size(len(data))
    made: bytes = packer.compress(data, mode=zstd.ZstdCompressor.FLUSH_FRAME)
    return made


def _library() -> Any:  # noqa: ANN401 - one of two modules with the same names
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ConfigError(
        "patches cannot be made here: neither compression.zstd nor backports.zstd is there", reason="no-zstd",
        hint="pip install backports.zstd",
    )  # fmt: skip


# applying -------------------------------------------------------------------------------------------------------------
def apply_patch(
    patch: IO[bytes], old: IO[bytes], before: Digest, after: Digest, size_limit: int, write: Callable[[bytes], object]
) -> None:
    """Writes the new tar, which is at most `size_limit` bytes long, piece by piece.

    Raises IntegrityError for a patch that is none, or none between these, and when what was written is not `after`.
    """
    magic, said_before, said_after, size = _HEAD.unpack(_exactly(patch, _HEAD.size))
    if magic != _MAGIC or said_before.hex() != before.hex or said_after.hex() != after.hex:
        raise IntegrityError("the patch is for other archives")
    if size > size_limit:
        raise IntegrityError(f"the patch makes an archive of more than {size_limit} bytes")
    seen = hashlib.sha256()
    done = 0
    while done < size:
        part = _Part(*_SEGMENT.unpack(_exactly(patch, _SEGMENT.size)))
        if not 0 < part.size <= min(SEGMENT_BYTES, size - done):
            raise IntegrityError("a segment of the patch is too large")
        if part.length > WINDOW_BYTES or part.packed > part.size + (part.size >> 6) + 1024:
            raise IntegrityError("a segment of the patch asks for too much")
        frame = _exactly(patch, part.packed)
        data = _unpacked(_window_of(old, part), frame, part.size)
        seen.update(data)
        write(data)
        done += len(data)
    if patch.read(1):
        raise IntegrityError("the patch goes on where it should end")
    if seen.hexdigest() != after.hex:
        raise IntegrityError(f"the patch makes sha256:{seen.hexdigest()}, not {after}")


def _exactly(source: IO[bytes], size: int) -> bytes:
    data = source.read(size)
    if len(data) != size:
        raise IntegrityError("the patch ends too early")
    return data


def _window_of(old: IO[bytes], part: _Part) -> bytes:
    if part.length == 0:
        return b""
    if part.at + part.length > old.seek(0, os.SEEK_END):
        raise IntegrityError("the patch asks for more of the old archive than there is")
    old.seek(part.at)
    data = old.read(part.length)
    if len(data) != part.length:
        raise IntegrityError("the old archive ends too early")
    return data


def _unpacked(prefix: bytes, frame: bytes, size: int) -> bytes:
    """One frame, whose header is looked at before memory is taken for what it says."""
    import zstandard

    try:
        said = zstandard.get_frame_parameters(frame)
        if said.content_size != size or said.window_size > 1 << _WINDOW_LOG or said.dict_id:
            raise IntegrityError("a segment of the patch is not as long as it says")
        given = zstandard.ZstdCompressionDict(prefix, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if prefix else None
        unpacker = zstandard.ZstdDecompressor(dict_data=given, max_window_size=1 << _WINDOW_LOG)
        data = unpacker.decompress(frame, max_output_size=size)
    except zstandard.ZstdError as err:
        raise IntegrityError(f"a segment of the patch is damaged: {err}") from err
    if len(data) != size:
        raise IntegrityError("a segment of the patch is not as long as it says")
    return data
