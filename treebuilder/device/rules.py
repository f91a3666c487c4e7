"""What may happen next on a device. No input, no output: values in, values out.

A device changes its disk by single writes (`Link`, `Point`, `Remember`), each of which is there or not after a power
cut. The functions here say which writes, in which order; whoever carries them out adds nothing. The rules they keep:

- The image we run from is never written, nor any image that a slot names: images are new files, slots are links.
  A reset alone writes such a file anew, from recovery and when it is broken.
- Passive is set to the old good image before active changes; an upgrade that was started from passive leaves it alone.
- While active is changed the boot loader starts at passive; one write then says "active, three tries, this image".
- Tries belong to an image by its digest. What used them up is remembered and not tried again by itself.
- A reset is possible from recovery only; recovery is replaced from elsewhere only.

`boot` says what the boot loader does with what is written; grub.cfg has to do the same.
Source: docs/adr/0016, and os-and-ota facts on cOS (two renames leave no image; tries not bound to a version).
"""

from __future__ import annotations

from treebuilder.device.states import (
    AWAY,
    MAX_FAILURES,
    TRIES,
    Device,
    Failure,
    Image,
    Memory,
    Plan,
    Pointer,
    Purpose,
    Slot,
    Stage,
)
from treebuilder.errors import UpdateRefused
from treebuilder.model.digest import Digest
from treebuilder.model.version import compare
from treebuilder.records import record, replace


@record
class Fetch:
    """Write the image as a new file. `fetched` says what follows."""

    image: Image
    purpose: Purpose


@record
class Check:
    """Read the image back, from the disk, and compare its digest. `checked` says what follows."""

    image: Image
    purpose: Purpose


@record
class Link:
    """A write: the slot names another image, by one rename."""

    slot: Slot
    image: Image


@record
class Point:
    """A write: the boot loader's block, where it lies, by one sector."""

    pointer: Pointer


@record
class Remember:
    """A write: the memory, by one rename."""

    memory: Memory


Write = Link | Point | Remember
Action = Fetch | Check | Link | Point | Remember


def apply(device: Device, write: Write) -> Device:
    """The device after one write."""
    match write:
        case Link(Slot.ACTIVE, image):
            return replace(device, active=image)
        case Link(Slot.PASSIVE, image):
            return replace(device, passive=image)
        case Link(Slot.RECOVERY, image):
            return replace(device, recovery=image)
        case Point(pointer):
            return replace(device, pointer=pointer)
        case Remember(memory):
            return replace(device, memory=memory)
        case _:
            raise AssertionError(write)


def kept(device: Device, *, recovery: bool) -> frozenset[Digest]:
    """Images whose files must stay, on the state or on the recovery partition; any other file of an image may go."""
    plan = device.memory.plan
    images = [device.recovery] if recovery else _on_state(device)
    if recovery and device.booted is Slot.RECOVERY:
        images.append(device.running)
    if plan is not None and (plan.purpose is Purpose.RECOVERY) is recovery:
        images.append(plan.image)
    return frozenset(image.digest for image in images if image is not None)


# the power ------------------------------------------------------------------------------------------------------------
def power_lost(device: Device) -> Device:
    """What is written stays."""
    return replace(device, booted=None, running=None)


def boot(device: Device) -> Device:
    """What the boot loader does: it counts, writes its block, and starts what it finds. Without any image: no power.

    When passive has used up its tries recovery takes one turn, then passive may try again: power that fails again and
    again while a good passive starts must not end in a recovery that nobody looks at.
    """
    slot, pointer = _choice(device)
    if slot is None:
        return power_lost(device)
    return replace(device, pointer=pointer, booted=slot, running=device.slot(slot))


def _choice(device: Device) -> tuple[Slot | None, Pointer]:
    pointer = device.pointer
    if pointer.start is Slot.ACTIVE and device.active is not None:
        if pointer.left is None:
            return Slot.ACTIVE, pointer
        if pointer.left > 0:
            return Slot.ACTIVE, replace(pointer, left=pointer.left - 1)
    if device.passive is not None and pointer.spare > 0:
        return Slot.PASSIVE, replace(pointer, spare=pointer.spare - 1)
    if device.recovery is not None:
        return Slot.RECOVERY, replace(pointer, spare=TRIES)
    return (Slot.PASSIVE, pointer) if device.passive is not None else (None, pointer)


