"""Tars that are wrong or mean harm: an error of ours, soon and in little memory; a part is never taken for all."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from treebuilder.archive.ahead import Ahead
from treebuilder.archive.bounds import Bound
from treebuilder.archive.compress import decompressed
from treebuilder.archive.reading import entries
from treebuilder.errors import IntegrityError, UnsafeArchive

END = bytes(1024)


def header(name: str = "f", kind: bytes = b"0", size: int = 0) -> bytes:
    made = tarfile.TarInfo(name)
    made.type, made.size = kind, size
    return made.tobuf(tarfile.GNU_FORMAT)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def pax(records: Iterable[tuple[bytes, bytes]] = (), *, kind: bytes = b"x", raw: bytes = b"") -> bytes:
    for key, value in records:
        body = b" " + key + b"=" + value + b"\n"
        length = len(body) + len(str(len(body)))
        raw += str(len(body) + len(str(length))).encode() + body
    return header("pax", kind, len(raw)) + padded(raw)


def number(value: int) -> bytes:
    return bytes(tarfile.itn(value, 12, tarfile.GNU_FORMAT))  # type: ignore[attr-defined]


def with_holes(parts: list[tuple[int, int]], size: int, stored: int = 0) -> bytes:
    """GNU's own form; four parts at most."""
    block = bytearray(header("sparse", b"S", stored))
    for at, (offset, length) in enumerate([*parts, *[(0, 0)] * 4][:4]):
        block[386 + 24 * at : 410 + 24 * at] = number(offset) + number(length)
    block[483:495] = number(size)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def read(data: bytes, bound: Bound = Bound()) -> list[tuple[str, int]]:  # noqa: B008 - frozen
    packed = io.BytesIO(zstandard.compress(data))
    found = []
    for entry, content in entries(decompressed(packed, bound, "it"), "it", bound):
        size = 0
        while content is not None and (part := content.read(1 << 16)):
            size += len(part)
        found.append((entry.path, size))
    return found


DIGITS = b"1" * (4 << 20)
LONG_LINK = header("././@LongLink", b"L", 2) + padded(b"x\0")
MAP_1_0 = [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"0")]
BROKEN = {
    "a chain of long names": LONG_LINK * 400 + header() + END,
    "a chain of pax": pax([(b"a", b"b")]) * 400 + header() + END,
    "digits without end": pax(raw=DIGITS) + header() + END,
    "a record that says it is longer": pax(raw=b"99 a=b\n") + header() + END,
    "a record without its end": pax(raw=b"6 a=bc") + header() + END,
    "records in records": pax(raw=b"2 " * (1 << 20) + b"a=") + header() + END,
    "too many records": pax([(b"k%d" % at, b"") for at in range(5000)]) + header() + END,
    "too many about all": pax([(b"k%d" % at, b"") for at in range(100)], kind=b"g") + header() + END,
    "a map of too many": pax(MAP_1_0) + header("f", b"0", 1 << 24) + padded(b"100000000\n" + b"0\n" * (1 << 22)) + END,
    "a map without its end": pax(MAP_1_0) + header("f", b"0", 512) + padded(b"9\n1\n") + END,
    "parts that overlap": with_holes([(0, 9), (5, 9)], 20, 18) + END,
    "parts behind the end": with_holes([(1 << 40, 1 << 40)], 1 << 40) + END,
    "a broken header": header() + header()[:200] + b"?" + header()[201:] + header("g") + END,
    "a cut header": header() + header()[:300],
    "a negative size": header("f", b"0", -1024) + header("lost") + END,
    "a negative size in pax": pax([(b"size", b"-300")]) + header() + header("lost") + END,
    "an impossible size": pax([(b"size", b"1" + b"0" * 30)]) + header() + END,
    "a long name of a negative size": header() + header("././@LongLink", b"L", -512) + header() + END,
    "an attribute with a zero": pax([(b"SCHILY.xattr.user.a\0b", b"v")]) + header() + END,
    "an attribute without a name": pax([(b"SCHILY.xattr.", b"v")]) + header() + END,
}


@pytest.mark.parametrize("what", BROKEN)
def test_it_is_an_error_of_ours(what: str) -> None:
    with pytest.raises(IntegrityError, match=r"^it (is no readable tar|holds an impossible|ends too early)"):
        read(BROKEN[what])


@pytest.mark.parametrize("parts", [[(1 << 40, 0)], []])
def test_holes_count_however_the_parts_are_named(parts: list[tuple[int, int]]) -> None:
    with pytest.raises(UnsafeArchive, match="unpacks to more than"):
        read(with_holes(parts, 1 << 40) + END)


def test_holes_of_one_file_are_not_made_up_for_by_another() -> None:
    with pytest.raises(IntegrityError):
        read(with_holes([(1, 1 << 41)], 5) + with_holes([], 1 << 40) + END)


