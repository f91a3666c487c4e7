"""A device opened: its partitions writable for as long as we work, its machine, and what belongs to it.

The same on plain folders, for authors and tests: nothing is mounted, frozen or rebooted there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from treebuilder.device import here, writing
from treebuilder.device.cosfiles import CosSettings
from treebuilder.device.cosfiles import load as load_cos
from treebuilder.device.followed import Channels, ChannelsFile
from treebuilder.device.grubenv import GrubControl
from treebuilder.device.journal import Journal
from treebuilder.device.places import (
    BOOT_BLOCK,
    DATA_MOUNT,
    HEALTH_FOLDERS,
    OEM,
    PERSISTENT,
    RECOVERY,
    SLOT_FOLDER,
    STATE,
)
from treebuilder.device.states import Slot
from treebuilder.device.upgrade import Machine, Started
from treebuilder.errors import Cancelled, ConfigError, StateCorrupt, TreebuildError
from treebuilder.events import EventSink, Said, Warned
from treebuilder.records import record
from treebuilder.system.process import Cancel, run, which

_DEADLINE_OFF = "usr/lib/cos/deadline-off"  # of the package system/immutable-rootfs


@record
class DeviceOptions:
    """Which device. Without `state` it is the one that we run on.

    `root` is the running system, with its configuration; `slot` and `boot` say what was booted, on plain folders.
    """

    state: str = ""
    recovery: str = ""
    slot: str = "active"
    boot: str = ""
    work: str = ""
    root: Path = Path("/")


@record
class Site:
    """An opened device. `plain`: folders, and not the machine we run on. `recovery`: None where it cannot be used."""

    machine: Machine
    state: Path
    recovery: Path | None
    started: Started
    work: Path
    root: Path
    plain: bool
    events: EventSink
    cancel: Cancel
    hooked: bool = True

    @property
    def memory(self) -> Path:
        """Where the journal lies."""
        return self.state / SLOT_FOLDER

    @property
    def journal(self) -> Journal:
        return Journal(self.memory)

    def image_file(self, slot: Slot) -> Path:
        """The file that a slot names. Raises StateCorrupt (reason "no-partition")."""
        from treebuilder.device.slots import Slots

        return Slots(self.state, self.recovery).link(slot)

    @property
    def machine_id(self) -> str:
        """Who this device is to channels, in each slot and for good: that is its place in a rollout, and in results."""
        return here.lasting_name(self.root, self.memory, recovery=self.started.slot is Slot.RECOVERY)

    @property
    def health_folders(self) -> tuple[Path, ...]:
        return tuple(self.root / name.lstrip("/") for name in HEALTH_FOLDERS)

    def cos_settings(self) -> CosSettings:
        """What the files of variables say; what is wrong with them is warned of."""
        found, warnings = load_cos(self.root, os.environ)
        for warning in warnings:
            self.events.emit(warning)
        return found

    def channels(self) -> Channels:
        return ChannelsFile(self.memory).read()

    def remember(self, channels: Channels) -> None:
        ChannelsFile(self.memory).write(channels)


@contextmanager
def opened(options: DeviceOptions, events: EventSink, cancel: Cancel) -> Iterator[Site]:
    """Raises ConfigError (reason "no-device", no such folder), StateCorrupt, TreebuildError (reason "permission")."""
    with ExitStack() as stack:
        site = _folders(options, events, cancel) if options.state else _machine(options, events, cancel, stack)
        for wrong in site.machine.damage():
            events.emit(Warned(f"{wrong}: it counts as empty", hint="an upgrade or a reset sets it right"))
        yield site


def _folders(options: DeviceOptions, events: EventSink, cancel: Cancel) -> Site:
    if not options.recovery:
        raise ConfigError("--state DIR needs --recovery DIR too")
    state, recovery = Path(options.state).absolute(), Path(options.recovery).absolute()
    for folder in (state, recovery):
        if not folder.is_dir():
            raise ConfigError(f"there is no folder {folder}")
    boot = options.boot or here.boot_id(here.Kernel())
    started = Started(boot, Slot(options.slot))
    machine = Machine(state, recovery, GrubControl(state / BOOT_BLOCK), started, cancel=cancel)
    work = Path(options.work).absolute() if options.work else state / SLOT_FOLDER
    # Hooks of the author's own machine have no business with a device in folders.
    hooked = options.root != Path("/")
    return Site(machine, state, recovery, started, work, options.root, True, events, cancel, hooked)


def _machine(options: DeviceOptions, events: EventSink, cancel: Cancel, stack: ExitStack) -> Site:
    kernel = here.Kernel()
    started = here.started(kernel)
    if os.geteuid() != 0:
        raise TreebuildError("a device is looked after by root only", reason="permission", hint="sudo treebuild device")
    state = stack.enter_context(writing.writable(kernel, STATE, events))
    recovery = _recovery(kernel, started, events, stack)

    def settled(slot: Slot) -> None:
        folder = recovery if slot is Slot.RECOVERY else state
        assert folder is not None
        writing.rest(folder)

    machine = Machine(state, recovery, GrubControl(state / BOOT_BLOCK), started, settled, cancel)
    work = Path(options.work).absolute() if options.work else data_place(kernel)
    if work is None:
        work = state / SLOT_FOLDER
        if started.slot is not Slot.RECOVERY:  # where it is not mounted by itself
            events.emit(Warned(f"{PERSISTENT} is gone or cannot be written: work is done on {STATE}"))
    return Site(machine, state, recovery, started, work, options.root, False, events, cancel)


def _recovery(kernel: here.Kernel, started: Started, events: EventSink, stack: ExitStack) -> Path | None:
    """None where it is gone or damaged, and we do not run from it: only what writes there needs it."""
    try:
        place = stack.enter_context(writing.writable(kernel, RECOVERY, events))
        for folder in (place / SLOT_FOLDER, place / SLOT_FOLDER / "images"):
            if folder.exists():
                os.listdir(folder)
        return place
    except (TreebuildError, OSError) as err:
        if started.slot is Slot.RECOVERY or isinstance(err, Cancelled):
            raise
        events.emit(
            Warned(f"{RECOVERY} cannot be used: {err}", hint="recovery does not boot and cannot be replaced until then")
        )
        return None


def data_place(kernel: here.Kernel) -> Path | None:
    """Where COS_PERSISTENT is mounted, when it can be written; where our disk has none, what the owner has mounted in
    its place."""
    try:
        found = here.partition(kernel, PERSISTENT)
    except StateCorrupt:
        return None
    for mount in here.mounts(kernel):
        wanted = mount.device == found.device if found is not None else mount.place == DATA_MOUNT
        # Without a partition an overlay is there, which is memory.
        if wanted and not mount.read_only and not mount.device.startswith("0:"):
            return mount.place
    return None


# what goes around an operation ----------------------------------------------------------------------------------------
def hooks(site: Site, stage: str, *, strict: bool, done: str = "") -> None:
    """Runs a stage of the cloud-config files, against the running system and never in an image of a slot.

    Raises the first error when `strict`; else they are warned of. `done`: what no error takes back any more.
    """
    if not site.hooked:
        return
    from treebuilder.cloudconfig.stages import SYSTEM_PATHS, Runner, run_stage

    paths = [os.path.join(site.root, path.lstrip("/")) for path in SYSTEM_PATHS]
    errors = run_stage(
        stage, paths, root=site.root, events=site.events, kernel_arguments=here.command_line(here.Kernel())
    )
    for err in errors if strict else ():
        raise failed_after(stage, done, err) if done else err
    for err in errors:
        site.events.emit(Warned(f"{stage}: {err.message}", err.where, err.hint))
    if stage.startswith("after-"):
        runner = Runner(site.root)
        runner.read(path for path in paths if os.path.exists(path))
        for step in runner.ordered(f"{stage}-chroot"):
            site.events.emit(
                Warned(f"{stage}-chroot is not run: an image of a slot stays as it was published", step.place)
            )


def failed_after(stage: str, done: str, err: TreebuildError) -> TreebuildError:
    """A hook comes after the last write: who reads only the error must not believe that nothing was done."""
    return TreebuildError(
        f"{done}, and {stage} failed: {err.message}", where=err.where, reason=stage,
        hint=err.hint or f"nothing is taken back; treebuild device run-stage {stage} runs it again",
    )  # fmt: skip


@contextmanager
def data_folders(site: Site, labels: Iterable[str]) -> Iterator[tuple[Path, ...]]:
    """Where the partitions OEM and PERSISTENT can be written; of plain folders their places in the root.

    Raises StateCorrupt (reason "no-partition"), TreebuildError.
    """
    with ExitStack() as stack:
        if site.plain:
            places = {OEM: "oem", PERSISTENT: "usr/local"}
            yield tuple(site.root / places[label] for label in labels if site.hooked)
        else:
            kernel = here.Kernel()
            yield tuple(stack.enter_context(writing.writable(kernel, label, site.events)) for label in labels)


def flush(site: Site) -> None:
    """What was written on the state partition counts for the boot loader too."""
    if not site.plain:
        writing.rest(site.state)


def deadline_off(site: Site) -> None:
    """This boot is good: the machine is not started anew by what the initrd has set. Nothing fails by it."""
    program = site.root / _DEADLINE_OFF
    if site.hooked and program.is_file():
        try:
            run([program], check=False)
        except (TreebuildError, OSError) as err:
            site.events.emit(Warned(f"the deadline of this boot was not switched off: {err}"))


def restart(site: Site | None, word: str = "reboot") -> None:
    """`reboot` or `poweroff`, of the machine we run on. Raises ToolFailed, MissingProgram."""
    if site is not None and site.plain:
        site.events.emit(Said(f"this is no machine: no {word}"))
        return
    program = which("systemctl")
    run([program, word] if program is not None else [word])
