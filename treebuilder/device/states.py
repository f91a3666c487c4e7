"""A device as values: images, the slots that name them, what the boot loader reads, what is remembered.

`device.rules` says what may happen to them.
"""

from __future__ import annotations

from enum import StrEnum

from treebuilder.model.digest import Digest
from treebuilder.records import record

TRIES = 3
MAX_FAILURES = 64  # versions that are remembered; the oldest are given up first


class Slot(StrEnum):
    """Where an image is booted from, in the order of falling back."""

    ACTIVE = "active"
    PASSIVE = "passive"
    RECOVERY = "recovery"


class Purpose(StrEnum):
    """What a plan is for: a new active, active and passive as recovery has them, a new recovery."""

    UPGRADE = "upgrade"
    RESET = "reset"
    RECOVERY = "recovery"


class Stage(StrEnum):
    """How far the image of a plan is: nothing yet, a file of a slot that turned out to be broken, a whole file, a file
    whose digest was read back."""

    WANTED = "wanted"
    BROKEN = "broken"
    WRITTEN = "written"
    VERIFIED = "verified"


@record
class Image:
    """An operating system as one file. `digest` is that of its bytes."""

    version: str
    digest: Digest


@record
class Pointer:
    """What the boot loader reads and counts down, in one block that changes at once.

    `start`: active or passive, where it begins to look for something that boots. `left`: boots of active that are left;
    None when active is confirmed and nothing is counted. `spare`: boots of passive that are left until recovery takes
    its turn. `trial`: the image that `left` counts for.
    """

    start: Slot = Slot.ACTIVE
    left: int | None = None
    spare: int = TRIES
    trial: Digest | None = None


AWAY = Pointer(Slot.PASSIVE)  # active does not boot by itself


@record
class Failure:
    """A version that is not tried again by itself, and why (`boot`, `health`, `rollback`)."""

    version: str
    digest: Digest
    why: str


@record
class Plan:
    """What is under way. `go`: switch when verified; else it stays staged. `automatic`: nobody asked for it."""

    purpose: Purpose
    image: Image
    stage: Stage = Stage.WANTED
    go: bool = True
    automatic: bool = False

    @property
    def on_disk(self) -> bool:
        """Its file was written."""
        return self.stage in (Stage.WRITTEN, Stage.VERIFIED)


@record
class Memory:
    """What the device remembers on its state partition. `failed`: oldest first."""

    plan: Plan | None = None
    failed: tuple[Failure, ...] = ()


@record
class Device:
    """Everything that counts. A slot is None when it names no file that is there.

    `booted` and `running`: the slot and image we run from, None without power. An image may run that no slot names.
    """

    active: Image | None
    passive: Image | None
    recovery: Image | None
    pointer: Pointer = Pointer()
    memory: Memory = Memory()
    booted: Slot | None = None
    running: Image | None = None

    def slot(self, slot: Slot) -> Image | None:
        """What a slot names."""
        match slot:
            case Slot.ACTIVE:
                return self.active
            case Slot.PASSIVE:
                return self.passive
            case Slot.RECOVERY:
                return self.recovery

    @property
    def confirmed(self) -> bool:
        """Active is good and what boots next. One that failed is not, whatever the boot loader reads: without its
        block it starts active too."""
        counted = self.pointer.start is not Slot.ACTIVE or self.pointer.left is not None
        return self.active is not None and not counted and not self.has_failed(self.active)

    def has_failed(self, image: Image) -> bool:
        """It is remembered as failed, and nobody asked for it since."""
        return any(failure.digest == image.digest for failure in self.memory.failed)

    @property
    def standing(self) -> Image | None:
        """The image that something newer is newer than: a good active, else what we run from, or fall back to where
        that is recovery or what runs is not known. Recovery's own never counts: it says nothing of what the device
        does."""
        if self.confirmed:
            return self.active
        return self.passive if self.booted is Slot.RECOVERY or self.running is None else self.running

    @property
    def on_trial(self) -> bool:
        """We run an image that has to show whether it is good."""
        running = self.running
        return self.booted is Slot.ACTIVE and running is not None and self.pointer.trial == running.digest
