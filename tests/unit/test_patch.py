"""Patches between tars: right, bounded, and refused when anything about them is wrong."""

from __future__ import annotations

import io
import random
import struct
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from treebuilder.errors import IntegrityError
from treebuilder.model.digest import Digest
from treebuilder.oci import patch as patches
from treebuilder.oci.patch import SEGMENT_BYTES, WINDOW_BYTES, apply_patch, make_patch

MIB = 1 << 20
HEAD = 16 + 32 + 32 + 8


def noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def made(folder: Path, old: bytes, new: bytes) -> bytes:
    (folder / "old").write_bytes(old)
    (folder / "new").write_bytes(new)
    out = io.BytesIO()
    make_patch(folder / "old", folder / "new", Digest.of(old), Digest.of(new), out)
    return out.getvalue()


def applied(patch: bytes, old: bytes, new: bytes, limit: int = 1 << 40) -> bytes:
    out = io.BytesIO()
    apply_patch(io.BytesIO(patch), io.BytesIO(old), Digest.of(old), Digest.of(new), limit, out.write)
    return out.getvalue()


def test_what_did_not_change_costs_next_to_nothing(tmp_path: Path) -> None:
    old = noise(3 * MIB, 1)
    new = old[: 1 * MIB] + noise(5120, 2) + old[1 * MIB + 2048 :]
    patch = made(tmp_path, old, new)
    assert applied(patch, old, new) == new
    assert 5120 < len(patch) < 5120 + 1500
    assert made(tmp_path, old, new) == patch, "equal input gives equal bytes"


def test_what_moved_far_is_found(tmp_path: Path) -> None:
    """The window follows what is in a segment, not where it is: the halves of 90 MiB have changed places."""
    one, two = noise(45 * MIB, 1), noise(45 * MIB, 2)
    patch = made(tmp_path, one + two, two + one)
    assert applied(patch, one + two, two + one) == two + one
    assert len(patch) < 17 * MIB, "only the segment that holds the seam of both is partly new"


@settings(max_examples=40, deadline=None)
@given(st.binary(min_size=1, max_size=4096), st.binary(min_size=0, max_size=4096), st.integers(0, 3))
def test_any_two(tmp_path_factory: pytest.TempPathFactory, old: bytes, new: bytes, shared: int) -> None:
    new = new + old * shared or b"\0"
    patch = made(tmp_path_factory.mktemp("any"), old, new)
    assert applied(patch, old, new) == new


def test_many_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patches, "SEGMENT_BYTES", 1 << 17)
    monkeypatch.setattr(patches, "WINDOW_BYTES", 1 << 19)
    monkeypatch.setattr(patches, "_MARGIN", 1 << 16)
    old = noise(1 << 21, 3)
    new = old[: 1 << 20] + noise(1 << 16, 4) + old[1 << 20 :]
    patch = made(tmp_path, old, new)
    assert applied(patch, old, new) == new
    assert len(patch) < (1 << 16) + 12_000


# hostile -------------------------------------------------------------------------------------------------------------
OLD, NEW = noise(MIB, 5), noise(MIB, 5)[: MIB - 4096] + noise(8192, 6)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return made(tmp_path_factory.mktemp("good"), OLD, NEW)


def test_every_truncation_is_refused(good: bytes) -> None:
    for size in (0, 1, HEAD - 1, HEAD, HEAD + 1, HEAD + 19, HEAD + 20, len(good) // 2, len(good) - 1):
        with pytest.raises(IntegrityError):
            applied(good[:size], OLD, NEW)


def test_more_than_a_patch_is_refused(good: bytes) -> None:
    with pytest.raises(IntegrityError, match="goes on"):
        applied(good + b"x", OLD, NEW)


def test_any_flipped_byte_is_refused(good: bytes) -> None:
    for at in random.Random(7).sample(range(len(good)), 150):
        broken = good[:at] + bytes([good[at] ^ 0x41]) + good[at + 1 :]
        with pytest.raises(IntegrityError):
            applied(broken, OLD, NEW)


def test_another_base_is_refused(good: bytes) -> None:
    other = noise(MIB, 8)
    with pytest.raises(IntegrityError, match="for other archives"):
        applied(good, other, NEW)
    out = io.BytesIO()
    with pytest.raises(IntegrityError):  # named as the right one, and is not
        apply_patch(io.BytesIO(good), io.BytesIO(other), Digest.of(OLD), Digest.of(NEW), 1 << 40, out.write)


def _hostile(segment: tuple[int, int, int, int], frame: bytes, size: int) -> bytes:
    ids = bytes.fromhex(Digest.of(OLD).hex), bytes.fromhex(Digest.of(NEW).hex)
    return struct.pack(">16s32s32sQ", b"treebuild-delta1", *ids, size) + struct.pack(">QIII", *segment) + frame


def test_a_bomb_is_refused_before_it_goes_off() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 28))
    small = len(bomb)
    assert small < 1 << 16
    with pytest.raises(IntegrityError, match="not as long as it says"):
        applied(_hostile((0, 0, MIB, small), bomb, MIB), OLD, NEW)
    hidden = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1 << 28))
    with pytest.raises(IntegrityError):
        applied(_hostile((0, 0, MIB, len(hidden)), hidden, MIB), OLD, NEW)


@pytest.mark.parametrize(
    "segment",
    [
        (0, 0, SEGMENT_BYTES + 1, 10), (0, WINDOW_BYTES + 1, 100, 10), (0, 0, 100, 1 << 31), (0, 0, 0, 10),
        (MIB, 1, 100, 10), (1 << 63, 1, 100, 10), (1 << 59, 1, 100, 10), (0, MIB + 1, 100, 10),
    ],
)  # fmt: skip
def test_lengths_are_bounded(segment: tuple[int, int, int, int]) -> None:
    with pytest.raises(IntegrityError):
        applied(_hostile(segment, b"x" * 10, 1 << 30), OLD, NEW)


def test_a_result_that_is_too_long_is_refused(good: bytes) -> None:
    with pytest.raises(IntegrityError, match="more than 1000 bytes"):
        applied(good, OLD, NEW, limit=1000)
