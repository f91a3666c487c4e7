"""`BootControl`: what every implementation does. And what GRUB and time do to the file of one of them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tests.services import program
from treebuilder.device.grubenv import (
    HEADER,
    SIZE_BYTES,
    BootControl,
    GrubControl,
    MemoryControl,
    decode,
    encode,
)
from treebuilder.device.states import AWAY, TRIES, Pointer, Slot
from treebuilder.errors import StateCorrupt
from treebuilder.model.digest import Digest

TRIAL = Digest.of(b"an image")
Make = Callable[[Path], BootControl]
MAKERS: dict[str, Make] = {"grub": lambda top: GrubControl(top / "grubenv"), "memory": lambda top: MemoryControl()}


@pytest.fixture(params=MAKERS)
def control(request: pytest.FixtureRequest, tmp_path: Path) -> BootControl:
    return MAKERS[request.param](tmp_path)


def test_active_is_confirmed_where_nothing_was_written(control: BootControl) -> None:
    assert control.read() == Pointer()


@pytest.mark.parametrize(
    "pointer",
    [Pointer(), AWAY, Pointer(Slot.PASSIVE, spare=0), *(Pointer(Slot.ACTIVE, left, 2, TRIAL) for left in range(4))],
)
def test_what_is_written_is_read(control: BootControl, pointer: Pointer) -> None:
    control.write(Pointer(Slot.ACTIVE, 1, 1, TRIAL))
    control.write(pointer)
    assert control.read() == pointer


# the block of GRUB ---------------------------------------------------------------------------------------------------
def test_the_block_is_as_grub_has_it(tmp_path: Path) -> None:
    path = tmp_path / "grubenv"
    path.write_bytes((HEADER + b"saved_entry=cos\nnext_entry=\n").ljust(SIZE_BYTES, b"#"))
    GrubControl(path).write(Pointer(Slot.ACTIVE, TRIES, TRIES, TRIAL))
    data = path.read_bytes()
    ours = f"tb_start=active\ntb_left=3\ntb_spare=3\ntb_trial={TRIAL.hex}\n".encode()
    room = (HEADER + ours).ljust(143, b"#") + b"\n"  # the same for any pointer
    assert data == (room + b"saved_entry=cos\nnext_entry=\n").ljust(SIZE_BYTES, b"#")
    assert len(room) < 512
    path.write_bytes(data.replace(b"tb_left=3", b"tb_left=2"))  # as save_env does
    assert GrubControl(path).read() == Pointer(Slot.ACTIVE, 2, TRIES, TRIAL)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"#" * SIZE_BYTES, HEADER, HEADER.ljust(SIZE_BYTES + 1, b"#"),
        (HEADER + b"tb_start=recovery\n").ljust(SIZE_BYTES, b"#"), (HEADER + b"tb_left=9\n").ljust(SIZE_BYTES, b"#"),
        (HEADER + b"tb_left=-1\n").ljust(SIZE_BYTES, b"#"), (HEADER + b"tb_spare=\n").ljust(SIZE_BYTES, b"#"),
        (HEADER + b"tb_trial=abc\n").ljust(SIZE_BYTES, b"#"),
    ],
)  # fmt: skip
def test_a_broken_block_is_said_and_can_be_written_anew(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "grubenv"
    path.write_bytes(data)
    with pytest.raises(StateCorrupt) as caught:
        GrubControl(path).read()
    assert caught.value.reason == "bad-grubenv"
    GrubControl(path).write(AWAY)
    assert GrubControl(path).read() == AWAY


def test_what_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "grubenv"
    path.write_bytes(encode({"extra_cmdline": "x" * 900}))
    before = path.read_bytes()
    with pytest.raises(StateCorrupt):
        GrubControl(path).write(Pointer(Slot.ACTIVE, TRIES, TRIES, TRIAL))
    assert path.read_bytes() == before


def _rewritten(path: Path) -> tuple[bytes, bytes]:
    """The block before and after a write, which leaves the file the same one."""
    before, data = path.stat(), path.read_bytes()
    control = GrubControl(path)
    control.write(Pointer(Slot.ACTIVE, TRIES, 1, TRIAL) if control.read() != AWAY else Pointer())
    after = path.stat()
    assert (after.st_ino, after.st_size, after.st_nlink) == (before.st_ino, SIZE_BYTES, 1)
    return data, path.read_bytes()


def _as_grub(path: Path, data: bytes) -> list[str]:
    path.write_bytes(data)
    argv = [str(program("grub-editenv", "grub-common")), str(path), "list"]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines()


@pytest.mark.parametrize("others", [{}, {"saved_entry": "cos"}, {"a": "x" * 300, "b": "tb_left=1", "c": "y" * 500}])
def test_the_file_stays_the_same_one_and_a_torn_write_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: dict[str, str]
) -> None:
    """A name that moves to another inode is two blocks on the disk, and GRUB, which replays no journal, may see one."""
    path, copy = tmp_path / "grubenv", tmp_path / "copy"
    path.write_bytes(encode(others))
    GrubControl(path).write(AWAY)
    steps: list[str] = []
    pwrite, fsync = os.pwrite, os.fsync

    def written(fd: int, data: bytes, at: int) -> int:
        steps.append(f"{len(data)} at {at}")
        return pwrite(fd, data, at)

    def synced(fd: int) -> None:
        steps.append("fsync")
        fsync(fd)

    monkeypatch.setattr(os, "pwrite", written)
    monkeypatch.setattr(os, "fsync", synced)
    old, new = _rewritten(path)
    assert steps == [f"{SIZE_BYTES} at 0", "fsync"]
    assert old[512:] == new[512:], "the second half does not change, so whatever half is written it is one of the two"
    pointer = GrubControl(path).read()
    for data, expected in ((old, AWAY), (new, pointer)):
        copy.write_bytes(data)
        assert GrubControl(copy).read() == expected
        said = _as_grub(copy, data)
        assert f"tb_start={expected.start.value}" in said
        assert [line for line in said if not line.startswith("tb_")] == [f"{n}={v}" for n, v in others.items()]


def _nothing(path: Path) -> None:
    path.unlink()


def _elsewhere(path: Path) -> None:
    path.rename(path.with_name("other"))
    path.symlink_to("other")


def _without_blocks(path: Path) -> None:
    path.write_bytes(b"")
    os.truncate(path, SIZE_BYTES)


def _behind(path: Path) -> None:
    """GRUB and grub-editenv append: ours would count where a torn write leaves the old half."""
    path.write_bytes(encode({"a": "x" * 600, "tb_start": "active", "tb_left": "2", "tb_trial": TRIAL.hex}))


@pytest.mark.parametrize(
    "how", [_nothing, _elsewhere, _without_blocks, _behind, lambda path: path.write_bytes(HEADER)]
)  # fmt: skip
def test_where_no_block_is_to_write_over_a_new_one_is_made(tmp_path: Path, how: Callable[[Path], object]) -> None:
    path = tmp_path / "grubenv"
    GrubControl(path).write(Pointer())
    how(path)
    seen = path.lstat().st_ino if path.is_symlink() or path.exists() else 0
    GrubControl(path).write(AWAY)
    assert path.is_file()
    assert not path.is_symlink()
    assert (path.stat().st_size, path.stat().st_ino != seen) == (SIZE_BYTES, True)
    assert GrubControl(path).read() == AWAY
    assert path.read_bytes()[512:].count(b"tb_") == 0
    _rewritten(path)


names = some.text("abcdefg_1", min_size=1, max_size=8)


@given(some.dictionaries(names, some.text("ab=\\\n #é", max_size=9), max_size=6))
def test_any_variables_are_written_and_read(variables: dict[str, str]) -> None:
    assert decode(encode(variables), "x") == variables
