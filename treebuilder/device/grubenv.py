"""The boot loader's block: a GRUB environment of 1024 bytes, written where it lies, as GRUB does itself (`save_env`).

GRUB replays no journal. A new file with the name of the old one is a change of a folder and of an inode, which reach
the disk one after the other: cut in between, GRUB finds an empty file, and starts active without counting. What is
written over touches neither. Our variables come first: they lie in the first 512 bytes, which a disk writes whole. They
always take the same room, so other variables of the file, which are kept, stay where they are, and a write changes
nothing in the second half.
Source: GRUB manual, "The GRUB environment block"; grub-core/lib/envblk.c for the escapes and for comments.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from treebuilder.annotations import Protocol
from treebuilder.device.states import TRIES, Pointer, Slot
from treebuilder.errors import StateCorrupt
from treebuilder.model.digest import Digest
from treebuilder.system.files import disk_errors, write_atomic

SIZE_BYTES = 1024
HEADER = b"# GRUB Environment Block\n"
START, LEFT, SPARE, TRIAL = "tb_start", "tb_left", "tb_spare", "tb_trial"
_OURS = (START, LEFT, SPARE, TRIAL)
_SECTOR_BYTES = 512
_OURS_END = 144  # behind the header and the longest of ours, and a comment that fills the rest: 137 and 2 at least


class BootControl(Protocol):
    """What the boot loader reads and counts down."""

    def read(self) -> Pointer:
        """As it is now. Where nothing was ever written, active is confirmed. Raises StateCorrupt."""
        ...

    def write(self, pointer: Pointer) -> None:
        """All of it at once: after a power cut it is the old one or this one. Raises NoSpace, StateCorrupt."""
        ...


class MemoryControl:
    """Implements `BootControl` without a disk, for tests and simulations."""

    def __init__(self) -> None:
        self._pointer = Pointer()

    def read(self) -> Pointer:
        return self._pointer

    def write(self, pointer: Pointer) -> None:
        self._pointer = pointer


class GrubControl:
    """Implements `BootControl` on a file that GRUB loads and saves."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Pointer:
        return _pointer(self._variables(), str(self._path))

    def write(self, pointer: Pointer) -> None:
        try:
            others = {name: value for name, value in self._variables().items() if name not in _OURS}
        except StateCorrupt:
            others = {}  # a broken block must not keep a device from being mended
        data = _block(pointer, others)
        with disk_errors(f"writing {self._path}", self._path.parent):
            if _overwrite(self._path, data):
                return
        write_atomic(self._path, data)

    def _variables(self) -> dict[str, str]:
        with disk_errors(f"reading {self._path}"):
            try:
                data = self._path.read_bytes()
            except FileNotFoundError:
                return {}
        return decode(data, str(self._path))


def _overwrite(path: Path, data: bytes) -> bool:
    """Writes the block into the blocks of the file, which stays the same one. False where there is none to write over:
    no file of this size with blocks of its own, or one whose second half says something that GRUB would read as ours.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as err:
        if err.errno in (errno.ENOENT, errno.ELOOP, errno.EISDIR, errno.ENXIO):
            return False
        raise
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode) or info.st_size != SIZE_BYTES or info.st_blocks * 512 < SIZE_BYTES:
            return False
        half = os.pread(fd, SIZE_BYTES, _SECTOR_BYTES)
        if any(f"{name}=".encode() in half for name in _OURS):
            return False  # of two equal names the last one counts
        if os.pwrite(fd, data, 0) != len(data):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        os.fsync(fd)
        return True
    finally:
        os.close(fd)


def _block(pointer: Pointer, others: dict[str, str]) -> bytes:
    ours = HEADER + _lines(_values(pointer))
    ours += b"#" * (_OURS_END - len(ours) - 1) + b"\n"
    assert len(ours) == _OURS_END
    return _filled(ours + _lines(others))


def encode(variables: dict[str, str]) -> bytes:
    """The block, in the order of `variables`. Raises StateCorrupt when they do not fit."""
    return _filled(HEADER + _lines(variables))


def _lines(variables: dict[str, str]) -> bytes:
    out = bytearray()
    for name, value in variables.items():
        escaped = value.replace("\\", "\\\\").replace("\n", "\\\n")
        out += f"{name}={escaped}\n".encode("utf-8", "surrogateescape")
    return bytes(out)


def _filled(lines: bytes) -> bytes:
    if len(lines) > SIZE_BYTES:
        raise StateCorrupt("the variables of the boot loader do not fit into their block", reason="bad-grubenv")
    return lines.ljust(SIZE_BYTES, b"#")


def decode(data: bytes, what: str) -> dict[str, str]:
    """Raises StateCorrupt (reason "bad-grubenv") for what GRUB would not load either."""
    if len(data) != SIZE_BYTES or not data.startswith(HEADER):
        raise StateCorrupt(
            f"{what} is no environment block of GRUB", reason="bad-grubenv",
            hint="GRUB starts active then; when the file is deleted, active counts as confirmed here too",
        )  # fmt: skip
    found: dict[str, str] = {}
    text = data[len(HEADER) :].decode("utf-8", "surrogateescape")
    line, escaped = "", False
    for char in text:
        if escaped:
            line, escaped = line + char, False
        elif char == "\\":
            escaped = True
        elif char == "\n":
            name, is_variable, value = line.partition("=")
            if is_variable and name and not name.startswith("#"):
                found[name] = value
            line = ""
        else:
            line += char
    return found


def _values(pointer: Pointer) -> dict[str, str]:
    return {
        START: pointer.start.value, LEFT: "" if pointer.left is None else str(pointer.left), SPARE: str(pointer.spare),
        TRIAL: "" if pointer.trial is None else pointer.trial.hex,
    }  # fmt: skip


def _pointer(found: dict[str, str], what: str) -> Pointer:
    start, left, spare = found.get(START, "active"), found.get(LEFT, ""), found.get(SPARE, str(TRIES))
    counts = {str(count): count for count in range(TRIES + 1)}
    try:
        return Pointer(
            {"active": Slot.ACTIVE, "passive": Slot.PASSIVE}[start], counts[left] if left else None, counts[spare],
            Digest(found[TRIAL]) if found.get(TRIAL) else None,
        )  # fmt: skip
    except (KeyError, ValueError) as err:
        raise StateCorrupt(f"{what} says what nobody wrote: {err}", reason="bad-grubenv") from err
