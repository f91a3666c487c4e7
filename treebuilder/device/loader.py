"""Puts GRUB onto a disk: for a BIOS by grub-install, for EFI as the file that every firmware starts by itself.

Nothing is written into the firmware's variables: a disk that is moved to another machine starts there too.
"""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

from treebuilder.device import places
from treebuilder.device.disk import Disk, Found
from treebuilder.device.grubcfg import GrubConfig, grub_cfg, stub_cfg
from treebuilder.device.layout import Firmware
from treebuilder.errors import ConfigError, MissingProgram
from treebuilder.events import EventSink, LogLine
from treebuilder.records import record
from treebuilder.system.files import disk_errors, write_atomic
from treebuilder.system.process import Cancel, require, run

_LIBRARY = Path("/usr/lib/grub")
_EFI = {"x86_64": ("x86_64-efi", "BOOTX64.EFI"), "aarch64": ("arm64-efi", "BOOTAA64.EFI")}
_BIOS = "i386-pc"
# What grub.cfg uses, so that a damaged folder of modules does not matter.
_MODULES = (
    "normal", "configfile", "part_gpt", "part_msdos", "fat", "ext2", "search", "search_fs_uuid", "search_label",
    "regexp", "loopback", "squash4", "gzio", "xzio", "lzopio", "loadenv", "probe", "test", "true", "echo", "linux",
    "boot", "halt", "reboot", "serial", "terminal", "gfxterm", "all_video", "sleep", "ls", "cat", "help",
)  # fmt: skip


@record
class Menu:
    title: str
    tty: str
    timeout_s: int


def require_programs(firmware: Firmware) -> None:
    """Raises MissingProgram (or ConfigError for a processor we know no loader of) before a disk is touched."""
    if firmware is Firmware.EFI:
        target, _ = _efi()
        require("grub-mkimage", "to install the boot loader")
        require("mkfs.vfat", "to install to a disk")
    else:
        target = _BIOS
        require("grub-install", "to install the boot loader")
    if not (_LIBRARY / target).is_dir():
        package = "grub-pc-bin" if target == _BIOS else "grub-efi-amd64-bin"
        raise MissingProgram(f"GRUB for {target} is not installed", hint=f"apt-get install {package}")


def install(
    disk: Disk, firmware: Firmware, parts: dict[str, Found], mounts: dict[str, Path], menu: Menu, *,
    events: EventSink, cancel: Cancel,
) -> None:  # fmt: skip
    """GRUB, its modules and grub.cfg. `parts` and `mounts` are by label. Raises ToolFailed, NoSpace."""
    state = mounts[places.STATE]
    ours, other = (state / name for name in places.GRUB_FOLDERS)
    with disk_errors(f"making {ours}"):
        ours.mkdir(exist_ok=True)
        if not other.is_symlink() and not other.exists():
            other.symlink_to(ours.name)
    state_uuid, recovery_uuid, oem_uuid = (parts[name].uuid for name in (places.STATE, places.RECOVERY, places.OEM))
    config = GrubConfig(
        state_uuid, recovery_uuid, oem_uuid, tty=menu.tty, title=menu.title, timeout_s=menu.timeout_s
    )  # fmt: skip
    write_atomic(ours / "grub.cfg", grub_cfg(config).encode())
    if firmware is Firmware.EFI:
        _install_efi(mounts[places.GRUB], ours, config, events, cancel)
    else:
        _install_bios(disk, state, events, cancel)


def _install_bios(disk: Disk, state: Path, events: EventSink, cancel: Cancel) -> None:
    argv = [
        require("grub-install", "to install the boot loader"), f"--target={_BIOS}", f"--boot-directory={state}",
        f"--modules={' '.join(('biosdisk', *_MODULES))}", "--no-floppy", disk.node,
    ]  # fmt: skip
    run(argv, on_line=lambda line: events.emit(LogLine("install: install the boot loader", line)), cancel=cancel)


def _install_efi(esp: Path, modules: Path, config: GrubConfig, events: EventSink, cancel: Cancel) -> None:
    target, name = _efi()
    folder = esp / "EFI" / "BOOT"
    with disk_errors(f"writing {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copytree(_LIBRARY / target, modules / target, ignore=_not_modules, dirs_exist_ok=True)
    stub = folder / "grub.cfg"
    _write_vfat(stub, stub_cfg(config.state_uuid).encode())
    part = folder / f"{name}.new"
    argv = [
        require("grub-mkimage", "to install the boot loader"), "-O", target, "-p", "/EFI/BOOT", "-c", str(stub),
        "-o", str(part), *_MODULES, "efi_gop",
    ]  # fmt: skip
    run(argv, on_line=lambda line: events.emit(LogLine("install: install the boot loader", line)), cancel=cancel)
    with disk_errors(f"writing {folder}"):
        with part.open("rb") as made:
            os.fsync(made.fileno())
        part.replace(folder / name)


def _write_vfat(path: Path, data: bytes) -> None:
    with disk_errors(f"writing {path}"), path.open("wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())


def _not_modules(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if not name.endswith((".mod", ".lst"))}


def _efi() -> tuple[str, str]:
    machine = platform.machine()
    if machine not in _EFI:
        raise ConfigError(f"no boot loader is known for {machine} with EFI", reason="bad-firmware")
    return _EFI[machine]
