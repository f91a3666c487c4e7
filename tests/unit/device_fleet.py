"""A device in folders that follows a repository of ours: real packages, real squashfs, and the power in our hands."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import schemas
from tests.services import program
from tests.unit.repository_parts import Workshop, workshop
from treebuilder.cli.main import main
from treebuilder.device import rules
from treebuilder.device.contents import machine
from treebuilder.device.grubenv import GrubControl
from treebuilder.device.journal import Journal
from treebuilder.device.places import BOOT_BLOCK
from treebuilder.device.slots import Slots
from treebuilder.device.states import Device, Slot

Capture = pytest.CaptureFixture[str]
NUMBERS = {"amd64": 62, "arm64": 183, "386": 3, "arm": 40, "riscv64": 243}
SCHEMAS = {
    "check": "device-upgrade", "upgrade": "device-upgrade", "stage": "device-upgrade", "apply": "device-upgrade",
    "cancel": "device-upgrade", "rollback": "device-upgrade", "reset": "device-upgrade", "status": "device-status",
    "confirm": "device-confirm", "rebrand": "device-rebrand", "run-stage": "device-run-stage",
    "return": "device-return",
}  # fmt: skip


def elf(architecture: str = "") -> bytes:
    """The head of a program."""
    number = NUMBERS[architecture or machine()]
    return b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack("<HH", 2, number) + os.urandom(2000)


def root_files(version: str, architecture: str = "") -> dict[str, str | bytes | None]:
    """A root file system that could boot, as paths to content."""
    return {
        "bin": "usr/bin", "usr/bin/sh": elf(architecture), "boot/vmlinuz": f"vmlinuz-{version}",
        f"boot/vmlinuz-{version}": b"kernel " + version.encode(), "boot/initrd": b"initrd",
        "etc/os-release": f'ID=test\nIMAGE_VERSION="{version}"\n'.encode(), "usr/share/filler": os.urandom(50_000),
    }  # fmt: skip


def lay(folder: Path, version: str, architecture: str = "") -> Path:
    """The same in a folder."""
    for name, content in root_files(version, architecture).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.symlink_to(content)
        elif content is not None:
            path.write_bytes(content)
            path.chmod(0o755)
    return folder


class Fleet:
    """One device of it. Run it in `top`."""

    def __init__(self, top: Path, shop: Workshop) -> None:
        self.top, self.shop = top, shop
        self.state, self.recovery, self.root = top / "state", top / "recovery", top / "root"
        for folder in (self.state, self.recovery, self.root / "etc/cos"):
            folder.mkdir(parents=True)
        (self.root / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
        self.boots, self.slot = 1, Slot.ACTIVE
        self.configure()

    def configure(self, *, keys: tuple[str, ...] = (), type: str = "disk", url: str = "build", trust: str = "") -> None:
        value: dict[str, Any] = {"name": "os", "type": type, "urls": [url], "enable": True}
        if keys:
            value["trust"] = {"keys": list(keys)}
        elif trust:
            value["trust"] = trust
        config = {"repositories": [value], "keys_confdir": [str(self.top / "keys.d")], "repos_confdir": []}
        (self.top / "luet.yaml").write_text(json.dumps(config))

    def words(self, *words: str) -> list[str]:
        what = list(words)
        what += ["--state", str(self.state), "--recovery", str(self.recovery), "--slot", self.slot.value]
        what += ["--boot", f"boot-{self.boots}", "--root", str(self.root), "--config", str(self.top / "luet.yaml")]
        return ["device", *what, "--json", "--quiet"]

    def run(self, *words: str) -> int:
        return main(self.words(*words))

    def written(self) -> Device:
        """What is on the disk, and nothing else."""
        slots = Slots(self.state, self.recovery)
        found = [slots.read(slot) for slot in Slot]
        memory, _ = Journal(self.state / "cOS").read()
        return Device(found[0], found[1], found[2], GrubControl(self.state / BOOT_BLOCK).read(), memory)

    def boot(self) -> str:
        """The power comes back: the version that the boot loader starts."""
        device = rules.boot(self.written())
        assert device.booted is not None
        assert device.running is not None
        GrubControl(self.state / BOOT_BLOCK).write(device.pointer)
        self.boots, self.slot = self.boots + 1, device.booted
        return device.running.version

    def versions(self) -> list[str | None]:
        device = self.written()
        return [None if found is None else found.version for found in (device.active, device.passive, device.recovery)]

    def package(self, version: str, *, architecture: str = "", snapshot: str = "", **options: Any) -> None:
        """Builds and publishes `system/os` of a version, with something that it requires."""
        self.shop.package("system/extra", {"opt/extra": b"extra"}, version="1.0")
        self.shop.package("system/os", root_files(version, architecture), version=version, requires=("system/extra",))
        self.shop.create(snapshot=snapshot or f"s{version}", **options)

    def publish(self, version: str, *more: str, sign: str = "") -> None:
        """The channel `stable` names a version."""
        words = ["channel", "publish", "stable", "--package", "system/os", "--snapshot", f"s{version}", *more]
        words += ["--sign", sign] if sign else []
        assert main([*words, "--repository", str(self.shop.build), "--cache-dir", str(self.top / "cache"), "-q"]) == 0

    def installed(self, version: str) -> None:
        """This version in all slots, confirmed, and booted."""
        folder = lay(self.top / f"first-{version}", version)
        assert self.run("upgrade", str(folder)) == 0
        assert self.run("upgrade", str(folder), "--recovery-slot") == 0
        assert self.boot() == version
        assert self.run("confirm") == 0
        slots, device = Slots(self.state, self.recovery), self.written()
        assert device.active is not None
        slots.switch(Slot.PASSIVE, device.active)

    def leftovers(self) -> list[str]:
        """What a finished run must not leave."""
        folder = self.state / "cOS"
        return sorted(
            str(path.relative_to(folder)) for path in folder.rglob("*")
            if (".treebuild-upgrade" in str(path) and not path.name.endswith(".lock")) or path.name.endswith(".part")
        )  # fmt: skip


@contextmanager
def fleet(top: Path) -> Iterator[Fleet]:
    with workshop(top) as shop:
        yield Fleet(top, shop)


def answer(text: str, what: str) -> dict[str, Any]:
    """The JSON that a command wrote last, which its schema allows."""
    value: dict[str, Any] = json.loads(text.strip().splitlines()[-1])
    name = "error" if "error" in value else SCHEMAS[what]
    assert schemas.faults(value, schemas.load(name)) == []
    return value


def asked(device: Fleet, capsys: Capture, *words: str, code: int = 0) -> dict[str, Any]:
    """The answer of a command, by its exit code."""
    capsys.readouterr()
    assert device.run(*words) == code
    return answer(capsys.readouterr().out, words[0])


def refused(device: Fleet, capsys: Capture, *words: str) -> str:
    """The reason of a refusal, which leaves the slots as they were, and nothing else behind."""
    before = device.written()
    capsys.readouterr()
    assert device.run(*words) in (1, 2)
    value = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    after = device.written()
    assert [after.active, after.passive, after.recovery] == [before.active, before.passive, before.recovery]
    assert (after.pointer, device.leftovers()) == (before.pointer, [])
    return str(value["error"]["reason"])


def says(device: Fleet, **values: str) -> None:
    """Writes /etc/cos-upgrade-image."""
    (device.root / "etc/cos-upgrade-image").write_text("".join(f"{key}={value}\n" for key, value in values.items()))


# fixtures, for who names them -----------------------------------------------------------------------------------------
@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Iterator[Fleet]:
    """One that was installed with 1.0, in the current folder."""
    program("mksquashfs", "squashfs-tools")
    monkeypatch.chdir(tmp_path)
    with fleet(tmp_path) as made:
        made.installed("1.0")
        capsys.readouterr()
        yield made
