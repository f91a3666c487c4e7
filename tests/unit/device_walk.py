"""Walks every state that the rules of a device can reach, with the power cut between any two writes.

The world is small and hostile: two good versions, one that never comes up (but whose software may act before it dies,
as a half working system does), and what a reset makes. Anybody may ask for anything at any time, automatically or not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from treebuilder.device.rules import (
    Action,
    Check,
    Fetch,
    Link,
    Point,
    Remember,
    Write,
    apply,
    ask,
    begun_anew,
    boot,
    cancel,
    checked,
    decide,
    fetched,
    healthy,
    kept,
    picked,
    power_lost,
    remembered,
    roll_back,
    settle,
    unhealthy,
)
from treebuilder.device.states import Device, Failure, Image, Pointer, Purpose, Slot, Stage
from treebuilder.errors import UpdateRefused
from treebuilder.model.digest import Digest
from treebuilder.records import replace


def image(version: str) -> Image:
    return Image(version, Digest.of(version.encode()))


OLD, BAD, NEW, BASE = image("1.0"), image("2.0"), image("3.0"), image("0.9")
RECOVERY = image("0.8")
GOOD = (OLD, NEW, BASE, RECOVERY)
FRESH = Device(OLD, OLD, RECOVERY)
MOST_BOOTS = 12

State = tuple[Device, bool]  # the device, and whether its boot is settled


class Walk:
    """All states from `start`. `damage`: files of active and passive vanish at any time (no new recovery then).
    `lost`: the boot loader's block does, with or without somebody who begins it anew."""

    def __init__(
        self, start: Device, upgrades: tuple[Image, ...], *, damage: bool = False, lost: bool = False,
        recoveries: tuple[Image, ...] = (), resets: tuple[Image, ...] = (),
    ) -> None:  # fmt: skip
        self.damage, self.lost = damage, lost
        self.wishes = [(found, Purpose.UPGRADE, automatic) for found in upgrades for automatic in (False, True)]
        self.wishes += [(found, Purpose.RECOVERY, False) for found in recoveries]
        self.wishes += [(found, Purpose.RESET, False) for found in resets]
        self.seen: set[State] = {(power_lost(start), False)}
        self.moves = 0
        self.visited: dict[str, int] = {}
        self._safe: dict[object, bool] = {}
        waiting = deque(self.seen)
        while waiting:
            state = waiting.popleft()
            self._check(state[0])
            for found, settled in self._next(*state):
                self.moves += 1
                following = (plain(found), settled)
                if following not in self.seen:
                    self.seen.add(following)
                    waiting.append(following)

    def _count(self, what: str) -> None:
        self.visited[what] = self.visited.get(what, 0) + 1

    def _next(self, device: Device, settled: bool) -> Iterator[State]:
        if self.lost and device.pointer != Pointer():
            yield replace(device, pointer=Pointer()), settled
        if device.booted is None:
            yield boot(device), False
            for slot in Slot:
                found = device.slot(slot)
                if found is not None:
                    yield picked(device, slot), False
                    # By the owner's file, which counts nothing; and by a grub.cfg that counted before it was picked.
                    yield replace(device, booted=slot, running=found), False
                    yield replace(boot(device), booted=slot, running=found), False
            return
        yield power_lost(device), False
        if not settled:
            yield from self._written(device, settle(device), "settle", settled=False)
            self._remembered(device)
            return
        if self.lost:
            yield from self._written(device, (Point(begun_anew(device)),), "begun anew")
        yield from self._asked(device)
        yield from self._written(device, cancel(device), "cancel")
        yield from self._written(device, unhealthy(device), "unhealthy")
        if device.running in GOOD:
            yield from self._written(device, healthy(device), "healthy")
        try:
            yield from self._written(device, roll_back(device), "roll back")
        except UpdateRefused as err:
            self._count(err.reason)
        yield from self._decided(device)
        if self.damage and device.active is not None:
            yield apply_damage(device, Slot.ACTIVE), True
        if self.damage and device.passive is not None:
            yield apply_damage(device, Slot.PASSIVE), True

    def _asked(self, device: Device) -> Iterator[State]:
        for wanted, purpose, automatic in self.wishes:
            for go in (False, True):
                try:
                    writes = ask(device, wanted, purpose, automatic=automatic, go=go)
                except UpdateRefused as err:
                    self._count(err.reason)
                    continue
                if automatic and writes:
                    assert all(failure.version != wanted.version for failure in device.memory.failed), "tried again"
                assert (purpose is Purpose.RESET) <= (device.booted is Slot.RECOVERY), "reset elsewhere"
                assert (purpose is Purpose.RECOVERY) <= (device.booted is not Slot.RECOVERY), "recovery is in use"
                yield from self._written(device, writes, f"{purpose} {automatic}")

    def _decided(self, device: Device) -> Iterator[State]:
        action = decide(device)
        if action is None:
            return
        self._allowed(device, action)
        match action:
            case Fetch():
                yield from self._written(device, (fetched(device),), "fetch")
            case Check():
                for good in (True, False):
                    yield from self._written(device, (checked(device, good=good),), f"check {good}")
            case Link() | Point() | Remember():
                yield from self._written(device, (action,), type(action).__name__)

    def _allowed(self, device: Device, action: Action) -> None:
        """What must never be done."""
        plan = device.memory.plan
        assert plan is not None
        match action:
            case Fetch(found, Purpose.RECOVERY):
                assert device.booted is not Slot.RECOVERY
                assert found != device.recovery, "a slot is written"
            case Fetch(found, Purpose.RESET) if plan.stage is Stage.BROKEN:
                assert device.booted is Slot.RECOVERY
                assert found in on_state(device)
            case Fetch(found):
                assert found not in on_state(device), "a slot is written"
            case Check(found, purpose) if plan.stage is Stage.WANTED:
                assert purpose is not Purpose.RECOVERY
                assert found in on_state(device), "a file is read that nobody wrote"
            case Link(Slot.RECOVERY):
                assert device.booted is not Slot.RECOVERY
            case Link(Slot.PASSIVE, found) if plan.purpose is Purpose.UPGRADE:
                assert device.booted is not Slot.PASSIVE, "passive is left alone"
                assert found == device.active
            case Point(Pointer(trial=Digest() as trial)) if plan.automatic:
                assert all(failure.digest != trial for failure in device.memory.failed), "tried again by itself"
            case _:
                pass

    def _remembered(self, device: Device) -> None:
        """A version that used up its tries is known, once the boot after them is settled."""
        active, pointer = device.active, device.pointer
        if active is None or pointer.left != 0 or pointer.trial != active.digest or device.running == active:
            return
        if pointer.start is Slot.PASSIVE:
            return  # it failed before its block was lost, and somebody may have asked for it since
        for write in settle(device):
            device = apply(device, write)
        assert any(failure.digest == active.digest for failure in device.memory.failed), "a failure is forgotten"
        assert boot(power_lost(device)).running != active or active == device.passive

    def _distrusted(self, device: Device) -> None:
        """What failed is not taken for good, once a boot is settled, where something else is there."""
        active, passive = device.active, device.passive
        if active is None or passive is None or not uncounted(device) or remembered(device, "", active.digest) is None:
            return
        assert passive == active or remembered(device, "", passive.digest) is not None, f"trusted: {device}"

    def _written(
        self, device: Device, writes: tuple[Write, ...], what: str, *, settled: bool = True
    ) -> Iterator[State]:
        """After each write the power may fail; `settle` has not happened before its last write."""
        self._count(what)
        for write in writes:
            device = apply(device, write)
            yield power_lost(device), False
        if writes or not settled:
            if what in ("settle", "begun anew"):
                self._distrusted(device)
            yield device, True

    def _check(self, device: Device) -> None:
        """Whatever happens, the files of slots and of what runs stay, and something good comes up by itself."""
        on_recovery = {device.recovery} | ({device.running} if device.booted is Slot.RECOVERY else set())
        for images, recovery in ((on_state(device), False), (on_recovery, True)):
            assert {found.digest for found in images if found is not None} <= kept(device, recovery=recovery)
        if self.lost and uncounted(device) and device.active == BAD:
            return  # GRUB cannot know better
        key = (device.active, device.passive, device.recovery, device.pointer)
        if key not in self._safe:
            self._safe[key] = comes_back(device)
        assert self._safe[key], f"nothing good boots: {device}"


