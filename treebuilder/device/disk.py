"""A disk of this machine: looked at, partitioned, formatted, mounted. The kernel's names; nothing is guessed by label.

Partitions are always looked for on one disk, so that another disk with equal labels changes nothing.
"""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from treebuilder.device.layout import Layout, Partition, node, sfdisk_script
from treebuilder.errors import ConfigError, ToolFailed, TreebuildError
from treebuilder.records import record
from treebuilder.system.clock import monotonic_s, sleep
from treebuilder.system.process import Cancel, require, run

_APPEAR_S = 30.0
_POLL_S = 0.1
# GRUB 2.06 does not read a file system whose checksums have a seed of their own (e2fsprogs 1.47 makes such ones).
_EXT4 = ("-q", "-F", "-O", "^metadata_csum_seed", "-E", "nodiscard")


@record
class Disk:
    """A whole disk: its node, with links followed, and its size."""

    node: str
    size_bytes: int

    @property
    def size_mib(self) -> int:
        return self.size_bytes >> 20


@record
class Found:
    """A partition that is there. `uuid` is that of the file system, `name` stands in the table; "" where blkid finds
    none."""

    node: str
    number: int
    label: str
    uuid: str
    filesystem: str
    name: str = ""


def examine(path: str) -> Disk:
    """The disk at a path (links such as /dev/disk/by-id/... are followed).

    Raises ConfigError: no-disk, not-a-disk (a file, a partition), disk-read-only.
    """
    real = os.path.realpath(path)
    try:
        info = os.stat(real)
    except OSError as err:
        raise ConfigError(
            f"there is no disk {path}: {err.strerror}", reason="no-disk", hint="lsblk shows the disks of this machine"
        ) from err
    if not stat.S_ISBLK(info.st_mode):
        raise ConfigError(f"{path} is no disk", reason="not-a-disk", hint="lsblk shows the disks of this machine")
    folder = _folder(info.st_rdev)
    if (folder / "partition").exists():
        raise ConfigError(
            f"{path} is a partition, and a whole disk is needed", reason="not-a-disk",
            hint=f"the disk is /dev/{folder.parent.name}",
        )  # fmt: skip
    unfit = cannot_be_parted(folder)
    if unfit:
        raise ConfigError(f"{path} cannot be partitioned: {unfit}", reason="not-a-disk", hint="name the disk itself")
    if _number(folder / "ro"):
        raise ConfigError(f"{path} cannot be written", reason="disk-read-only")
    return Disk(real, _number(folder / "size") * 512)


def cannot_be_parted(folder: Path) -> str:
    """Why the kernel shows no partitions of what sysfs has in `folder`; "" where it does."""
    if (folder / "dm").is_dir():
        return "it is made by the device mapper (LVM, multipath, encryption)"
    partscan = folder / "loop" / "partscan"
    if partscan.is_file() and not _number(partscan):
        return "it is a loop that shows no partitions (losetup --partscan)"
    return ""


def refuse_used(disk: Disk) -> None:
    """Raises ConfigError (disk-in-use) when something of the disk is mounted, swapped to, or part of another device."""
    mounts = _mounts()
    for path in (disk.node, *(found for found, _ in _nodes(disk))):
        place = mounts.get(os.stat(path).st_rdev)
        if place is not None:
            raise _used(disk, f"{path} is mounted at {place}")
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
        except OSError as err:
            if err.errno == errno.EBUSY:
                raise _used(disk, f"{path} is mounted, or part of something") from err
            raise TreebuildError(f"{path} cannot be opened: {err.strerror}", reason="permission") from err


def partitions(disk: Disk) -> tuple[Found, ...]:
    """What is on this disk and on no other, by number. Read from the disk, not from what udev remembers."""
    return tuple(identify(path, number) for path, number in _nodes(disk))


def identify(path: str, number: int = 0) -> Found:
    """What blkid finds at a node."""
    # 2: nothing was found; 8: two things were found, and neither can be trusted
    done = run([require("blkid", "to look at a disk"), "-p", "-o", "export", path], check=False)
    if done.status not in (0, 2, 8):
        raise ToolFailed(f"blkid failed with exit code {done.status}", exit_status=done.status, tail=done.tail)
    said = dict(line.split("=", 1) for line in done.stdout.decode("utf-8", "replace").splitlines() if "=" in line)
    texts = [said.get(key, "") for key in ("LABEL", "UUID", "TYPE", "PART_ENTRY_NAME")]
    return Found(path, number, *texts)


