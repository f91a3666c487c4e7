"""Long archives are decompressed beside the one who reads them; what it sees is the same."""

from __future__ import annotations

import gzip
import io
import os
import random
import threading
from pathlib import Path

import pytest
import zstandard

from treebuilder.archive.ahead import Ahead
from treebuilder.archive.bounds import Bound
from treebuilder.archive.compress import decompressed
from treebuilder.errors import IntegrityError, UnsafeArchive

LONG = random.Random(3).randbytes(1 << 20) * 24  # what a thread is begun for, and more than its pieces hold


class Pieces(io.RawIOBase):
    """`LONG` in pieces of odd sizes; `fault` is raised after so many bytes."""

    def __init__(self, fault_at: int | None = None) -> None:
        self.at, self.fault_at = 0, fault_at

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self.fault_at is not None and self.at >= self.fault_at:
            raise IntegrityError(f"damaged at {self.at}")
        data = LONG[self.at : self.at + min(len(buffer), 300_001)]
        buffer[: len(data)] = data
        self.at += len(data)
        return len(data)


def helpers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "decompress"]


def ended(before: list[threading.Thread]) -> bool:
    for thread in helpers():
        if thread not in before:
            thread.join(30)
    return all(thread in before for thread in helpers())


@pytest.mark.parametrize("size", [1, 512, 100_000, 1 << 20, 5 << 20])
def test_what_is_read_ahead_is_what_is_there(size: int) -> None:
    before = helpers()
    reader, read = Ahead(Pieces()), bytearray()
    buffer = bytearray(size)
    while got := reader.readinto(buffer):
        read += buffer[:got]
        if size < 100_000 and len(read) > 9 << 20:
            size, buffer = 1 << 20, bytearray(1 << 20)
    assert bytes(read) == LONG
    assert reader.readinto(buffer) == 0
    assert ended(before)


def test_short_ones_have_no_thread(tmp_path: Path) -> None:
    before = helpers()
    path = tmp_path / "short.zst"  # a file, for nothing else has a thread at all
    path.write_bytes(zstandard.compress(LONG[: 6 << 20]))
    with path.open("rb") as source:
        reader = decompressed(source)
        for at in range(5):
            assert reader.read(1 << 20) == LONG[at << 20 : (at + 1) << 20]
        assert helpers() == before


def test_a_fault_is_told_where_it_is_and_again() -> None:
    reader = Ahead(Pieces(fault_at=20 << 20))
    buffer = bytearray(1 << 20)
    read = 0
    with pytest.raises(IntegrityError, match="damaged at"):
        while got := reader.readinto(buffer):
            read += got
    assert read >= 20 << 20
    with pytest.raises(IntegrityError, match="damaged at"):
        reader.readinto(buffer)


def test_a_reader_that_stops_early_leaves_no_thread(tmp_path: Path) -> None:
    before = helpers()
    path = tmp_path / "long.zst"
    path.write_bytes(zstandard.compress(LONG))
    with path.open("rb") as source:
        reader = decompressed(source)
        for at in range(10):
            assert reader.read(1 << 20) == LONG[at << 20 : (at + 1) << 20]
        if len(os.sched_getaffinity(0)) > 1:
            assert helpers() != before
    del reader
    assert ended(before)


@pytest.mark.parametrize("pack", [zstandard.compress, gzip.compress])
def test_a_bomb_is_refused_though_a_thread_reads_it(pack: object, tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(pack(bytes(64 << 20)))  # type: ignore[operator]
    with path.open("rb") as source, pytest.raises(UnsafeArchive, match="unpacks to more than 100 times"):
        reader = decompressed(source, Bound(free_bytes=16 << 20))
        while reader.read(1 << 20):
            pass