def picked(device: Device, slot: Slot) -> Device:
    """Somebody chose an entry of the boot menu: what would have come by itself is counted, for it is started, and
    nothing else. The slot must name an image.

    A grub.cfg of before counted when the menu was shown; then the tries of what was not picked are less by one.
    """
    image = device.slot(slot)
    assert image is not None
    if boot(device).booted is slot:
        return boot(device)
    return replace(device, booted=slot, running=image)


def settle(device: Device) -> tuple[Write, ...]:
    """What a boot has shown; to be written once after each boot, before anything else."""
    memory, pointer, plan = device.memory, device.pointer, device.memory.plan
    trial, active = pointer.trial, device.active
    if plan is not None and _arrived(device, plan, booted=True):
        plan = None  # it got as far as booting it
    elif plan is not None and plan.stage is Stage.VERIFIED:
        plan = replace(plan, stage=Stage.WRITTEN)  # who knows what the power cut did to the file
    if trial is not None and (active is None or active.digest != trial):
        pointer = AWAY
    elif trial is not None and active is not None and pointer.left == 0 and active not in _running_from_state(device):
        if pointer.start is Slot.ACTIVE:  # else it failed before
            memory = _failed(memory, active, "boot")
        pointer = AWAY
    return _changes(device, replace(memory, plan=plan), _doubted(device, pointer))


def begun_anew(device: Device) -> Pointer:
    """What is to be written where the boot loader's block cannot be read: it starts at active, as it does without one.
    Who runs from passive was led there, so there it stays."""
    return AWAY if device.booted is Slot.PASSIVE else _doubted(device, Pointer())


def _doubted(device: Device, pointer: Pointer) -> Pointer:
    """Nobody writes that an active is good that failed, so its block was lost. If passive is another one, and good, the
    boot loader starts there; and what runs from active until then is on trial without a try left."""
    active, passive = device.active, device.passive
    if pointer.start is not Slot.ACTIVE or pointer.left is not None or active is None or not device.has_failed(active):
        return pointer
    if passive is None or passive == active or device.has_failed(passive):
        return pointer
    if device.booted is Slot.ACTIVE and device.running == active:
        return replace(AWAY, left=0, trial=active.digest)
    return AWAY


# what is asked --------------------------------------------------------------------------------------------------------
def ask(
    device: Device, image: Image, purpose: Purpose = Purpose.UPGRADE, *, automatic: bool = False, go: bool = True
) -> tuple[Write, ...]:
    """Begins a plan, or goes on with an equal one. Nothing to write: the image is there already, or waits for a boot.

    Raises UpdateRefused; its `reason` is failed-before, older, on-trial (only when nobody asked), reset-elsewhere,
    recovery-in-use.
    """
    assert device.booted is not None
    assert purpose is Purpose.UPGRADE or not automatic
    admit(device, purpose)
    if purpose is Purpose.UPGRADE and device.active == image and device.pointer.start is Slot.ACTIVE:
        return ()
    if purpose is Purpose.RECOVERY and device.recovery == image:
        return ()
    if automatic:
        if device.standing == image:
            return ()
        _admit_automatic(device, image)
    plan = Plan(purpose, image, Stage.WANTED, go, automatic)
    before = device.memory.plan
    if before is not None and (before.purpose, before.image) == (purpose, image):
        plan = replace(plan, stage=before.stage, go=go or before.go, automatic=automatic and before.automatic)
    return _changes(device, replace(device.memory, plan=plan), device.pointer)


def admit(device: Device, purpose: Purpose) -> None:
    """Whether a purpose is possible where we run. Raises UpdateRefused (reset-elsewhere, recovery-in-use)."""
    if purpose is Purpose.RESET and device.booted is not Slot.RECOVERY:
        raise UpdateRefused(
            "a reset is possible from recovery only", reason="reset-elsewhere", hint="boot the recovery entry first"
        )
    if purpose is Purpose.RECOVERY and device.booted is Slot.RECOVERY:
        raise UpdateRefused(
            "recovery is in use, so it cannot be replaced",
            reason="recovery-in-use",
            hint="boot active or passive first",
        )


def _admit_automatic(device: Device, image: Image) -> None:
    refuse_failed(device, image.version, image.digest)
    if device.on_trial:
        raise UpdateRefused("the running version has yet to show that it is good", reason="on-trial")
    standing = device.standing
    if standing is not None and compare(image.version, standing.version) <= 0:
        raise UpdateRefused(f"{image.version} is not newer than {standing.version}", reason="older")


