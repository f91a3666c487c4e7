"""What a disk saw, in order, and what a power cut may have left of it.

QEMU's `blklogwrites` notes each write, flush and discard that a guest made, in the format of Linux' dm-log-writes.
A disk may keep what it was given since the last flush in any order: a cut keeps all before that flush and any subset of
the rest. Source: Documentation/admin-guide/device-mapper/log-writes.rst of Linux; block/blklogwrites.c of QEMU 7.2.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MAGIC = 0x6A736677736872
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
_SUPER, _ENTRY = struct.Struct("<QQQI"), struct.Struct("<QQQQ")


@dataclass(frozen=True)
class Entry:
    """One request. `at` is where its bytes lie in the log, `sector` where they go; both lengths are bytes."""

    offset: int
    length: int
    flags: int
    at: int

    @property
    def is_write(self) -> bool:
        return self.length > 0 and not self.flags & (DISCARD | MARK)


def blockdev(disk: Path, log: Path, node: str) -> str:
    """The argument of QEMU's -blockdev for a raw disk whose requests are noted in a file that is there."""
    return (
        f"driver=blklogwrites,node-name={node},discard=unmap,file.driver=file,file.filename={disk},log.driver=file,"
        f"log.filename={log},log-sector-size=512,file.discard=unmap"
    )


def entries(log: Path) -> list[Entry]:
    """All requests of a log, in order. Raises ValueError for what is none, or was cut."""
    found = []
    size = log.stat().st_size
    with log.open("rb") as source:
        magic, version, count, sector = _SUPER.unpack(source.read(_SUPER.size))
        if magic != MAGIC or version != 1 or sector not in (512, 4096):
            raise ValueError(f"{log} is no log of writes")
        place = sector
        for _ in range(count):
            source.seek(place)
            start, sectors, flags, extra = _ENTRY.unpack(source.read(_ENTRY.size))
            place += sector
            length = sectors * sector
            found.append(Entry(start * sector, length, flags, place))
            if flags & MARK:
                place += extra
            elif not flags & DISCARD:
                place += length
            if place > size:
                raise ValueError(f"{log} ends within a request")
    return found


def survivors(found: Sequence[Entry], cut: int, rng: random.Random) -> list[Entry]:
    """What a cut before entry `cut` leaves: all up to the last flush, and of the rest what `rng` picks, in order.

    A write with FUA is on the disk when it is done. A flush covers what was done before it.
    """
    last = max((at for at in range(cut) if found[at].flags & FLUSH), default=-1)
    share = rng.random()
    kept = []
    for at, entry in enumerate(found[:cut]):
        if at <= last or entry.flags & FUA or rng.random() < share:
            kept.append(entry)
    return kept


def replay(log: Path, kept: Sequence[Entry], disk: Path) -> None:
    """Carries the requests out on a copy of what the disk was before."""
    with log.open("rb", buffering=0) as source, disk.open("r+b", buffering=0) as out:
        for entry in kept:
            if entry.is_write:
                left, at, to = entry.length, entry.at, entry.offset
                while left:
                    done = os.pwrite(out.fileno(), os.pread(source.fileno(), min(left, 1 << 20), at), to)
                    left, at, to = left - done, at + done, to + done
            elif entry.flags & DISCARD:
                _zero(out.fileno(), entry.offset, entry.length)


def _zero(file: int, offset: int, length: int) -> None:
    """What was discarded reads as zeros on the disks that we make."""
    block = bytes(1 << 20)
    while length:
        done = os.pwrite(file, block[:length], offset)
        offset, length = offset + done, length - done
