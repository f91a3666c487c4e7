"""A disk that GRUB boots from, made without a loop device: an MBR, GRUB's core behind it, one ext4 partition."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path
from threading import Timer

SECTOR = 512
START = 2048  # of the partition, in sectors
MODULES = (
    "biosdisk", "part_msdos", "part_gpt", "ext2", "normal", "configfile", "test", "true", "echo", "serial", "terminal",
    "loadenv", "halt", "search", "search_fs_uuid", "search_label", "regexp", "probe", "loopback", "squash4", "gzio",
)  # fmt: skip
QEMU = (
    "qemu-system-x86_64", "-accel", "tcg", "-m", "128", "-nodefaults", "-no-user-config", "-no-reboot", "-display",
    "none", "-serial", "stdio",
)  # fmt: skip


def make_disk(folder: Path, files: Path, *, size_mb: int = 64, uuid: str) -> Path:
    """`files` becomes the partition's content; GRUB reads /grub2/grub.cfg on it. Returns the disk."""
    disk, core, part = folder / "disk.img", folder / "core.img", folder / "part.img"
    run("mkfs.ext4", "-q", "-F", "-U", uuid, "-d", str(files), str(part), f"{size_mb}m")
    run("grub-mkimage", "-O", "i386-pc", "-p", "(hd0,msdos1)/grub2", "-o", str(core), *MODULES)
    with disk.open("wb") as out:
        out.truncate((START + size_mb * 2048) * SECTOR)
    run("sfdisk", "-q", str(disk), input=f"label: dos\nstart={START}, type=83, bootable\n")
    loader = bytearray(core.read_bytes())
    loader += b"\0" * (-len(loader) % SECTOR)
    struct.pack_into("<QHH", loader, SECTOR - 12, 2, len(loader) // SECTOR - 1, 0x820)
    assert len(loader) < (START - 1) * SECTOR
    boot = bytearray(Path("/usr/lib/grub/i386-pc/boot.img").read_bytes())
    struct.pack_into("<Q", boot, 0x5C, 1)
    boot[0x64] = 0xFF
    boot[0x66:0x68] = b"\x90\x90"
    with disk.open("r+b") as out, part.open("rb") as content:
        out.write(boot[:440])
        out.seek(SECTOR)
        out.write(loader)
        out.seek(START * SECTOR)
        while chunk := content.read(1 << 20):
            out.write(chunk)
    part.unlink()
    return disk


def serial_output(disk: Path, *, timeout_s: float = 120) -> str:
    """What the machine says until it halts."""
    argv = [*QEMU, "-drive", f"file={disk},format=raw,if=ide"]
    done = subprocess.run(argv, capture_output=True, timeout=timeout_s, check=True)
    return done.stdout.decode("utf-8", "replace").replace("\r", "")


def serial_typed(disk: Path, after: str, keys: str, *, read_only: bool = False, timeout_s: float = 120) -> str:
    """The same, where somebody types as soon as `after` was said."""
    argv = [*QEMU, "-drive", f"file={disk},format=raw,if=virtio,readonly={'on' if read_only else 'off'}"]
    said = b""
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        guard = Timer(timeout_s, process.kill)
        guard.start()
        while chunk := os.read(process.stdout.fileno(), 4096):
            said += chunk
            if keys and after.encode() in said:
                process.stdin.write(keys.encode())
                process.stdin.flush()
                keys = ""
        guard.cancel()
    return said.decode("utf-8", "replace").replace("\r", "")


def run(*argv: str, input: str | None = None) -> None:
    subprocess.run(argv, input=input, text=True, check=True, capture_output=True)
