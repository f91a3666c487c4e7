"""What a root file system is, looked at before it becomes an image: its version, its architecture, whether it boots.

Source: os-release(5); ELF header e_machine (elf(5)); Documentation/x86/boot.rst and arm64/booting.rst of Linux.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from pathlib import Path

from treebuilder.device.cosfiles import parse_variables
from treebuilder.errors import UpdateRefused
from treebuilder.records import record
from treebuilder.system.inside import resolve

KERNEL, INITRD = "boot/vmlinuz", "boot/initrd"  # os-and-ota 4.4: what bootargs.cfg of an image names
_PROGRAMS = ("bin/sh", "usr/bin/dash", "usr/bin/bash", "usr/bin/busybox", "bin/busybox", "usr/bin/env")
_MACHINES = {3: "386", 40: "arm", 62: "amd64", 183: "arm64", 243: "riscv64", 21: "ppc64le", 22: "s390x"}
_HERE = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


@record
class Contents:
    """`version`: of the operating system, "" where it does not say. `architecture` in Go's words, "" where unknown.

    `lacking`: what it would need to boot, as paths.
    """

    version: str
    architecture: str
    lacking: tuple[str, ...]


def examine(root: Path) -> Contents:
    """Looks at a folder; no link leads out of it."""
    lacking = tuple(name for name in (KERNEL, INITRD) if not _is_file(root, name))
    return Contents(version_of(os_release(root)), _architecture(root), lacking)


def os_release(root: Path) -> Mapping[str, str]:
    """The variables of os-release(5); empty where there is none."""
    for name in ("etc/os-release", "usr/lib/os-release"):
        path = resolve(root, name)
        if path is not None and path.is_file():
            return parse_variables(path.read_text(encoding="utf-8", errors="replace"), str(path)).values
    return {}


def version_of(variables: Mapping[str, str]) -> str:
    """The version of the image, else that of the distribution."""
    return variables.get("IMAGE_VERSION") or variables.get("VERSION_ID") or ""


def machine() -> str:
    """This machine's architecture, in Go's words."""
    name = os.uname().machine
    return _HERE.get(name, name)


def require_bootable(found: Contents, what: str, here: str = "") -> None:
    """Raises UpdateRefused (reasons "architecture", "no-kernel")."""
    require_architecture(found.architecture, what, here)
    if found.lacking:
        names = " and ".join(f"/{name}" for name in found.lacking)
        raise UpdateRefused(
            f"{what} cannot boot: it has no {names}", reason="no-kernel",
            hint="the boot loader takes kernel and initrd out of the image",
        )  # fmt: skip


def require_architecture(architecture: str, what: str, here: str = "") -> None:
    """Raises UpdateRefused (reason "architecture"). What is not known is no ground to refuse."""
    ours = here or machine()
    if architecture not in ("", ours):
        raise UpdateRefused(f"{what} is for {architecture}, and this machine is {ours}", reason="architecture")


def _is_file(root: Path, name: str) -> bool:
    path = resolve(root, name)
    return path is not None and path.is_file()


def _architecture(root: Path) -> str:
    for name in (*_PROGRAMS, KERNEL):
        path = resolve(root, name)
        if path is not None and path.is_file():
            with path.open("rb") as source:
                found = architecture_of(source.read(1024))
            if found:
                return found
    return ""


def architecture_of(head: bytes) -> str:
    """Of a program or a kernel, by its first 1024 bytes; "" for anything else."""
    if head[:4] == b"\x7fELF" and len(head) >= 20 and head[5] in (1, 2):
        number = struct.unpack_from("<H" if head[5] == 1 else ">H", head, 18)[0]
        return _MACHINES.get(number, f"ELF machine {number}")
    if head[0x202:0x206] == b"HdrS":
        return "amd64"
    if head[0x38:0x3C] == b"ARM\x64":
        return "arm64"
    return ""
