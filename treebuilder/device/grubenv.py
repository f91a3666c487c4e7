"""The boot loader's block: a GRUB environment of 1024 bytes, replaced by one rename.

GRUB counts down by writing into the blocks of the file (`save_env`), so the file always has exactly this size and our
variables come first: they lie in the first 512 bytes, which a disk writes whole. Other variables of the file are kept.
Source: GRUB manual, "The GRUB environment block"; grub-core/lib/envblk.c for the escapes.
"""

from __future__ import annotations

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


class BootControl(Protocol):
    """What the boot loader reads and counts down."""

    def read(self) -> Pointer:
        """As it is now. Where nothing was ever written, active is confirmed. Raises StateCorrupt."""
        ...

    def write(self, pointer: Pointer) -> None:
        """All of it at once: after a power cut it is the old one or this one. Raises NoSpace, TreebuildError."""
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
        write_atomic(self._path, encode({**_values(pointer), **others}))

    def _variables(self) -> dict[str, str]:
        with disk_errors(f"reading {self._path}"):
            try:
                data = self._path.read_bytes()
            except FileNotFoundError:
                return {}
        return decode(data, str(self._path))


def encode(variables: dict[str, str]) -> bytes:
    """The block, in the order of `variables`. Raises StateCorrupt when they do not fit."""
    out = bytearray(HEADER)
    for name, value in variables.items():
        escaped = value.replace("\\", "\\\\").replace("\n", "\\\n")
        out += f"{name}={escaped}\n".encode("utf-8", "surrogateescape")
    if len(out) > SIZE_BYTES:
        raise StateCorrupt("the variables of the boot loader do not fit into their block", reason="bad-grubenv")
    return bytes(out.ljust(SIZE_BYTES, b"#"))


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