def uncounted(device: Device) -> bool:
    """GRUB starts active, as often as it likes."""
    return device.pointer.start is Slot.ACTIVE and device.pointer.left is None


def on_state(device: Device) -> set[Image | None]:
    """Images whose files are on the state partition."""
    return {device.active, device.passive} | ({device.running} if device.booted is not Slot.RECOVERY else set())


def plain(device: Device) -> Device:
    """The device without what no rule looks at: in which order versions failed, and why."""
    failed = device.memory.failed
    if not failed:
        return device
    same = sorted({(failure.version, failure.digest) for failure in failed})
    return replace(device, memory=replace(device.memory, failed=tuple(Failure(*item, "boot") for item in same)))


def apply_damage(device: Device, slot: Slot) -> Device:
    """The file of a slot vanishes behind our back, for both slots when they name the same."""
    gone = device.slot(slot)
    active = None if device.active == gone else device.active
    passive = None if device.passive == gone else device.passive
    return Device(active, passive, device.recovery, device.pointer, device.memory, device.booted, device.running)


def comes_back(device: Device) -> bool:
    """With the power on from now on; an image that does not come up is reset by its watchdog."""
    device = power_lost(device)
    for _ in range(MOST_BOOTS):
        device = boot(device)
        if device.running in GOOD:
            return True
    return False
