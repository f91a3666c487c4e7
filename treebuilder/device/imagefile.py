"""Can a file be the image of a slot? It is looked at before a disk is touched: GRUB has to read it."""

from __future__ import annotations

import struct
from pathlib import Path

from treebuilder.errors import ConfigError
from treebuilder.system.files import disk_errors

_SQUASHFS, _EXT = b"hsqs", 0xEF53
_HAS_JOURNAL, _EXTENTS, _64_BIT = 0x4, 0x40, 0x80  # features of ext3 and ext4
_SUPERBLOCK, _LARGEST_BLOCK = 1024, 6  # where it begins; 1024 bytes doubled so many times
_READABLE = {1: "gzip", 3: "lzo", 4: "xz"}
_UNREADABLE = {2: "lzma", 5: "lz4", 6: "zstd"}


def file_system(path: Path) -> str:
    """What is in a file, as mount(8) calls it: "squashfs", "ext2", "ext3", "ext4"; "" for anything else."""
    try:
        with path.open("rb") as source:
            head = source.read(2048)
    except OSError:
        return ""
    if head[:4] == _SQUASHFS:
        return "squashfs"
    if not _is_ext(head):
        return ""
    compatible, incompatible = struct.unpack_from("<II", head, 1024 + 92)
    return "ext4" if incompatible & _EXTENTS else "ext3" if compatible & _HAS_JOURNAL else "ext2"


def check_image(path: Path) -> str:
    """ "squashfs" or "ext". Raises ConfigError (bad-image), with what to do."""
    with disk_errors(f"reading {path}"):
        if not path.is_file():
            raise ConfigError(f"there is no image {path}", reason="bad-image")
        with path.open("rb") as source:
            head = source.read(2048)
        size = path.stat().st_size
    if head[:4] == _SQUASHFS and len(head) >= 96:
        compression: int = struct.unpack_from("<H", head, 20)[0]
        if compression not in _READABLE:
            raise ConfigError(
                f"{path} is compressed by {_UNREADABLE.get(compression, 'something')}, which GRUB does not read",
                reason="bad-image", hint="make it with mksquashfs -comp gzip",
            )  # fmt: skip
        used: int = struct.unpack_from("<Q", head, 40)[0]
        _check_whole(path, size, used)
        return "squashfs"
    if _is_ext(head):
        _check_whole(path, size, _ext_bytes(head))
        return "ext"
    raise ConfigError(
        f"{path} is neither a squashfs nor an ext2, ext3 or ext4 file system", reason="bad-image",
        hint="an image is a file system with /boot/vmlinuz and /boot/initrd in one file",
    )  # fmt: skip


def _is_ext(head: bytes) -> bool:
    return len(head) >= 2048 and struct.unpack_from("<H", head, 1080)[0] == _EXT


def _ext_bytes(head: bytes) -> int:
    """How large the file system is; 0 where its superblock is damaged. Source: struct ext4_super_block of Linux."""
    blocks, exponent = (struct.unpack_from("<I", head, _SUPERBLOCK + at)[0] for at in (4, 24))
    (incompatible,) = struct.unpack_from("<I", head, _SUPERBLOCK + 96)
    if incompatible & _64_BIT:
        blocks |= struct.unpack_from("<I", head, _SUPERBLOCK + 336)[0] << 32
    return blocks << 10 + exponent if exponent <= _LARGEST_BLOCK else 0


def _check_whole(path: Path, size: int, used: int) -> None:
    if not used:
        raise ConfigError(f"{path} is damaged", reason="bad-image", hint="fetch it again")
    if used > size:
        raise ConfigError(f"{path} has {size} bytes of {used}", reason="bad-image", hint="fetch it again")
