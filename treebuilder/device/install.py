"""Installs an image to a disk: partitions, slots, boot loader, cloud-config. All is checked before a byte is written.

One file serves as active and passive, by two links; recovery has a file of its own, on a partition of its own. The boot
loader comes last: a disk whose installation was cut does not start, instead of starting halfway.
Source: os-and-ota facts 5.2, 5.6.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from treebuilder.device import disk as disks
from treebuilder.device import given_configs, loader, own_layout, places
from treebuilder.device import layout as layouts
from treebuilder.device.disk import Disk, Found
from treebuilder.device.grubenv import GrubControl, encode
from treebuilder.device.imagefile import check_image
from treebuilder.device.journal import Journal
from treebuilder.device.layout import Firmware, Layout, Sizes, Table
from treebuilder.device.slots import Origin, Slots, Source, check_version
from treebuilder.device.statefile import StateFile
from treebuilder.device.states import Device, Image, Memory, Pointer, Purpose, Slot
from treebuilder.device.upgrade import image_of
from treebuilder.errors import ConfigError, TreebuildError
from treebuilder.events import EventSink, Finished, Started, Warned
from treebuilder.records import record
from treebuilder.system.clock import monotonic_s
from treebuilder.system.files import write_atomic
from treebuilder.system.process import Cancel, require

_WORK = Path("/run")


@record
class InstallOptions:
    """What to install where. `image` is a file as it was published, `recovery` another one (None: the same).

    `firmware` and `table` None: what this machine has, and what fits it. `cloud_configs` go to COS_OEM. `format` False
    keeps the partitions that are there, with all that is on them; `force` takes a disk that holds a system already.
    `tty` is one more console (ttyS1); `title` is that of the boot menu. `own_layout` is a cloud-config file whose stage
    `partitioning` says the partitions, instead of `sizes`. The origins are those of `image` and `recovery`.
    """

    disk: str
    image: Path
    version: str
    recovery: Path | None = None
    recovery_version: str = ""
    firmware: Firmware | None = None
    table: Table | None = None
    sizes: Sizes = Sizes()
    cloud_configs: tuple[Path, ...] = ()
    format: bool = True
    force: bool = False
    tty: str = ""
    title: str = "cOS"
    timeout_s: int = 5
    own_layout: Path | None = None
    origin: Origin = Origin()
    recovery_origin: Origin = Origin()


@record
class Installed:
    """What is on the disk now. `partitions` are those with a label."""

    disk: Disk
    firmware: Firmware
    partitions: tuple[Found, ...]
    image: Image
    recovery: Image


def detect_firmware() -> Firmware:
    """What this machine was started by."""
    return Firmware.EFI if os.path.isdir("/sys/firmware/efi") else Firmware.BIOS


def install(options: InstallOptions, *, events: EventSink, cancel: Cancel) -> Installed:
    """Does it all; what was mounted is unmounted, also after an error.

    Raises ConfigError (no-disk, not-a-disk, disk-in-use, bad-image, bad-layout, already-installed, ...), NoSpace,
    IntegrityError, MissingProgram, ToolFailed, Cancelled. Before the table is written nothing has changed.
    """
    firmware = options.firmware or detect_firmware()
    disk = check_target(options.disk)
    configs = given_configs.read(options.cloud_configs, events)
    _check(options)
    loader.require_programs(firmware)
    with _step(events, "read the image"):
        image = image_of(options.image, options.version)
        recovery, recovery_path = image, options.image
        if options.recovery is not None:
            recovery_path = options.recovery
            recovery = image_of(recovery_path, options.recovery_version or options.version)
    before = disks.partitions(disk)
    largest_mib = -(-max(options.image.stat().st_size, recovery_path.stat().st_size) >> 20)
    if options.own_layout is not None:
        made = own_layout.first_partition(firmware, options.sizes.efi)
        own = own_layout.checked(options.own_layout, disk, made, largest_mib, events)
        _refuse_installed(before, options)
        _make_partitions(disk, made, events, cancel)
        with _step(events, "make the owner's partitions"), _lost(disk):
            own_layout.add(own)
        parts = _existing(disk, firmware, disks.partitions(disk))
    elif options.format:
        made = layouts.plan(firmware, options.table, options.sizes, disk_mib=disk.size_mib, image_mib=largest_mib)
        _refuse_installed(before, options)
        parts = _make_partitions(disk, made, events, cancel)
    else:
        parts = _existing(disk, firmware, before)
    _warn_of_room(parts, largest_mib, events)
    with _mounted(parts) as mounts:
        if not options.format:
            _refuse_slots(mounts, options)
        cancel.check()
        _write_images(mounts, (image, options.image), (recovery, recovery_path), events)
        origins = {recovery.digest: options.recovery_origin, image.digest: options.origin}
        device = Device(image, image, recovery)
        StateFile(mounts[places.STATE], mounts[places.RECOVERY]).write(device, origins, efi=firmware is Firmware.EFI)
        cancel.check()
        _write_owner(mounts, configs, options)
        with _step(events, "install the boot loader"):
            loader.install(disk, firmware, parts, mounts, loader.Menu(options.title, options.tty, options.timeout_s),
                           events=events, cancel=cancel)  # fmt: skip
        os.sync()
    return Installed(disk, firmware, tuple(parts.values()), image, recovery)


def check_target(path: str) -> Disk:
    """The disk at a path. Raises ConfigError (no-disk, not-a-disk, disk-read-only, disk-in-use)."""
    disk = disks.examine(path)
    disks.refuse_used(disk)
    return disk


def _warn_of_room(parts: Mapping[str, Found], image_mib: int, events: EventSink) -> None:
    lacking = layouts.upgrades_lack_mib({label: disks.size_mib(part.node) for label, part in parts.items()}, image_mib)
    if lacking:
        events.emit(
            Warned(
                f"upgrades by a channel, a package or a container image will lack {lacking} MiB to work in on "
                f"{places.PERSISTENT}",
                hint="a larger disk, a smaller image, or smaller sizes of the other partitions; image files need less",
            )
        )


# before anything is changed -------------------------------------------------------------------------------------------
def _check(options: InstallOptions) -> None:
    for name in ("wipefs", "sfdisk", "mkfs.ext4", "blkid", "mount", "umount"):
        require(name, "to install to a disk")
    for path, version in ((options.image, options.version), (options.recovery, options.recovery_version)):
        if path is not None:
            check_image(path)
            check_version(version or options.version)
    if options.own_layout is not None and (options.table is Table.MSDOS or not options.format):
        raise ConfigError(
            "partitions of one's own need a GPT that is made anew", reason="bad-layout",
            hint="leave --part-table and --no-format out",
        )  # fmt: skip
    check_menu(options.title, options.tty)


def check_menu(title: str, tty: str) -> None:
    """Raises ConfigError (bad-title, bad-tty) for what GRUB's files cannot hold."""
    try:
        _menu_block(title)
    except TreebuildError as err:
        raise ConfigError(
            "the title of the boot menu is too long", reason="bad-title", hint="--title, or GRUB_ENTRY_NAME"
        ) from err
    if not all(char.isalnum() or char == "," for char in tty):
        raise ConfigError(f"{tty!r} is no console", reason="bad-tty", hint="such as ttyS1 or ttyS1,115200")


