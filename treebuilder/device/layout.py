"""Which partitions a device has, how large and where: pure. Sizes are in MiB, the first partition begins at 1 MiB.

Order, labels and names are those of elemental and cOS. A table is GPT or MS-DOS; the latter has room for what a BIOS
needs (it starts what stands before the first partition), and no more than four partitions.
Source: os-and-ota facts 4.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from treebuilder.device import places
from treebuilder.device.workfolder import TIMES
from treebuilder.errors import ConfigError, NoSpace
from treebuilder.records import record

ESP_MIB, BIOS_MIB, OEM_MIB = 64, 1, 64
MIN_STATE_MIB, MIN_RECOVERY_MIB, MIN_OEM_MIB, MIN_ESP_MIB, MIN_PERSISTENT_MIB = 256, 128, 8, 34, 64
LARGE_STATE_MIB, LARGE_RECOVERY_MIB = 8192, 4096  # what a large disk gives by itself
MSDOS_LIMIT_MIB = 2 << 20  # 2 TiB: a table of MS-DOS cannot say more
LEAD_MIB, TAIL_MIB = 1, 1


class Firmware(StrEnum):
    BIOS = "bios"
    EFI = "efi"


class Table(StrEnum):
    GPT = "gpt"
    MSDOS = "msdos"


@record
class Sizes:
    """Wishes in MiB. `state` and `recovery`: None is what image and disk suggest. `persistent`: 0 is the rest."""

    efi: int = ESP_MIB
    oem: int = OEM_MIB
    state: int | None = None
    recovery: int | None = None
    persistent: int = 0


@record
class Partition:
    """`name` is that of GPT, `filesystem` ext4, vfat or "" (raw). The last one ends where the disk does: `rest`."""

    number: int
    name: str
    label: str
    filesystem: str
    start_mib: int
    size_mib: int
    rest: bool = False


@record
class Layout:
    firmware: Firmware
    table: Table
    partitions: tuple[Partition, ...]

    def labelled(self, label: str) -> Partition:
        """The partition with a label, which has to be there."""
        return next(partition for partition in self.partitions if partition.label == label)


def plan(firmware: Firmware, table: Table | None, sizes: Sizes, *, disk_mib: int, image_mib: int) -> Layout:
    """All partitions of a disk. `table` None: GPT for EFI and large disks, else MS-DOS, which every BIOS starts from.

    Raises NoSpace (the disk is too small, with what is needed), ConfigError (a size or a table that cannot be).
    """
    if table is None:
        table = Table.GPT if firmware is Firmware.EFI or disk_mib > MSDOS_LIMIT_MIB else Table.MSDOS
    if table is Table.MSDOS and firmware is Firmware.EFI:
        raise ConfigError("a machine with EFI needs a GPT", reason="bad-layout", hint="leave the table out, or say gpt")
    if table is Table.MSDOS and disk_mib > MSDOS_LIMIT_MIB:
        raise ConfigError("a table of MS-DOS ends at 2 TiB", reason="bad-layout", hint="say gpt")
    wanted = _wanted(firmware, table, sizes, disk_mib, image_mib)
    _check_minima(wanted, image_mib)
    needed = LEAD_MIB + sum(size or MIN_PERSISTENT_MIB for *_, size in wanted) + TAIL_MIB
    if needed > disk_mib:
        parts = ", ".join(f"{name} {size or MIN_PERSISTENT_MIB}" for name, _, _, size in wanted)
        raise NoSpace(
            f"the disk has {disk_mib} MiB and {needed} are needed ({parts})",
            hint="take a larger disk, or smaller sizes; nothing was changed",
        )
    made, start = [], LEAD_MIB
    for number, (name, label, filesystem, size) in enumerate(wanted, 1):
        real = size or disk_mib - start - TAIL_MIB
        made.append(Partition(number, name, label, filesystem, start, real, rest=size == 0))
        start += real
    return Layout(firmware, table, tuple(made))


def upgrades_lack_mib(sizes: Mapping[str, int], image_mib: int) -> int:
    """How many MiB neither COS_PERSISTENT nor what is free of COS_STATE has, to bring and unpack a version in; 0 if one
    of them has enough. `sizes` of partitions by label."""
    spare = sizes.get(places.STATE, 0) - least_mib(places.STATE, image_mib)
    return max(0, TIMES * image_mib - max(sizes.get(places.PERSISTENT, 0) * 15 // 16, spare))


def sfdisk_script(layout: Layout) -> str:
    """What sfdisk reads. Sizes are in MiB, so that the sectors of a disk may have any size."""
    gpt = layout.table is Table.GPT
    lines = [f"label: {'gpt' if gpt else 'dos'}"]
    for part in layout.partitions:
        words = [f"start={part.start_mib}MiB"]
        if not part.rest:
            words.append(f"size={part.size_mib}MiB")
        words.append(f"type={_GPT_TYPES.get(part.name, _LINUX) if gpt else '83'}")
        if gpt:
            words.append(f'name="{part.name}"')
        elif part.label == places.STATE:
            words.append("bootable")
        lines.append(", ".join(words))
    return "\n".join(lines) + "\n"


def node(disk: str, number: int) -> str:
    """The device node of a partition: /dev/sda1, /dev/vda1, /dev/nvme0n1p1, /dev/mmcblk0p1."""
    return f"{disk}p{number}" if disk[-1:].isdigit() else f"{disk}{number}"


_LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
_GPT_TYPES = {"efi": "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "bios": "21686148-6449-6E6F-744E-656564454649"}
_MINIMA = {places.GRUB: MIN_ESP_MIB, places.OEM: MIN_OEM_MIB, places.PERSISTENT: MIN_PERSISTENT_MIB}


def loader_part(firmware: Firmware, efi_mib: int) -> tuple[str, str, str, int]:
    """Name, label, file system and size of the partition that the boot loader needs on a GPT."""
    return ("efi", places.GRUB, "vfat", efi_mib) if firmware is Firmware.EFI else ("bios", "", "", BIOS_MIB)


def _wanted(
    firmware: Firmware, table: Table, sizes: Sizes, disk_mib: int, image_mib: int
) -> list[tuple[str, str, str, int]]:
    """Name, label, file system and size of each, in order."""
    # Active, passive, one that is written, and room for the next one to have grown; recovery: the old and the new one.
    least_state, least_recovery = 4 * image_mib + MIN_STATE_MIB, 3 * image_mib + MIN_RECOVERY_MIB
    state = sizes.state if sizes.state is not None else max(least_state, min(LARGE_STATE_MIB, disk_mib // 3))
    recovery = sizes.recovery
    if recovery is None:
        recovery = max(least_recovery, min(LARGE_RECOVERY_MIB, disk_mib // 6))
    first = loader_part(firmware, sizes.efi)
    return [
        *([first] if firmware is Firmware.EFI or table is Table.GPT else []),
        *((places.PARTITION_NAMES[label], label, "ext4", size) for label, size in (
            (places.OEM, sizes.oem), (places.RECOVERY, recovery), (places.STATE, state),
            (places.PERSISTENT, sizes.persistent),
        )),
    ]  # fmt: skip


def least_mib(label: str, image_mib: int) -> int:
    """What a partition with this label must have for images of a size; 0 for a label that is no system's."""
    # Three images while an upgrade is written, and two of recovery; a twelfth for the file system itself.
    images = {places.STATE: 3, places.RECOVERY: 2}.get(label)
    return _MINIMA.get(label, 0) if images is None else images * image_mib * 13 // 12 + 32


def _check_minima(wanted: list[tuple[str, str, str, int]], image_mib: int) -> None:
    for name, label, _, size in wanted:
        least = least_mib(label, image_mib)
        if size < 0 or (size < least and not (name == "persistent" and size == 0)):
            raise ConfigError(
                f"the partition {name} cannot have {size} MiB: it needs {least} or more", reason="bad-layout"
            )
