"""Logs of writes, made by QEMU itself, and what a power cut leaves."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from benchmarks.blklog import DISCARD, FLUSH, FUA, Entry, blockdev, entries, replay, survivors
from tests.services import program

pytestmark = pytest.mark.vm
MIB = 1 << 20


def recorded(folder: Path, commands: list[str]) -> tuple[Path, Path]:
    """A disk that was worked on by commands of qemu-io, and its log."""
    disk, log = folder / "disk", folder / "log"
    for file in (disk, log):
        with file.open("wb") as out:
            out.truncate(16 * MIB)
    qemu = program("qemu-system-x86_64", "qemu-system-x86")
    argv = [qemu, "-M", "none", "-nodefaults", "-display", "none", "-S", "-monitor", "stdio"]
    typed = "".join(f'qemu-io d "{command}"\n' for command in commands) + "quit\n"
    subprocess.run(
        [*argv, "-blockdev", blockdev(disk, log, "d")],
        input=typed.encode(),
        check=True,
        capture_output=True,
        timeout=60,
    )
    return disk, log


def test_a_log_replayed_is_the_disk(tmp_path: Path) -> None:
    disk, log = recorded(
        tmp_path,
        [
            "write -P 17 0 4096", "flush", "write -f -P 34 8192 512", "write -P 51 65536 2M", "discard 0 4096",
            "write -z 69632 4096", "write -P 68 4096 1024",
        ],
    )  # fmt: skip
    found = entries(log)
    assert [(e.offset, e.length) for e in found if e.is_write][:3] == [(0, 4096), (8192, 512), (65536, 2 * MIB)]
    assert [e.flags & (FLUSH | FUA | DISCARD) for e in found].count(FLUSH) >= 1
    assert any(e.flags & DISCARD for e in found)
    copy = tmp_path / "copy"
    with copy.open("wb") as out:
        out.truncate(16 * MIB)
    replay(log, found, copy)
    assert copy.read_bytes() == disk.read_bytes()
    assert copy.read_bytes()[65536:65537] == b"\x33"


def test_a_cut_keeps_what_was_flushed_and_some_of_the_rest() -> None:
    found = [Entry(at, 512, flags, 0) for at, flags in enumerate([0, 0, FLUSH, 0, 0, FUA, 0, FLUSH, 0])]
    seen = set()
    for seed in range(300):
        kept = [entry.offset for entry in survivors(found, 7, random.Random(seed))]
        assert kept[:3] == [0, 1, 2]
        assert 5 in kept
        assert kept == sorted(kept)
        assert max(kept) < 7
        seen.add(tuple(kept))
    assert len(seen) == 8  # each subset of the three that nothing holds
    assert survivors(found, 0, random.Random(0)) == []


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    _, log = recorded(tmp_path, ["write -P 17 0 4096"])
    data = log.read_bytes()
    log.write_bytes(data[:900])
    with pytest.raises(ValueError, match="ends within"):
        entries(log)
    log.write_bytes(bytes(4096))
    with pytest.raises(ValueError, match="no log"):
        entries(log)