def _refuse_installed(found: tuple[Found, ...], options: InstallOptions) -> None:
    if not options.force and any(part.label == places.STATE for part in found):
        raise ConfigError(
            f"{options.disk} holds a system already", reason="already-installed",
            hint="--force installs all the same, and everything on the disk is lost",
        )  # fmt: skip


def _refuse_slots(mounts: dict[str, Path], options: InstallOptions) -> None:
    there = (mounts[places.STATE] / places.SLOT_FOLDER).exists()
    if there and not options.force:
        raise ConfigError(
            f"{options.disk} holds a system already", reason="already-installed",
            hint="--force installs over it; what is on COS_OEM and COS_PERSISTENT stays",
        )  # fmt: skip


# one step after the other ---------------------------------------------------------------------------------------------
def _make_partitions(disk: Disk, made: Layout, events: EventSink, cancel: Cancel) -> dict[str, Found]:
    with _step(events, "partition the disk"), _lost(disk):
        disks.partition(disk, made, cancel=cancel)
    with _step(events, "make the file systems"), _lost(disk):
        parts = [disks.format_partition(disk, part, cancel=cancel) for part in made.partitions]
    return {part.label: part for part in parts if part.label}


def _existing(disk: Disk, firmware: Firmware, found: tuple[Found, ...]) -> dict[str, Found]:
    """The partitions of this disk, by label. Each label once."""
    wanted = [places.OEM, places.STATE, places.RECOVERY, places.PERSISTENT]
    if firmware is Firmware.EFI:
        wanted.append(places.GRUB)
    parts: dict[str, Found] = {}
    for part in found:
        if part.label in wanted and part.label in parts:
            raise ConfigError(f"{disk.node} has {part.label} twice", reason="bad-layout")
        if part.label in wanted:
            parts[part.label] = part
    missing = [label for label in wanted if label not in parts]
    if missing:
        raise ConfigError(
            f"{disk.node} has no partition {', '.join(missing)}", reason="bad-layout",
            hint="make the partitions with these labels, or let the disk be formatted",
        )  # fmt: skip
    return parts


