"""The part of `treebuild device` that installs to a disk: its flags, and what they mean."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.cli.session import Session, positive

if TYPE_CHECKING:
    from treebuilder.app.client_settings import ClientSettings
    from treebuilder.app.device_install import InstallWish

WORK = "/run"  # a live system has nothing that lasts
_SIZES = ("efi", "oem", "state", "recovery", "persistent")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Of an installation; and how a registry is spoken with, wherever an image may come from one."""
    parser.add_argument(
        "--insecure-registry", action="append", default=[], metavar="HOST[:PORT]",
        help="speak plain HTTP to it; signatures are looked at all the same",
    )  # fmt: skip
    group = parser.add_argument_group("install")
    group.add_argument(
        "--cloud-init", action="append", default=[], metavar="FILE", help="for COS_OEM; a file or URL; may be repeated"
    )
    group.add_argument("--firmware", choices=("efi", "bios"), default="", help="default: what this machine has")
    group.add_argument("--part-table", choices=("gpt", "msdos"), default="", help="default: what fits")
    group.add_argument(
        "--partition-layout", default="", metavar="FILE", help="a cloud-config whose stage partitioning says them (GPT)"
    )
    group.add_argument(
        "--iso", default="", metavar="ISO", help="what a live ISO holds: a file, a drive, URL#sha256:DIGEST"
    )
    group.add_argument("--no-format", action="store_true", help="keep the partitions that are there")
    group.add_argument("--tty", default="", metavar="TTY", help="one more console: ttyS1")
    group.add_argument("--title", default="", metavar="NAME", help="of the boot menu's entries")
    for name in _SIZES:
        group.add_argument(f"--{name}-size", type=positive, default=0, metavar="MIB", help=f"of COS_{name.upper()}")


def wish_of(args: argparse.Namespace) -> InstallWish:
    """Raises ConfigError where no disk is named."""
    from treebuilder.app.device_install import InstallWish
    from treebuilder.device.layout import Firmware, Sizes, Table
    from treebuilder.errors import ConfigError

    if not args.words:
        raise ConfigError("device install needs a disk", reason="usage", hint="treebuild device install /dev/vda")
    sized = [f"--{name}-size" for name in _SIZES if getattr(args, f"{name}_size")]
    unused = sized if args.no_format else [flag for flag in sized if flag != "--efi-size" and args.partition_layout]
    if unused:
        said = "--no-format" if args.no_format else "--partition-layout"
        raise ConfigError(f"with {said}, {unused[0]} would do nothing", reason="usage")
    plain = Sizes()
    sizes = Sizes(
        args.efi_size or plain.efi, args.oem_size or plain.oem, args.state_size or plain.state,
        args.recovery_size or plain.recovery, args.persistent_size or plain.persistent,
    )  # fmt: skip
    return InstallWish(
        args.words[0], args.words[1] if len(args.words) > 1 else "", args.version, tuple(args.cloud_init),
        Firmware(args.firmware) if args.firmware else None, Table(args.part_table) if args.part_table else None, sizes,
        not args.no_format, args.force, args.tty, args.title, not args.no_verify, args.strict,
        tuple(args.insecure_registry), args.iso, args.partition_layout, getattr(args, "silence_hooks", False),
    )  # fmt: skip


def unverified(environment: Mapping[str, str], root: Path = Path("/")) -> bool:
    """NO_VERIFY, of the environment or of the live system's files."""
    from treebuilder.device import cosfiles

    return not cosfiles.load(root, environment)[0].verify


def run(wish: InstallWish, settings: ClientSettings, work: str, session: Session, power: str = "") -> None:
    """Installs, and writes the result; then `power` is "reboot", "poweroff" or nothing."""
    from treebuilder.app import device, device_install
    from treebuilder.ui import tables

    done = device_install.run(wish, settings, Path(work or WORK), session.events, session.cancel)
    session.close()
    value = device_install.to_json(done)
    tables.write(value, session.output, f"{done.image.version} is installed on {done.disk.node}")
    if power in ("reboot", "poweroff"):
        device.restart(None, power)
