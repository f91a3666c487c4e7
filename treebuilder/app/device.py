"""A device opened: its partitions writable for as long as we work, its machine, and what belongs to it.

The same on plain folders, for authors and tests: nothing is mounted, frozen or rebooted there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from treebuilder.app.device_data import data_place, workplace
from treebuilder.device import here, writing
from treebuilder.device.cosfiles import CosSettings
from treebuilder.device.cosfiles import load as load_cos
from treebuilder.device.followed import Channels, ChannelsFile
from treebuilder.device.grubenv import GrubControl
from treebuilder.device.journal import Journal
from treebuilder.device.places import (
    BOOT_BLOCK,
    HEALTH_FOLDERS,
    RECOVERY,
    SLOT_FOLDER,
    STATE,
)
from treebuilder.device.slots import Slots
from treebuilder.device.states import Slot
from treebuilder.device.upgrade import Machine, Started
from treebuilder.device.workfolder import clear
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
        """What is remembered of channels. A file that cannot be read begins anew: no outsider can damage it, and a
        device that followed nothing any more would be worse."""
        try:
            return ChannelsFile(self.memory).read()
        except StateCorrupt as err:
            self.events.emit(Warned(f"{err.message}: it begins anew", hint=err.hint))
            self.journal.add(f"begun anew: {err.message}")
            self.remember(Channels())
            return Channels()

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
    return Site(machine, state, recovery, started, work, options.root, True, events, cancel, _is_hooked(options))


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

    machine = Machine(
        state, recovery, GrubControl(state / BOOT_BLOCK), started, settled, cancel, noted=writing.run_folder()
    )
    slots = state / SLOT_FOLDER
    if options.work:
        work = Path(options.work).absolute()
    else:
        work = workplace(data_place(kernel), slots, _size(state, recovery, started.slot), started.slot, events)
    clear(slots, keep=work == slots)  # before anything is written: it may be what fills the partition
    return Site(machine, state, recovery, started, work, options.root, False, events, cancel)


def _size(state: Path, recovery: Path | None, slot: Slot) -> int:
    """Of the image that runs; 0 where it is gone."""
    try:
        return Slots(state, recovery).link(slot).stat().st_size
    except (StateCorrupt, OSError):
        return 0


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


def flush(site: Site) -> None:
    """What was written on the state partition counts for the boot loader too."""
    if not site.plain:
        writing.rest(site.state)


def deadline_off(root: Path, events: EventSink) -> None:
    """This boot is good: the machine is not started anew by what the initrd has set. Nothing fails by it."""
    program = root / _DEADLINE_OFF
    if program.is_file():
        try:
            run([program], check=False)
        except (TreebuildError, OSError) as err:
            events.emit(Warned(f"the deadline of this boot was not switched off: {err}"))


@contextmanager
def passive_stays(options: DeviceOptions, events: EventSink) -> Iterator[None]:
    """Around a confirmation. Passive is what a device falls back to, so once it is up it is not started anew, whatever
    its checks say, and where nothing can be read or written any more."""
    try:
        yield
    finally:
        if _is_hooked(options) and _booted(options) is Slot.PASSIVE:
            deadline_off(options.root, events)


def _is_hooked(options: DeviceOptions) -> bool:
    """Programs of the author's own machine have no business with a device in folders."""
    return not options.state or options.root != Path("/")


def _booted(options: DeviceOptions) -> Slot | None:
    try:
        return Slot(options.slot) if options.state else here.started(here.Kernel()).slot
    except TreebuildError:
        return None


def restart(site: Site | None, word: str = "reboot") -> None:
    """`reboot` or `poweroff`, of the machine we run on. Raises ToolFailed, MissingProgram."""
    if site is not None and site.plain:
        site.events.emit(Said(f"this is no machine: no {word}"))
        return
    program = which("systemctl")
    run([program, word] if program is not None else [word])
