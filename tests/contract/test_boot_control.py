"""`BootControl`: what every implementation does. And what GRUB and time do to the file of one of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

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
    assert data == (HEADER + ours + b"saved_entry=cos\nnext_entry=\n").ljust(SIZE_BYTES, b"#")
    assert len(HEADER + ours) < 512
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


names = some.text("abcdefg_1", min_size=1, max_size=8)


@given(some.dictionaries(names, some.text("ab=\\\n #é", max_size=9), max_size=6))
def test_any_variables_are_written_and_read(variables: dict[str, str]) -> None:
    assert decode(encode(variables), "x") == variables