def size_mib(path: str) -> int:
    """Of a disk or a partition."""
    return _number(_folder(os.stat(path).st_rdev) / "size") * 512 >> 20


def disk_of(path: str) -> Disk:
    """The disk that a partition lies on. Raises ConfigError (not-a-disk)."""
    info = os.stat(path)
    folder = _folder(info.st_rdev) if stat.S_ISBLK(info.st_mode) else None
    if folder is None or not (folder / "partition").exists():
        raise ConfigError(f"{path} is no partition", reason="not-a-disk")
    return examine(f"/dev/{folder.parent.name}")


def partition(disk: Disk, layout: Layout, *, cancel: Cancel) -> None:
    """Writes the table; all that was on the disk is gone. Returns when the kernel has the partitions.

    Raises ToolFailed, MissingProgram.
    """
    wipe = require("wipefs", "to install to a disk")
    for path, _ in reversed(_nodes(disk)):
        run([wipe, "--all", "--force", "--quiet", path], cancel=cancel)
    run([wipe, "--all", "--force", "--quiet", disk.node], cancel=cancel)
    argv = [require("sfdisk", "to install to a disk"), "--quiet", "--wipe", "always", "--wipe-partitions", "always"]
    run([*argv, disk.node], input=sfdisk_script(layout).encode(), cancel=cancel)
    until = monotonic_s() + _APPEAR_S
    missing = [node(disk.node, part.number) for part in layout.partitions]
    while missing := [path for path in missing if not os.path.exists(path)]:
        if monotonic_s() > until:
            raise TreebuildError(
                f"the partitions were made, and {missing[0]} did not appear", reason="no-partition",
                hint="start the machine again, and install again",
            )  # fmt: skip
        sleep(_POLL_S)


def format_partition(disk: Disk, part: Partition, *, cancel: Cancel) -> Found:
    """Makes the file system of a partition, with a UUID of its own. A raw one is left alone."""
    path = node(disk.node, part.number)
    match part.filesystem:
        case "ext4":
            return Found(path, part.number, part.label, make_ext4(path, part.label, cancel), "ext4")
        case "vfat":
            id = f"{uuid.uuid4().time_low:08X}"
            program = require("mkfs.vfat", "to install to a disk")
            run([program, "-F", "32", "-n", part.label, "-i", id, path], cancel=cancel)
            return Found(path, part.number, part.label, f"{id[:4]}-{id[4:]}", "vfat")
        case _:
            return Found(path, part.number, "", "", "")


def make_ext4(path: str, label: str, cancel: Cancel | None = None) -> str:
    """A file system that GRUB reads, in the place of what is there; its UUID. Raises ToolFailed, MissingProgram."""
    unique = str(uuid.uuid4())
    run([require("mkfs.ext4", "to make a file system"), *_EXT4, "-L", label, "-U", unique, path], cancel=cancel)
    return unique


@contextmanager
def mounted(found: Found, folder: Path, options: str = "rw") -> Iterator[Path]:
    """A partition at `folder`, which is made, and gone in the end. Raises ToolFailed."""
    folder.mkdir()
    try:
        mount = [require("mount", "to install to a disk"), "-t", found.filesystem or "auto", "-o", options]
        run([*mount, found.node, folder])
        try:
            yield folder
        finally:
            run([require("umount", "to install to a disk"), folder])
    finally:
        folder.rmdir()


def _used(disk: Disk, why: str) -> ConfigError:
    return ConfigError(
        f"{disk.node} is in use: {why}", reason="disk-in-use",
        hint="unmount it (lsblk shows where), or take another disk; nothing was changed",
    )  # fmt: skip


def _mounts() -> dict[int, str]:
    """Mount points that we see, by device."""
    found = {}
    for line in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines():
        words = line.split()
        major, minor = words[2].split(":")
        found[os.makedev(int(major), int(minor))] = words[4]
    return found


def _folder(device: int) -> Path:
    """What sysfs says of a device, at its real place: that of a partition is below its disk's."""
    return Path(os.path.realpath(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}"))


def _nodes(disk: Disk) -> list[tuple[str, int]]:
    folder = _folder(os.stat(disk.node).st_rdev)
    found = [(f"/dev/{entry.parent.name}", _number(entry)) for entry in folder.glob("*/partition")]
    return sorted(found, key=lambda pair: pair[1])


def _number(path: Path) -> int:
    return int(path.read_text())
