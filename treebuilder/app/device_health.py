"""After a boot: whether this version is good, said once its checks passed, or the device boots again.

Also a device as it is, for people and programs.
"""

from __future__ import annotations

from treebuilder.annotations import Any
from treebuilder.app.device import Site, deadline_off, flush
from treebuilder.app.device_reports import report
from treebuilder.device import grubenv, health, here, rules
from treebuilder.device.contents import os_release
from treebuilder.device.health import Checked
from treebuilder.device.places import OEM_ENV
from treebuilder.device.states import Device, Image, Purpose, Slot
from treebuilder.device.workfolder import is_busy
from treebuilder.errors import ConfigError, StateCorrupt
from treebuilder.events import Warned
from treebuilder.records import record
from treebuilder.system.clock import utc
from treebuilder.system.files import disk_errors, write_atomic

CONFIRM_SCHEMA = "treebuild.device-confirm/1"
RETURN_SCHEMA = "treebuild.device-return/1"
STATUS_SCHEMA = "treebuild.device-status/1"
_HISTORY = 20


@record
class Confirmed:
    """What `confirm` found. `again`: this version is on trial and did not pass, so the device has to boot again."""

    good: bool
    again: bool
    was_on_trial: bool
    version: str
    checks: tuple[Checked, ...]

    @property
    def state(self) -> str:
        if not self.good:
            return "unhealthy"
        return "confirmed" if self.was_on_trial else "healthy"

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": CONFIRM_SCHEMA, "state": self.state, "version": self.version, "on_trial": self.was_on_trial,
            "reboot": self.again, "checks": [found.to_json() for found in self.checks],
        }  # fmt: skip


def confirm(site: Site, time_limit_s: float) -> Confirmed:
    """Runs the health checks and says what they mean. Raises StateCorrupt, LockHeld, Cancelled."""
    device = _begun(site)
    found = health.check(health.find(site.health_folders, site.events), time_limit_s, site.events, site.cancel)
    health.keep(site.memory, found, site.started.boot_id)
    for each in found:
        if not each.good:
            site.journal.add(f"the health check {each.name} failed: {' '.join(each.output[-1:])}".rstrip(": "))
    good = all(each.good for each in found)
    try:
        return _said(site, device, good=good, found=found)
    finally:
        # After it is written, for what hangs there is ended by the deadline; and whatever goes wrong there.
        if good and site.hooked:
            deadline_off(site.root, site.events)


def past_deadline(site: Site) -> Confirmed:
    """A version on trial that has not been confirmed by now did not pass; any other is left alone."""
    device = _begun(site)
    if device.on_trial:
        site.journal.add("it was not confirmed in time")
    return _said(site, device, good=not device.on_trial, found=(), settle=device.on_trial)


@record
class GivenWay:
    """Whether recovery boots again, and why not: "" or a sentence."""

    why: str

    def to_json(self) -> dict[str, Any]:
        return {"schema": RETURN_SCHEMA, "state": "stays" if self.why else "returns", "why": self.why}


def give_way(site: Site) -> GivenWay:
    """A recovery that nobody picked, as after three power cuts, gives way to what else there is to boot, unless it is
    of use to somebody. Raises StateCorrupt, LockHeld."""
    if site.started.slot is not Slot.RECOVERY:
        return GivenWay(f"{site.started.slot} runs, and not recovery")
    if not site.plain and not here.came_by_itself(here.Kernel()):
        return GivenWay("somebody picked it")
    user = here.somebody_here(site.root)
    if user:
        return GivenWay(f"{user} is logged in")
    device = site.machine.status()
    plan = device.memory.plan
    if plan is not None and plan.purpose is Purpose.RESET:
        return GivenWay("a reset is under way")
    if rules.boot(rules.power_lost(device)).booted in (None, Slot.RECOVERY):
        return GivenWay("there is nothing else to boot")
    if is_busy(site.work):
        return GivenWay("an upgrade or a reset is at work")
    site.journal.add("recovery gives way to what else there is")
    return GivenWay("")


def _begun(site: Site) -> Device:
    """A good version must not fall back because something that is not part of it was damaged."""
    for wrong in site.machine.mend():
        site.events.emit(Warned(f"{wrong}: it begins anew, without what was planned and which versions failed"))
    return site.machine.status()


def _said(site: Site, before: Device, *, good: bool, found: tuple[Checked, ...], settle: bool = True) -> Confirmed:
    after = before
    if settle:
        after = site.machine.healthy() if good else site.machine.unhealthy()
    report(site, after)
    version = before.running.version if before.running is not None else ""
    return Confirmed(good, before.on_trial and not good, before.on_trial, version, found)


# a device as it is ----------------------------------------------------------------------------------------------------
@record
class Status:
    """The device, and the lines of its history, oldest first."""

    device: Device
    history: tuple[tuple[str, str], ...]

    def to_json(self) -> dict[str, Any]:
        device, plan = self.device, self.device.memory.plan
        pointer = device.pointer
        return {
            "schema": STATUS_SCHEMA, "booted": str(device.booted), "running": _image(device.running),
            "slots": {slot.value: _image(device.slot(slot)) for slot in Slot},
            "boot": {
                "start": pointer.start.value, "tries_left": pointer.left, "spare": pointer.spare,
                "trial": None if pointer.trial is None else str(pointer.trial), "next": _next(device),
            },
            "confirmed": device.confirmed, "on_trial": device.on_trial,
            "plan": None if plan is None else {
                "purpose": plan.purpose.value, "image": _image(plan.image), "stage": plan.stage.value,
                "go": plan.go, "automatic": plan.automatic,
            },
            "failed": [{"version": f.version, "digest": str(f.digest), "why": f.why} for f in device.memory.failed],
            "history": [{"at": at, "what": what} for at, what in self.history],
        }  # fmt: skip


def status(site: Site) -> Status:
    """Raises StateCorrupt, LockHeld."""
    device = site.machine.status()
    lines = site.journal.history()[-_HISTORY:]
    return Status(device, tuple((utc(line.at_epoch_s, "%Y-%m-%dT%H:%M:%SZ"), line.what) for line in lines))


def _image(image: Image | None) -> dict[str, str] | None:
    return None if image is None else {"version": image.version, "digest": str(image.digest)}


def _next(device: Device) -> str | None:
    booted = rules.boot(rules.power_lost(device)).booted
    return None if booted is None else booted.value


# the name in the boot menu --------------------------------------------------------------------------------------------
def rebrand(site: Site, name: str) -> str:
    """Sets the title of the boot menu's entries (`default_menu_entry` in grub_oem_env); what it is then.

    Without a name it is GRUB_ENTRY_NAME of the configuration, else of os-release. Raises ConfigError, StateCorrupt.
    """
    name = name or site.cos_settings().grub_entry_name or os_release(site.root).get("GRUB_ENTRY_NAME", "")
    if not name or not name.isprintable() or len(name) > 200:
        raise ConfigError(
            "no name is said for the boot menu", reason="no-name", hint="GRUB_ENTRY_NAME in /etc/cos/config, or a word"
        )
    path = site.state / OEM_ENV
    with disk_errors(f"reading {path}"):
        try:
            values = grubenv.decode(path.read_bytes(), str(path))
        except (FileNotFoundError, StateCorrupt):
            values = {}
    write_atomic(path, grubenv.encode(values | {"default_menu_entry": name}))
    flush(site)
    return name
