"""Which programs of the host are there, which are missing, and the Debian package that brings each."""

from __future__ import annotations

from treebuilder.errors import MissingProgram
from treebuilder.records import record
from treebuilder.system.process import PACKAGES, which
from treebuilder.vm.firmware import find_uefi

_USES = {
    "bwrap": "run containers", "mmdebstrap": "bootstrap Debian bases", "apt-get": "resolve Debian bases",
    "dpkg-deb": "read Debian packages", "mksquashfs": "make root images", "xorriso": "make ISOs",
    "mkfs.vfat": "make EFI partitions", "mcopy": "fill EFI partitions", "mmd": "fill EFI partitions",
    "qemu-system-x86_64": "boot images", "newuidmap": "work without root", "unshare": "work without root",
}  # fmt: skip


@record
class Finding:
    program: str
    use: str
    path: str
    package: str


def examine() -> tuple[Finding, ...]:
    """One finding a program, sorted by what it is for."""
    found = [Finding(p, use, which(p) or "", PACKAGES.get(p, p)) for p, use in _USES.items()]
    found.append(Finding("OVMF", "boot images by UEFI", _firmware(), "ovmf"))
    return tuple(sorted(found, key=lambda f: (f.use, f.program)))


def _firmware() -> str:
    try:
        return str(find_uefi().code)
    except MissingProgram:
        return ""
