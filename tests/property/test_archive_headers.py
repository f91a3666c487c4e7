"""Headers that are read quickly are read as `tarfile` reads them."""

from __future__ import annotations

import tarfile
from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from treebuilder.archive import headers

_FIELDS = ("name", "mode", "uid", "gid", "size", "mtime", "chksum", "type", "linkname", "devmajor", "devminor")
_NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=180)
_FORMATS: tuple[Literal[0, 1, 2], ...] = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)


def both(block: bytes) -> tuple[list[object] | None, list[object] | None]:
    """What we read, and what tarfile reads; None for nothing."""
    quick = tarfile.TarInfo()
    ours = headers.read(quick, block, "utf-8", "surrogateescape")
    try:
        slow = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return [getattr(quick, name) for name in _FIELDS] if ours else None, None
    return (
        [getattr(quick, name) for name in _FIELDS] if ours else None,
        [getattr(slow, name) for name in _FIELDS],
    )


@st.composite
def blocks(draw: st.DrawFn) -> bytes:
    """The last header that is written for a member."""
    info = tarfile.TarInfo(draw(_NAMES))
    info.type = draw(st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.AREGTYPE, tarfile.SYMTYPE, b"3", b"S"]))
    info.size = draw(st.integers(0, 1 << 34))
    info.mtime = draw(st.integers(-5, 1 << 34))
    info.mode, info.uid, info.gid = (draw(st.integers(0, most)) for most in (0o7777, 1 << 22, 1 << 22))
    info.linkname = draw(st.sampled_from(["", "to", "a" * 99]))
    info.uname, info.gname = draw(st.sampled_from([("", ""), ("root", "wheel"), ("ü", "x")]))
    try:
        return info.tobuf(draw(st.sampled_from(_FORMATS)), "utf-8", "surrogateescape")[-512:]
    except ValueError:  # too long for the format
        return tarfile.TarInfo("short").tobuf(tarfile.USTAR_FORMAT)


@given(blocks())
@settings(max_examples=300)
def test_a_header_is_read_as_tarfile_reads_it(block: bytes) -> None:
    ours, theirs = both(block)
    assert ours is None or ours == theirs


@given(blocks(), st.lists(st.tuples(st.integers(0, 511), st.integers(0, 255)), max_size=3), st.booleans())
@settings(max_examples=300)
def test_damage_is_left_to_tarfile(block: bytes, changes: list[tuple[int, int]], repair: bool) -> None:
    """Any bytes, with a checksum that is right or not."""
    made = bytearray(block)
    for at, value in changes:
        made[at] = value
    if repair:
        made[148:156] = b" " * 8
        made[148:156] = b"%06o\0 " % sum(made)
    ours, theirs = both(bytes(made))
    assert ours is None or ours == theirs


def test_plain_files_and_folders_are_read_quickly() -> None:
    for name, kind in (("a/b", tarfile.REGTYPE), ("folder", tarfile.DIRTYPE), ("d/" * 60 + "f", tarfile.REGTYPE)):
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.size, info.mtime, info.uid, info.gid = kind, 0o755, 77, 1_700_000_000, 1000, 100
        for kind_of_tar in (tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT):
            ours, theirs = both(info.tobuf(kind_of_tar)[-512:])
            assert ours is not None
            assert ours == theirs