@contextmanager
def _mounted(parts: dict[str, Found]) -> Iterator[dict[str, Path]]:
    with ExitStack() as stack:
        top = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="treebuild-install-", dir=_WORK)))
        yield {
            label: stack.enter_context(disks.mounted(part, top / label))
            for label, part in parts.items()
            if label != places.PERSISTENT
        }


def _write_images(
    mounts: dict[str, Path], system: tuple[Image, Path], recovery: tuple[Image, Path], events: EventSink
) -> None:
    slots = Slots(mounts[places.STATE], mounts[places.RECOVERY])
    slots.make()
    for purpose, (image, path) in ((Purpose.UPGRADE, system), (Purpose.RECOVERY, recovery)):
        name = "recovery" if purpose is Purpose.RECOVERY else "the system"
        with _step(events, f"write {name}"):
            slots.write(image, purpose, Source(path))
            if not slots.verify(image, purpose):
                raise TreebuildError(
                    f"{name} is not read back as it was written", reason="verify-failed", hint="the disk may be failing"
                )
    # Installed over an old one: what it planned and what failed there says nothing of this one, and its files go.
    Journal(mounts[places.STATE] / places.SLOT_FOLDER).write(Memory(), None)
    # Recovery first, so that there is always something to start.
    slots.switch(Slot.RECOVERY, recovery[0])
    slots.switch(Slot.PASSIVE, system[0])
    slots.switch(Slot.ACTIVE, system[0])
    GrubControl(mounts[places.STATE] / places.BOOT_BLOCK).write(Pointer())
    slots.clean(frozenset({system[0].digest}), frozenset({recovery[0].digest}))


def _write_owner(mounts: dict[str, Path], configs: list[tuple[str, bytes]], options: InstallOptions) -> None:
    oem, state = mounts[places.OEM], mounts[places.STATE]
    oem.chmod(0o700)
    for name, data in configs:
        write_atomic(oem / name, data, mode=0o600)
    if not (oem / places.OEM_GRUBENV).exists():
        write_atomic(oem / places.OEM_GRUBENV, encode({}))
    write_atomic(state / places.OEM_ENV, _menu_block(options.title))


def _menu_block(title: str) -> bytes:
    labels = {
        "state_label": places.STATE, "recovery_label": places.RECOVERY, "oem_label": places.OEM,
        "persistent_label": places.PERSISTENT,
    }  # fmt: skip
    return encode({"default_menu_entry": title, **labels})


@contextmanager
def _step(events: EventSink, text: str) -> Iterator[None]:
    task, start = f"install: {text}", monotonic_s()
    events.emit(Started(task, text))
    try:
        yield
    except BaseException:
        events.emit(Finished(task, "failed", seconds=monotonic_s() - start))
        raise
    events.emit(Finished(task, "ok", seconds=monotonic_s() - start))


@contextmanager
def _lost(disk: Disk) -> Iterator[None]:
    try:
        yield
    except TreebuildError as err:
        if err.hint is None:
            err.hint = f"{disk.node} was being made anew: what was on it is lost; install again with --force"
        raise
