"""A virtual machine that somebody sits at: a disk that stays, a serial console, commands and their answers."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from treebuilder.system.clock import monotonic_s, sleep
from treebuilder.system.process import kill_group, spawn
from treebuilder.vm.console import Console
from treebuilder.vm.firmware import find_uefi

Firmware = Literal["bios", "efi"]
BOOT_S = 1500.0  # a machine without acceleration beside others
_ARGV = (
    "qemu-system-x86_64 -no-user-config -nodefaults -M q35 -accel tcg,thread=multi -cpu max,-erms,-fsrm -smp 2 -m 2048 "
    "-display none -vga std -monitor none -serial stdio -device virtio-rng-pci -nic user,model=virtio-net-pci"
)


class Recording(Console):
    """A console that can be asked for what was said between two positions."""

    def text(self, start: int, end: int) -> str:
        with self._lock:
            return self._kept[start - self._dropped : end - self._dropped]


class Machine:
    """Runs already. Everything raises AssertionError with the end of the console when it takes too long."""

    def __init__(self, process: subprocess.Popen[bytes], console: Recording) -> None:
        self._process = process
        self._console = console
        self._mark = 0
        self._count = 0

    def wait_for(self, text: str, timeout_s: float = 60) -> None:
        """Goes on behind the next `text`."""
        until = monotonic_s() + timeout_s
        while (at := self._console.find(text, self._mark)) < 0:
            tail = "\n".join(self._console.tail(30))
            assert self._process.poll() is None, f"the machine ended before {text!r}:\n{tail}"
            assert monotonic_s() < until, f"no {text!r} within {timeout_s} s:\n{tail}"
            sleep(0.2)
        self._mark = at

    def log_in(self, timeout_s: float = BOOT_S) -> None:
        """As root, and the kernel's messages are kept off the console."""
        self.wait_for("login: ", timeout_s)
        self._console.type("root")
        self.wait_for("assword: ")
        self._console.type("sampleos")
        self.wait_for("root@")
        self.run("dmesg -n 1; bind 'set enable-bracketed-paste off'; stty cols 500 -echo")

    def run(self, command: str, timeout_s: float = 120) -> tuple[int, str]:
        """The exit code of a command, and what it said."""
        self._count += 1
        begin, end = f"begin-{self._count}-", f"end-{self._count}-"
        self._console.type(f"echo '{begin[:3]}''{begin[3:]}'; {command}; echo '{end[:2]}''{end[2:]}'$?:")
        self.wait_for(begin, timeout_s)
        start = self._mark
        self.wait_for(end, timeout_s)
        self.wait_for(":")
        said = self._console.text(start, self._mark)
        body, _, status = said.rpartition(end)
        return int(status.rstrip(":")), body.strip("\n")

    def settle(self) -> None:
        """Waits for all that is started at boot: a login is there long before the stage `network`."""
        self.run("systemctl is-system-running --wait", BOOT_S)

    def ask(self, command: str, timeout_s: float = 120) -> str:
        """What a command says that must not fail."""
        status, said = self.run(command, timeout_s)
        assert status == 0, f"{command}: exit code {status}\n{said}"
        return said

    def type(self, text: str) -> None:
        self._console.type(text)

    def reboot(self) -> None:
        """Until somebody may log in again, who does."""
        self._console.type("reboot")
        self.log_in()

    def status(self) -> Any:
        """What `device status` says."""
        return json.loads(self.ask("treebuild device status --json --quiet"))

    def slot(self) -> str:
        """The slot whose image runs, as the kernel was told."""
        words = self.ask("cat /proc/cmdline").split()
        names = [word.partition("=")[2] for word in words if word.startswith("cos-img/filename=")]
        assert len(names) == 1, words
        return names[0].removeprefix("/cOS/").partition(".")[0]

    def confirmed(self) -> None:
        """Waits for the service that says that this version is good; the deadline is off then."""
        self.ask("until systemctl is-active --quiet treebuild-confirm; do sleep 2; done", 600)
        self.ask("test ! -e /run/cos/deadline")

    def power_off(self) -> None:
        self._console.type("poweroff")
        self._process.wait(300)


@contextmanager
def machine(
    disk: Path, firmware: Firmware, *, iso: Path | None = None, others: tuple[Path, ...] = ()
) -> Iterator[Machine]:
    """Boots from the CD where there is one, else from the disk. EFI keeps no variables: the disk has to do.

    `others` are read-only disks: /dev/vdb, /dev/vdc, …. The host is 10.0.2.2, also what listens on its loopback.
    """
    argv = [*_ARGV.split(), "-device", "virtio-blk-pci,drive=disk,bootindex=1"]
    argv += ["-drive", f"if=none,id=disk,format=raw,file={disk}"]
    for number, other in enumerate(others):
        argv += ["-drive", f"if=none,id=other{number},format=raw,readonly=on,file={other}"]
        argv += ["-device", f"virtio-blk-pci,drive=other{number}"]
    if iso is not None:
        argv += ["-drive", f"if=none,id=cd,format=raw,media=cdrom,readonly=on,file={iso}"]
        argv += ["-device", "ide-cd,drive=cd,bootindex=0"]
    if firmware == "efi":
        uefi = find_uefi()
        variables = disk.with_suffix(".variables")
        shutil.copyfile(uefi.variables, variables)
        argv += ["-drive", f"if=pflash,format=raw,readonly=on,file={uefi.code}"]
        argv += ["-drive", f"if=pflash,format=raw,file={variables}"]
    process = spawn(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    console = Recording(process.stdout, process.stdin, lambda line: None)
    try:
        yield Machine(process, console)
    finally:
        kill_group(process)
        process.wait()
        console.close()
