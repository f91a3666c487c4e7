"""UEFI firmware for QEMU, wherever the distribution put it."""

from __future__ import annotations

from pathlib import Path

from treebuilder.errors import MissingProgram
from treebuilder.records import record

# Code and variables that belong together; the larger flash first, it is the one that is still maintained.
_PLACES = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/qemu/edk2-x86_64-code.fd", "/usr/share/qemu/edk2-i386-vars.fd"),
)


@record
class Firmware:
    """Read-only code, and a template of the variables that each machine gets a copy of."""

    code: Path
    variables: Path


def find_uefi(places: tuple[tuple[str, str], ...] = _PLACES) -> Firmware:
    """The first firmware that is there. Raises MissingProgram."""
    for code, variables in places:
        if Path(code).is_file() and Path(variables).is_file():
            return Firmware(Path(code), Path(variables))
    raise MissingProgram("no UEFI firmware for QEMU was found", hint="apt-get install ovmf")