def test_files_with_holes_are_whole() -> None:
    text = b"a" * 512 + b"b" * 512
    old = with_holes([(0, 512), (4096, 512), (9000, 0)], 9000, 1024) + text
    said = [(b"GNU.sparse.map", b"0,512,4096,512"), (b"GNU.sparse.size", b"9000"), (b"GNU.sparse.name", b"0.1")]
    first = pax(said) + header("f", b"0", 1024) + text
    said = [*MAP_1_0[:2], (b"GNU.sparse.realsize", b"9000"), (b"GNU.sparse.name", b"1.0")]
    second = pax(said) + header("f", b"0", 1536) + padded(b"2\n0\n512\n4096\n512\n") + text
    numbers = [(b"GNU.sparse.size", b"9000"), (b"GNU.sparse.numblocks", b"2")]
    for offset in (b"0", b"4096"):
        numbers += [(b"GNU.sparse.offset", offset), (b"GNU.sparse.numbytes", b"512")]
    zeroth = pax([*numbers, (b"GNU.sparse.name", b"0.0")]) + header("f", b"0", 1024) + text
    data = old + first + second + zeroth + header("last") + END
    assert read(data) == [("sparse", 9000), ("0.1", 9000), ("1.0", 9000), ("0.0", 9000), ("last", 0)]
    wanted = b"a" * 512 + bytes(3584) + b"b" * 512 + bytes(9000 - 4608)
    for entry, content in entries(io.BytesIO(data), "it"):
        if content is not None and entry.size:
            assert content.read() == wanted, entry.path


@pytest.mark.parametrize(
    "pack", [gzip.compress, zstandard.compress, zstandard.ZstdCompressor(write_checksum=True).compress]
)
@pytest.mark.parametrize("cut", [1, 4, 8, 300])
def test_a_stream_that_is_cut_is_no_archive(pack: Callable[[bytes], bytes], cut: int) -> None:
    data = header("f", b"0", 70_000) + padded(os.urandom(70_000)) + header("g") + END + bytes(9216)
    packed = pack(data)
    assert [e.path for e, _ in entries(decompressed(io.BytesIO(packed)), "it")] == ["f", "g"]
    with pytest.raises(IntegrityError, match=r"ends too early|damaged"):
        list(entries(decompressed(io.BytesIO(packed[:-cut])), "it"))


KINDS = st.sampled_from(["frame", "sized", "checked", "skippable", "level"])
FRAMES = st.lists(st.tuples(KINDS, st.binary(max_size=300), st.integers(1, 2000)), min_size=1, max_size=4)


def framed(kind: str, data: bytes) -> bytes:
    if kind == "skippable":
        return b"\x53\x2a\x4d\x18" + len(data).to_bytes(4, "little") + data
    made = zstandard.ZstdCompressor(
        level=19 if kind == "level" else 3, write_checksum=kind == "checked", write_content_size=kind == "sized"
    )
    return made.compress(data)


@given(FRAMES, st.data())
def test_frames_are_whole_or_they_are_not(parts: list[tuple[str, bytes, int]], drawn: st.DataObject) -> None:
    parts = [("frame", b"first", 1), *parts]  # what a stream is told by
    pieces = [framed(kind, data * times) for kind, data, times in parts]
    packed = b"".join(pieces)
    wanted = b"".join(data * times for kind, data, times in parts if kind != "skippable")
    assert decompressed(io.BytesIO(packed)).read() == wanted
    cut = drawn.draw(st.integers(len(pieces[0]) + 1, len(packed) - 1)) if len(packed) > len(pieces[0]) + 1 else 0
    ends = {sum(map(len, pieces[:count])) for count in range(len(pieces) + 1)}
    if cut and cut not in ends:
        with pytest.raises(IntegrityError, match=r"ends too early|damaged"):
            decompressed(io.BytesIO(packed[:cut])).read()


def test_layers_in_an_archive_are_all_there(tmp_path: Path) -> None:
    """What reads a layer ahead must not read what is behind it."""
    layer = header("f", b"0", 12 << 20) + bytes(12 << 20) + END + os.urandom(5 << 20)
    packed = zstandard.compress(layer)
    path = tmp_path / "outer.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as out:
        for name in "abcdef":
            out.write(header(name, b"0", len(packed)) + padded(packed))
        out.write(END)
    seen = []
    with path.open("rb") as source:
        for entry, content in entries(decompressed(source), "outer"):
            assert content is not None
            seen.append((entry.path, [inner.path for inner, _ in entries(decompressed(content), "inner")]))
    assert seen == [(name, ["f"]) for name in "abcdef"]


def test_where_no_thread_is_to_be_had_it_reads_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_more(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_more)
    path = tmp_path / "file"
    path.write_bytes(b"x" * (20 << 20))
    with path.open("rb", buffering=0) as source:
        reader, buffer, size = Ahead(source), bytearray(1 << 20), 0
        while got := reader.readinto(buffer):
            size += got
    assert size == 20 << 20