def remembered(device: Device, version: str, digest: Digest | None = None) -> Failure | None:
    """The failure of this version or these bytes, if there was one."""
    for failure in device.memory.failed:
        if failure.version == version or failure.digest == digest:
            return failure
    return None


def refuse_failed(device: Device, version: str, digest: Digest | None = None) -> None:
    """For what nobody asked for. Raises UpdateRefused (reason "failed-before")."""
    failure = remembered(device, version, digest)
    if failure is not None:
        raise UpdateRefused(
            f"{version} is not tried again by itself: it failed here ({failure.why})", reason="failed-before",
            hint="name the version to try it all the same, or wait for a later one",
        )  # fmt: skip


def cancel(device: Device) -> tuple[Write, ...]:
    """Gives the plan up. What is linked already stays, and does not boot before it is asked for again."""
    return _changes(device, replace(device.memory, plan=None), device.pointer)


def roll_back(device: Device) -> tuple[Write, ...]:
    """The other of active and passive boots next: from active its version is remembered, to active it gets its tries.

    Raises UpdateRefused: nothing-there, under-way.
    """
    pointer, plan = device.pointer, device.memory.plan
    if pointer.start is Slot.PASSIVE and plan is not None and plan.go:
        raise UpdateRefused(
            "an upgrade or reset is under way", reason="under-way", hint="finish it by apply, or give it up by cancel"
        )
    memory = replace(device.memory, plan=None)
    leaving = pointer.start is Slot.ACTIVE
    other = device.passive if leaving else device.active
    if other is None or (leaving and other == device.active):
        raise UpdateRefused("there is no other image to roll back to", reason="nothing-there")
    if leaving:
        if device.active is not None:
            memory = _failed(memory, device.active, "rollback")
        return _changes(device, memory, AWAY)
    return _changes(device, _forget(memory, other), _armed(other))


# the plan -------------------------------------------------------------------------------------------------------------
def decide(device: Device) -> Action | None:
    """The next action of the plan; None when there is none, it is staged, or it has to wait for another boot."""
    plan = device.memory.plan
    if plan is None or device.booted is None:
        return None
    waits_for = {Purpose.RESET: True, Purpose.RECOVERY: False}.get(plan.purpose)
    if waits_for is not None and waits_for is not (device.booted is Slot.RECOVERY):
        return None  # a reset waits for recovery, a new recovery for another slot
    done = Remember(replace(device.memory, plan=None))
    if _arrived(device, plan):
        return done
    there = plan.purpose is not Purpose.RECOVERY and plan.image in _on_state(device)
    if plan.stage is Stage.BROKEN or (plan.stage is Stage.WANTED and not there):
        return Fetch(plan.image, plan.purpose)
    if plan.stage is not Stage.VERIFIED:
        return Check(plan.image, plan.purpose)
    if not plan.go:
        return None
    if plan.purpose is Purpose.RECOVERY:
        return done if device.recovery == plan.image else Link(Slot.RECOVERY, plan.image)
    return _reset(device, plan.image) if plan.purpose is Purpose.RESET else _upgrade(device, plan.image)


def _upgrade(device: Device, image: Image) -> Write:
    if _keeps(device):
        assert device.active is not None
        return Link(Slot.PASSIVE, device.active)
    if device.pointer.start is Slot.ACTIVE:
        return Point(AWAY)
    if device.active != image:
        return Link(Slot.ACTIVE, image)
    return _first(Remember(_forget(device.memory, image)), Point(_armed(image)), device)


def _reset(device: Device, image: Image) -> Write:
    if (device.pointer.start, device.pointer.spare) != (Slot.PASSIVE, 0):
        return Point(Pointer(Slot.PASSIVE, spare=0))
    for slot in (Slot.ACTIVE, Slot.PASSIVE):
        if device.slot(slot) != image:
            return Link(slot, image)
    return _first(Remember(_forget(device.memory, image)), Point(_armed(image)), device)


def _first(memory: Remember, then: Write, device: Device) -> Write:
    return then if memory.memory == device.memory else memory


def _keeps(device: Device) -> bool:
    """Active is what the device falls back to, and passive does not name it yet."""
    if device.booted is Slot.PASSIVE or device.active is None or device.active == device.passive:
        return False
    if device.confirmed:
        return True
    return device.passive is None and device.booted is Slot.ACTIVE and device.running == device.active


