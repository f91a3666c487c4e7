"""A device in a folder, with the power in our hands."""

from __future__ import annotations

from pathlib import Path

from treebuilder.device import rules
from treebuilder.device.grubenv import GrubControl
from treebuilder.device.journal import Journal
from treebuilder.device.slots import Slots, Source
from treebuilder.device.states import Device, Image, Purpose, Slot
from treebuilder.device.upgrade import Machine, Started, image_of
from treebuilder.model.digest import Digest

OLD, NEW, BAD, NEXT = b"old" * 70_000, b"new" * 71_000, b"bad" * 69_000, b"nxt" * 70_000
CONTENT = {"1.0": OLD, "2.0": BAD, "3.0": NEW, "4.0": NEXT}


class Lab:
    """A device in a folder, with the power in our hands."""

    def __init__(self, top: Path) -> None:
        self.top, self.state, self.recovery = top, top / "state", top / "recovery"
        self.boots, self.slot = 0, Slot.ACTIVE

    def file(self, version: str) -> Path:
        path = self.top / f"{version}.img"
        if not path.exists():
            path.write_bytes(CONTENT[version])
        return path

    @property
    def machine(self) -> Machine:
        control = GrubControl(self.state / "grubenv")
        return Machine(self.state, self.recovery, control, Started(f"boot-{self.boots}", self.slot))

    def install(self) -> None:
        """1.0 in all slots."""
        slots, image = Slots(self.state, self.recovery), image_of(self.file("1.0"), "1.0")
        slots.make()
        for purpose in (Purpose.UPGRADE, Purpose.RECOVERY):
            slots.write(image, purpose, Source(self.file("1.0")))
        for slot in Slot:
            slots.switch(slot, image)

    def written(self) -> Device:
        """What is on the disk, and nothing else."""
        slots = Slots(self.state, self.recovery)
        found = [slots.read(slot) for slot in Slot]
        control = GrubControl(self.state / "grubenv")
        return Device(found[0], found[1], found[2], control.read(), Journal(self.state / "cOS").read()[0])

    def boot(self) -> Image:
        """The power is cut, and comes back: what the boot loader starts. Its bytes must be whole."""
        device = rules.boot(self.written())
        assert device.booted is not None
        assert device.running is not None
        GrubControl(self.state / "grubenv").write(device.pointer)
        self.boots, self.slot = self.boots + 1, device.booted
        folder = self.recovery if device.booted is Slot.RECOVERY else self.state
        link = folder / "cOS" / ("recovery.squashfs" if device.booted is Slot.RECOVERY else f"{device.booted}.img")
        assert link.read_bytes() == CONTENT[device.running.version]
        return device.running

    def upgrade(self, version: str, purpose: Purpose = Purpose.UPGRADE, *, automatic: bool = False) -> Device:
        path = self.file(version)
        image = Image(version, Digest.of(CONTENT[version]))
        return self.machine.upgrade(image, Source(path), purpose, automatic=automatic)
