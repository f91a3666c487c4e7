"""Does KVM work here? There are machines where /dev/kvm opens and every guest hangs or crashes, or where each step of
it is played by another hypervisor and pure emulation is faster. So a tiny guest is run, and has to be quick."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from treebuilder.errors import ToolFailed
from treebuilder.system.process import Cancel, require, run

_PROBE_LIMIT_S = 3.0  # the probe takes 0.2 s by emulation
_EXIT_VALUE = 0x15
_EXIT_STATUS = (_EXIT_VALUE << 1) | 1  # how isa-debug-exit tells what the guest wrote

# A boot sector. It does a bit of what real systems do (memory, a counted loop) and writes one byte to QEMU's exit
# port:  xor ax,ax; mov ds,ax; mov ss,ax; mov sp,0x7c00; mov cx,0xffff; inc word [0x600]; loop -6; mov al,0x15;
# out 0xf4,al; cli; hlt; jmp -3
_CODE = bytes.fromhex("31c0 8ed8 8ed0 bc007c b9ffff ff060006 e2fa b015 e6f4 fa f4 ebfd")
_SECTOR = _CODE.ljust(510, b"\0") + b"\x55\xaa"


def cpu_model(accel: str) -> str:
    """The processor a guest sees: the host's own where it runs on it, else all that QEMU can play."""
    return "host" if accel == "kvm" else "max"


def accelerator_works(name: str, cancel: Cancel) -> bool:
    """True when a guest of 512 bytes runs to its end under `-accel NAME` within a few seconds.

    Raises MissingProgram, Cancelled.
    """
    qemu = require("qemu-system-x86_64", "to boot an image")
    if name == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    with tempfile.TemporaryDirectory(prefix="treebuild-vm-") as folder:
        sector = Path(folder, "sector")
        sector.write_bytes(_SECTOR)
        argv = [
            qemu, "-accel", name, "-cpu", cpu_model(name), "-m", "16", "-display", "none", "-serial", "none",
            "-monitor", "none", "-nodefaults", "-no-user-config", "-no-reboot",
            "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04",
            "-drive", f"file={sector},format=raw,if=ide,snapshot=on",
        ]  # fmt: skip
        try:
            return run(argv, check=False, timeout_s=_PROBE_LIMIT_S, cancel=cancel).status == _EXIT_STATUS
        except ToolFailed:
            return False


def choose_accelerator(wanted: str, cancel: Cancel) -> str:
    """`auto` becomes kvm where it works and tcg elsewhere; anything else stays as it is."""
    if wanted != "auto":
        return wanted
    return "kvm" if accelerator_works("kvm", cancel) else "tcg"