def fetched(device: Device) -> Remember:
    """The image of the plan is a whole file."""
    plan = device.memory.plan
    assert plan is not None
    return Remember(replace(device.memory, plan=replace(plan, stage=Stage.WRITTEN)))


def checked(device: Device, *, good: bool) -> Remember:
    """The file of the plan was read back. A bad one ends the plan; that says nothing about the version.

    A reset writes a file anew that a slot names and that is broken: we do not run from it, and nothing else mends it.
    """
    plan = device.memory.plan
    assert plan is not None
    after = replace(plan, stage=Stage.VERIFIED) if good else None
    if not good and plan.purpose is Purpose.RESET and plan.stage is Stage.WANTED:
        after = replace(plan, stage=Stage.BROKEN)
    return Remember(replace(device.memory, plan=after))


# health ---------------------------------------------------------------------------------------------------------------
def healthy(device: Device) -> tuple[Write, ...]:
    """All health checks passed. An image on trial is confirmed, and what failed before it is forgotten.

    Not one that failed itself, and that nobody asked for again: it was started for want of a block.
    """
    if device.on_trial and device.pointer.start is Slot.PASSIVE:
        return _changes(device, device.memory, AWAY)
    if device.on_trial:
        assert device.running is not None
        return _changes(device, _forget_older(device.memory, device.running), Pointer())
    return _came_up(device)


def unhealthy(device: Device) -> tuple[Write, ...]:
    """A health check failed. On trial the device is to boot again: after the last try the old version comes. Passive is
    that one, and stays: there is nothing better than what came up, and what is wrong may lie outside."""
    if device.on_trial and device.pointer.left == 0:
        assert device.running is not None
        return _changes(device, _failed(device.memory, device.running, "health"), AWAY)
    return _came_up(device)


def _came_up(device: Device) -> tuple[Write, ...]:
    """Passive gets its tries back."""
    if device.booted is not Slot.PASSIVE:
        return ()
    return _changes(device, device.memory, replace(device.pointer, spare=TRIES))


# parts ----------------------------------------------------------------------------------------------------------------
def _arrived(device: Device, plan: Plan, *, booted: bool = False) -> bool:
    """The boot loader is told to try the image of the plan, which is the last that a switch does.

    That of a reset is not the trial of an upgrade to the same image, which leaves passive as it was. Nor is it one that
    was `booted` already, but for who asks whether the plan came that far: who resets once more has a reason.
    """
    pointer = device.pointer
    if plan.purpose is Purpose.RECOVERY or pointer.start is not Slot.ACTIVE or pointer.trial != plan.image.digest:
        return False
    if plan.purpose is Purpose.UPGRADE:
        return True
    return device.passive == plan.image and (booted or pointer == _armed(plan.image))


def _on_state(device: Device) -> list[Image | None]:
    """Images whose files are on the state partition: recovery's is not, also when we run from it."""
    return [device.active, device.passive, *_running_from_state(device)]


def _running_from_state(device: Device) -> list[Image | None]:
    return [] if device.booted is Slot.RECOVERY else [device.running]


def _armed(image: Image) -> Pointer:
    return Pointer(Slot.ACTIVE, TRIES, TRIES, image.digest)


def _failed(memory: Memory, image: Image, why: str) -> Memory:
    plan = memory.plan
    if plan is not None and plan.image == image and plan.purpose is not Purpose.RECOVERY:
        plan = None
    failures = (*_forget(memory, image).failed, Failure(image.version, image.digest, why))
    return Memory(plan, failures[-MAX_FAILURES:])


def _forget(memory: Memory, image: Image) -> Memory:
    """This version may be tried: somebody asked for it."""
    left = tuple(f for f in memory.failed if f.version != image.version and f.digest != image.digest)
    return replace(memory, failed=left)


def _forget_older(memory: Memory, good: Image) -> Memory:
    return replace(memory, failed=tuple(f for f in memory.failed if compare(f.version, good.version) > 0))


def _changes(device: Device, memory: Memory, pointer: Pointer) -> tuple[Write, ...]:
    """The memory first: what the pointer says is believed after a boot, so nothing it makes true may be missing."""
    writes: list[Write] = []
    if memory != device.memory:
        writes.append(Remember(memory))
    if pointer != device.pointer:
        writes.append(Point(pointer))
    return tuple(writes)
