"""Carries out what the rules decide, on folders: every write is journalled, and a rerun goes on where it was cut."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import MappingProxyType

from treebuilder.device import rules
from treebuilder.device.grubenv import BootControl
from treebuilder.device.journal import Boot, Journal
from treebuilder.device.rules import Check, Fetch, Link, Point, Remember, Write
from treebuilder.device.slots import Origin, Slots, Source, check_version, slot_of
from treebuilder.device.statefile import NAME, StateFile
from treebuilder.device.states import Device, Image, Memory, Plan, Pointer, Purpose, Slot
from treebuilder.errors import IntegrityError, StateCorrupt, TreebuildError, UpdateRefused
from treebuilder.model.digest import Digest
from treebuilder.records import record, replace
from treebuilder.system import locks
from treebuilder.system.files import remove_tree
from treebuilder.system.process import Cancel

_PATIENCE_S = 300.0


@record
class Started:
    """This boot: the kernel's id of it, and the slot that its command line names."""

    boot_id: str
    slot: Slot


class Machine:
    """A device whose partitions are mounted at `state` and `recovery`; one process at a time changes it.

    Without `recovery`, and with slots that name no image of ours, it does what it can: nothing is there then.

    `flush` is called after each write that the boot loader reads, with the slot on whose partition it was: after it,
    and not before, the write counts for a boot loader that replays no journal. With `cancel` it waits for another
    process that is at work here, as a confirmation is after each boot; else it refuses at once. `noted` is a folder
    that each boot empties: what was booted is noted there too, for a memory that is lost while something else waits.
    """

    def __init__(
        self, state: Path, recovery: Path | None, control: BootControl, started: Started,
        flush: Callable[[Slot], None] = lambda slot: None, cancel: Cancel | None = None, *, noted: str | None = None,
    ) -> None:  # fmt: skip
        self._slots = Slots(state, recovery)
        self._slots.make()
        self._journal = Journal(state / "cOS")
        self._state_file = StateFile(state, recovery)
        self._control = control
        self._started = started
        self._flush = flush
        self._cancel = cancel
        self._lock = state / "cOS" / ".lock"
        self._noted = None if noted is None else Journal(Path(noted), "treebuild-booted.json")

    def status(self) -> Device:
        """Everything that counts, as it is now; the boot is settled first, once. Raises StateCorrupt, LockHeld."""
        with self._alone():
            return self._device()

    def upgrade(
        self, image: Image, source: Source, purpose: Purpose = Purpose.UPGRADE, *, automatic: bool = False,
        go: bool = True,
    ) -> Device:  # fmt: skip
        """Plans an image and carries the plan out as far as it goes; an equal plan that was cut goes on.

        Raises UpdateRefused, IntegrityError (the file is not this image, or was not read back as it was written: the
        plan ends, and the version may be tried again), NoSpace, ConfigError, StateCorrupt, LockHeld.
        """
        check_version(image.version)
        with self._alone():
            device = self._device()
            device = self._write(device, rules.ask(device, image, purpose, automatic=automatic, go=go))
            self._say(device, {image.digest: source.origin})
            return self._carry_out(device, source)

    def go_on(self) -> Device:
        """Switches to what is staged, or goes on with a switch that was cut.

        Raises UpdateRefused (reason "nothing-staged"), IntegrityError, StateCorrupt, LockHeld.
        """
        with self._alone():
            device = self._device()
            plan = device.memory.plan
            if plan is None or not plan.on_disk:
                raise UpdateRefused("nothing is staged", reason="nothing-staged", hint="treebuild device stage")
            writes = rules.ask(device, plan.image, plan.purpose, automatic=plan.automatic, go=True)
            return self._carry_out(self._write(device, writes), None)

    def damage(self) -> tuple[str, ...]:
        """What is wrong with slots, and keeps nobody from going on."""
        return self._slots.damage()

    def mend(self) -> tuple[str, ...]:
        """What cannot be read, of the memory and the boot loader's block, is given up: without the first nothing is
        planned and no version failed, without the second `rules.begun_anew` says where GRUB starts.
        Returns what was wrong. Raises LockHeld."""
        with self._alone():
            return tuple(self._mend())

    def begin_anew(self) -> tuple[str, ...]:
        """For a reset, which needs nothing of it: as `mend`, and of active and passive what is no link to an image."""
        with self._alone():
            wrong = self._mend()
            for slot in (Slot.ACTIVE, Slot.PASSIVE):
                try:
                    self._slots.read(slot)
                except StateCorrupt as err:
                    wrong.append(err.message)
                    remove_tree(self._slots.link(slot))
        return tuple(wrong)

    def room(self, purpose: Purpose) -> int:
        """Bytes that an image may take on the partition it is for, once what nobody needs is deleted there."""
        with self._alone():
            device = self._device()
            device = replace(device, memory=replace(device.memory, plan=None))  # another image takes its place
            recovery = purpose is Purpose.RECOVERY
            return self._slots.room(purpose, rules.kept(device, recovery=recovery))

    def healthy(self) -> Device:
        """All health checks passed."""
        with self._alone():
            device = self._device()
            return self._write(device, rules.healthy(device))

    def unhealthy(self) -> Device:
        """A health check failed; whoever is on trial is to boot again (`Device.on_trial` before this call)."""
        with self._alone():
            device = self._device()
            return self._write(device, rules.unhealthy(device))

    def roll_back(self) -> Device:
        """The other of active and passive boots next. Raises UpdateRefused."""
        with self._alone():
            device = self._device()
            return self._write(device, rules.roll_back(device))

    def cancel(self) -> Device:
        """Gives up what is planned or staged, and its file."""
        with self._alone():
            device = self._device()
            device = self._write(device, rules.cancel(device))
            self._clean(device)
            self._say(device)
            return device

    def _alone(self) -> AbstractContextManager[None]:
        return locks.exclusive(self._lock, "this device", cancel=self._cancel, patience_s=_PATIENCE_S)

    def _mend(self) -> list[str]:
        wrong = []
        try:
            self._journal.read()
        except StateCorrupt as err:
            wrong.append(err.message)
            self._journal.write(Memory(), None)
        try:
            self._control.read()
        except StateCorrupt as err:
            wrong.append(err.message)
            self._control.write(rules.begun_anew(self._seen(Pointer())[0]))
            self._flush(Slot.ACTIVE)
        for what in wrong:
            self._journal.add(f"begun anew: {what}")
        return wrong

    # one step after the other -----------------------------------------------------------------------------------------
    def _device(self) -> Device:
        device, fresh = self._seen()
        if fresh is not None:
            device = self._write(device, rules.settle(device))
            self._say(device)
            self._journal.write(device.memory, fresh)  # what comes before is written again when this is not there
            if self._noted is not None:
                with suppress(TreebuildError):  # only who loses the memory misses it
                    self._noted.write(Memory(), fresh)
            self._journal.add(f"booted {fresh.slot}: {fresh.image.version if fresh.image else 'an image that is gone'}")
        return device

    def _seen(self, pointer: Pointer | None = None) -> tuple[Device, Boot | None]:
        """What is there, with this pointer if the block says none; and this boot, if it has to be settled."""
        memory, boot = self._journal.read()
        found = {slot: self._slots.usable(slot) for slot in Slot}
        fresh = None
        if not self._is_this(boot):
            boot = self._settled()
        if boot is None:
            boot = fresh = Boot(self._started.boot_id, self._started.slot, found[self._started.slot])
        device = Device(
            found[Slot.ACTIVE], found[Slot.PASSIVE], found[Slot.RECOVERY], pointer or self._control.read(), memory,
            boot.slot, boot.image,
        )  # fmt: skip
        return device, fresh

    def _is_this(self, boot: Boot | None) -> bool:
        return boot is not None and (boot.id, boot.slot) == (self._started.boot_id, self._started.slot)

    def _settled(self) -> Boot | None:
        """This boot, when it was settled and the memory lost that: active may name what is to boot next by now."""
        try:
            boot = None if self._noted is None else self._noted.read()[1]
        except TreebuildError:
            return None
        return boot if self._is_this(boot) else None

    def _carry_out(self, device: Device, source: Source | None) -> Device:
        while (action := rules.decide(device)) is not None:
            plan = device.memory.plan
            assert plan is not None
            match action:
                case Fetch(image, purpose):
                    assert source is not None
                    self._clean(device)
                    try:
                        self._slots.write(image, purpose, source)
                    except IntegrityError:
                        self._write(device, rules.cancel(device))
                        raise
                    self._flush(slot_of(purpose))
                    device = self._write(device, (rules.fetched(device),))
                case Check():
                    device = self._check(device, plan)
                case Link() | Point() | Remember():
                    device = self._write(device, (action,))
        self._clean(device)
        self._say(device)
        return device

    def _check(self, device: Device, plan: Plan) -> Device:
        good = self._slots.verify(plan.image, plan.purpose)
        if not good and not _used(device, plan):
            self._slots.forget(plan.image, plan.purpose)
        device = self._write(device, (rules.checked(device, good=good),))
        if not good and device.memory.plan is None:
            raise IntegrityError(
                f"the file of {plan.image.version} is not read back as it was written", reason="verify-failed",
                hint="the disk may be failing; nothing was switched",
            )  # fmt: skip
        return device

    def _write(self, device: Device, writes: Iterable[Write]) -> Device:
        """Each write, then its line of history."""
        for write in writes:
            match write:
                case Link(slot, image):
                    self._slots.switch(slot, image)
                    self._flush(slot)
                    said = f"{slot} is {image.version} ({image.digest})"
                case Point(pointer):
                    if pointer.start is Slot.ACTIVE:
                        self._flush(Slot.ACTIVE)  # a link that a killed run set is to be there for the boot loader too
                    self._control.write(pointer)
                    self._flush(Slot.ACTIVE)
                    left = "" if pointer.left is None else f", {pointer.left} tries"
                    said = f"the boot loader starts at {pointer.start}{left}"
                case Remember(memory):
                    # Until the boot is settled, the journal must not say that it is.
                    known = self._journal.read()[1]
                    self._journal.write(memory, known)
                    said = _said(memory)
                case _:
                    raise AssertionError(write)
            self._journal.add(said)
            device = rules.apply(device, write)
        return device

    def _say(self, device: Device, origins: Mapping[Digest, Origin] = MappingProxyType({})) -> None:
        """state.yaml, which decides nothing: where it cannot be written, the rest goes on."""
        try:
            self._state_file.write(device, origins)
        except (TreebuildError, OSError) as err:
            self._journal.add(f"{NAME} was not written: {err}")

    def _clean(self, device: Device) -> None:
        state, recovery = (rules.kept(device, recovery=which) for which in (False, True))
        for name in self._slots.clean(state, recovery):
            self._journal.add(f"deleted {name}")


def _used(device: Device, plan: Plan) -> bool:
    """The file of the plan is one that a slot names, or that we run from."""
    without = replace(device, memory=replace(device.memory, plan=None))
    return plan.image.digest in rules.kept(without, recovery=plan.purpose is Purpose.RECOVERY)


def _said(memory: Memory) -> str:
    plan = memory.plan
    failed = "".join(f"; {f.version} failed ({f.why})" for f in memory.failed)
    if plan is None:
        return f"nothing is planned{failed}"
    return f"{plan.purpose} to {plan.image.version}: {plan.stage}{'' if plan.go else ', staged'}{failed}"


def image_of(path: Path, version: str) -> Image:
    """The image in a file: its bytes are read. Raises StateCorrupt when it is not there."""
    import hashlib

    try:
        with path.open("rb") as source:
            return Image(version, Digest(hashlib.file_digest(source, "sha256").hexdigest()))
    except OSError as err:
        raise StateCorrupt(f"{path} cannot be read: {err.strerror}") from err
