"""The headers of plain files and folders in a tar, read as `tarfile` does, and several times as fast.

A tree of 20,000 packages has 50,000 of them. Whatever is written in any other way than programs write it today, or is
wrong, is not read here: `tarfile` is asked then, and its answer counts.
"""

from __future__ import annotations

from treebuilder.annotations import TYPE_CHECKING

if TYPE_CHECKING:
    import tarfile

_PLAIN = (b"0", b"5")
_NO_DEVICE = (bytes(16), b"0000000\0" * 2)


def read(made: tarfile.TarInfo, block: bytes, encoding: str, errors: str) -> bool:
    """Fills `made` of a header's block; False, with nothing filled, where `tarfile` must. Names of owners are left out.

    Source: TarInfo.frombuf of Python 3.11; a property test holds both against each other.
    """
    kind = block[156:157]
    if kind not in _PLAIN or len(block) != 512 or block[329:345] not in _NO_DEVICE:
        return False
    mode, uid, gid, size = block[100:107], block[108:115], block[116:123], block[124:135]
    mtime, checksum = block[136:147], block[148:154]
    if block[107] or block[115] or block[123] or block[135] or block[147] or block[154]:
        return False
    if not (mode + uid + gid + size + mtime + checksum).isdigit():
        return False
    try:
        numbers = [int(field, 8) for field in (checksum, mode, uid, gid, size, mtime)]
    except ValueError:
        return False
    if sum(block) - sum(block[148:156]) + 256 != numbers[0]:
        return False
    made.chksum, made.mode, made.uid, made.gid, made.size, made.mtime = numbers
    name = block[:100].partition(b"\0")[0].decode(encoding, errors)
    if kind == b"5":
        name = name.rstrip("/")
    if block[345]:
        name = f"{block[345:500].partition(bytes(1))[0].decode(encoding, errors)}/{name}"
    made.name, made.type = name, kind
    made.linkname = block[157:257].partition(b"\0")[0].decode(encoding, errors) if block[157] else ""
    return True
