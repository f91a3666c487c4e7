"""Upgrades of a device: looked for, fetched, staged, applied; rolled back, reset."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from treebuilder.annotations import Any
from treebuilder.app.client_settings import ClientSettings
from treebuilder.app.device import Site, hooks
from treebuilder.app.device_packages import ChannelSource, Follower, PackageSource
from treebuilder.app.device_reports import report
from treebuilder.app.device_sources import Context, Obtained, Offer, UpgradeSource, digest_of, is_package, source_of
from treebuilder.channel.rules import Verdict
from treebuilder.device import rules
from treebuilder.device.cosfiles import CosSettings
from treebuilder.device.followed import Followed
from treebuilder.device.slots import Source
from treebuilder.device.states import Device, Image, Purpose, Slot
from treebuilder.device.workfolder import work_folder
from treebuilder.errors import ConfigError, NoSpace, UpdateRefused
from treebuilder.events import Said, Warned
from treebuilder.model.words import parse_selector
from treebuilder.records import record, replace
from treebuilder.system.files import disk_errors, remove_tree

SCHEMA = "treebuild.device-upgrade/1"
Load = Callable[[bool], ClientSettings]  # the client's settings; True: no signature is looked at


@record
class Wish:
    """What was asked. `word` names a source by its form; without one the channel counts, else the configuration.

    `kind` says what the word is ("package", "image", "directory", "file"; "" by its form). `force`: also what is there
    already or failed here. `insecure`: registries that plain HTTP is spoken with.
    """

    word: str = ""
    kind: str = ""
    channel: str = ""
    version: str = ""
    purpose: Purpose = Purpose.UPGRADE
    go: bool = True
    force: bool = False
    verify: bool = True
    strict: bool = False
    insecure: tuple[str, ...] = ()


@record
class Report:
    """What came of it. `state`: "upgraded", "staged", "reset", "up-to-date", "rolled-back", "cancelled", "offered", or
    why a channel does not offer its version. `reboot`: it counts after the next boot. `fetched_bytes` of packages or
    layers came over the network for it, and `image_bytes` is what they became. `standing`, for people: the version that
    a newer one was looked for, of recovery where it is for recovery."""

    action: str
    state: str
    version: str = ""
    running: str = ""
    source: str = ""
    digest: str = ""
    critical: bool = False
    reboot: bool = False
    fetched_bytes: int = 0
    image_bytes: int = 0
    standing: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA, "action": self.action, "state": self.state, "version": self.version,
            "running": self.running, "source": self.source, "digest": self.digest, "critical": self.critical,
            "reboot": self.reboot, "fetched_bytes": self.fetched_bytes, "image_bytes": self.image_bytes,
        }  # fmt: skip


def check(site: Site, wish: Wish, load: Load) -> Report:
    """Whether there is a version for this device. Raises what an upgrade to it raises before it fetches something."""
    device = site.machine.status()
    rules.admit(device, wish.purpose)
    report(site, device)
    with work_folder(site.work) as work:
        _, offer = _looked(site, wish, load, device, work.folder)
    return _report("check", offer.state, device, offer, wish.purpose)


def upgrade(site: Site, wish: Wish, load: Load) -> Report:
    """Fetches and stages a version, and switches to it when `wish.go`.

    Raises UpdateRefused, IntegrityError, NoSpace, TransportError, ConfigError, SpecError, LockHeld: then the slots are
    as they were, and a rerun goes on or begins anew. With `wish.strict` TreebuildError (reason "after-upgrade") too:
    then it is done.
    """
    action = "upgrade" if wish.go else "stage"
    device = site.machine.status()
    rules.admit(device, wish.purpose)
    report(site, device)
    with work_folder(site.work) as work:
        source, offer = _looked(site, wish, load, device, work.folder)
        if offer.state != "offered":
            _withdraw(site, device, offer)
            return _report(action, offer.state, device, offer, wish.purpose)
        if _unnamed(wish, offer) and wish.purpose is Purpose.UPGRADE:
            done = _come_so_far(site, device, wish, offer)
            if done is not None:
                return done
        _preflight(site, wish.purpose, offer)
        _warn_of_staged(site, device, wish)
        stage = "reset" if wish.purpose is Purpose.RESET else "upgrade"
        hooks(site, f"before-{stage}", strict=wish.strict)
        site.events.emit(Said(f"fetching {offer.source}"))
        obtained = source.obtain(work.folder)
        size = obtained.path.stat().st_size  # before it moves to its slot
        before = device
        device, image = _installed(site, device, wish, offer, obtained)
        if obtained.archives and site.work != site.memory:  # COS_STATE is for images
            work.keep(obtained.archives)
    state = _outcome(before, device, image, wish.purpose)
    if wish.purpose is not Purpose.RESET:  # that is not done yet
        hooks(site, "after-upgrade", strict=wish.strict, done=_done(image, wish.purpose, state))
    found = _report(action, state, device, offer, wish.purpose)
    return replace(found, version=image.version, digest=str(image.digest),
                   reboot=state == "upgraded" and wish.purpose is not Purpose.RECOVERY,
                   fetched_bytes=obtained.fetched_bytes, image_bytes=size)  # fmt: skip


def _done(image: Image, purpose: Purpose, state: str) -> str:
    if state != "upgraded":
        return f"{image.version} is {'staged' if state == 'staged' else 'there already'}"
    return f"{image.version} {'is recovery' if purpose is Purpose.RECOVERY else 'boots next'}"


def _warn_of_staged(site: Site, device: Device, wish: Wish) -> None:
    """A device plans one thing at a time."""
    plan = device.memory.plan
    if plan is not None and plan.on_disk and plan.purpose is not wish.purpose:
        site.events.emit(
            Warned(
                f"{plan.image.version}, staged as {plan.purpose}, is given up for this",
                hint="stage it again afterwards",
            )
        )


def apply(site: Site) -> Report:
    """Switches to what is staged. Raises UpdateRefused (reason "nothing-staged"), IntegrityError."""
    plan = site.machine.status().memory.plan
    device = site.machine.go_on()
    assert plan is not None
    return Report("apply", "upgraded", plan.image.version, _running(device), digest=str(plan.image.digest),
                  reboot=plan.purpose is not Purpose.RECOVERY)  # fmt: skip


def roll_back(site: Site) -> Report:
    """The other of active and passive boots next. Raises UpdateRefused (reasons nothing-there, under-way)."""
    device = site.machine.roll_back()
    target = device.slot(device.pointer.start)
    assert target is not None
    return Report("rollback", "rolled-back", target.version, _running(device), digest=str(target.digest), reboot=True)


def cancel(site: Site) -> Report:
    """Gives up what is staged or was cut off; its version, "" where there is nothing."""
    plan = site.machine.status().memory.plan
    device = site.machine.cancel()
    return Report("cancel", "cancelled", "" if plan is None else plan.image.version, _running(device))


def reset(site: Site, wish: Wish, load: Load, folders: Iterable[Path]) -> Report:
    """Active and passive become what recovery has, or another source; what is in `folders` goes. From recovery only.

    The image is whole and verified before anything goes, and data goes before the switch: a reset that was cut is done
    again, and one that is done leaves nothing behind.
    Raises UpdateRefused (reason "reset-elsewhere", "nothing-there", "not-offered"), and what `upgrade` raises; a hook's
    error (reason "after-reset") when it is done.
    """
    if site.started.slot is Slot.RECOVERY:
        for wrong in site.machine.begin_anew():
            site.events.emit(Warned(f"{wrong}: the reset begins anew"))
    device = site.machine.status()
    rules.admit(device, Purpose.RESET)
    if wish.word or wish.channel or wish.kind or wish.version:
        found = upgrade(site, replace(wish, purpose=Purpose.RESET, go=False), load)
        if found.state not in ("staged", "upgraded"):  # nothing goes for a version that does not come
            raise UpdateRefused(
                f"{found.source} is not offered to this device now: {found.state}", reason="not-offered",
                hint="reset to what recovery has, or name a package or an image",
            )  # fmt: skip
        source = found.source
    else:
        hooks(site, "before-reset", strict=wish.strict)
        if device.recovery is None:
            raise UpdateRefused("recovery names no image to reset to", reason="nothing-there", hint="name a source")
        site.machine.upgrade(device.recovery, Source(site.image_file(Slot.RECOVERY)), Purpose.RESET, go=False)
        source = "recovery"
    for folder in folders:
        _empty(folder)
    device = site.machine.status()
    if device.memory.plan is not None:  # else it was reset to this image before, and did not boot yet
        device = site.machine.go_on()
    image = device.active
    assert image is not None
    hooks(site, "after-reset", strict=wish.strict, done=f"{image.version} boots next")
    return Report("reset", "reset", image.version, _running(device), source, str(image.digest), reboot=True)


# parts ----------------------------------------------------------------------------------------------------------------
def _context(site: Site, wish: Wish, load: Load, device: Device, *, verify: bool) -> Context:
    if wish.channel and (wish.word or wish.version or wish.kind):
        raise ConfigError(
            "a channel says what its version is and where it comes from", reason="usage",
            hint="either --channel, or a source, what it is and its --version",
        )  # fmt: skip
    size = 0
    if device.booted is not None and device.running is not None:
        try:
            size = site.image_file(device.booted).stat().st_size
        except OSError:
            size = 0
    return Context(load(not verify), site.events, site.cancel, verify, size, wish.insecure)


def _looked(site: Site, wish: Wish, load: Load, device: Device, folder: Path) -> tuple[UpgradeSource, Offer]:
    said = site.cos_settings()
    source = _source(site, wish, said, _context(site, wish, load, device, verify=wish.verify and said.verify))
    offer = source.look(device, folder)
    if offer.state == "offered" and _is_there(device, offer, wish):
        offer = replace(offer, state="up-to-date")
    if offer.state == "offered" and _unnamed(wish, offer):
        rules.refuse_failed(device, offer.version)
    return source, offer


def _unnamed(wish: Wish, offer: Offer) -> bool:
    """Nobody asked for this version: a channel did, or a file of the device, whatever kind of source that names."""
    return not wish.force and (offer.automatic or not (wish.word or wish.version))


def _source(site: Site, wish: Wish, said: CosSettings, context: Context) -> UpgradeSource:
    word, kind = wish.word, wish.kind
    if not word:
        recovery_image = said.recovery_image if wish.purpose is Purpose.RECOVERY else ""
        followed = said.channel if said.channel_upgrades and not recovery_image and not kind else ""
        channel = wish.channel or followed
        if channel:
            follower = Follower(site.machine_id, site.channels(), site.remember)
            return ChannelSource(channel, follower, context, wish.purpose, force=wish.force)
        word = recovery_image or said.upgrade_image
        if not word:
            raise ConfigError(
                "nothing says what to upgrade to", reason="no-source",
                hint="name a source, or set CHANNEL or UPGRADE_IMAGE in /etc/cos-upgrade-image",
            )  # fmt: skip
        if not said.channel_upgrades and not kind:
            kind = "image"
    if kind in ("directory", "file") and not word.startswith(("/", ".")):
        word = f"./{word}"
    if kind == "image" and not word.startswith(("oci:", "file://", "docker://")):
        word = f"docker://{word}"
    if kind == "package" and not is_package(word):
        raise ConfigError(f"{word!r} is no package", hint="category/name, or category/name@VERSION")
    found = source_of(word, version=wish.version, context=context)
    if found is not None:
        return found
    ref = parse_selector(f"{word}@{wish.version}" if wish.version and "@" not in word else word)
    newest = "@" not in word and not wish.version and not wish.force
    return PackageSource(ref, context, newest=newest, purpose=wish.purpose)


def _is_there(device: Device, offer: Offer, wish: Wish) -> bool:
    """The version that is asked for is the good one, or the one that runs on trial, and nobody insists."""
    if wish.force or wish.purpose is Purpose.RESET or not offer.version:
        return False
    if wish.purpose is Purpose.RECOVERY:
        return device.recovery is not None and device.recovery.version == offer.version
    good = device.confirmed or device.on_trial  # which nothing may end but its own tries
    return good and device.active is not None and device.active.version == offer.version


def _come_so_far(site: Site, device: Device, wish: Wish, offer: Offer) -> Report | None:
    """What nobody named is not fetched again while it waits, for its boot or for the switch; None where it does not.

    Raises UpdateRefused, IntegrityError (of what was staged, which is given up then).
    """
    plan, active, action = device.memory.plan, device.active, "upgrade" if wish.go else "stage"
    waits = device.pointer.trial is not None and device.pointer.start is Slot.ACTIVE
    if waits and active is not None and active.version == offer.version:
        found = _report(action, "upgraded", device, offer, wish.purpose)
        return replace(found, digest=str(active.digest), reboot=True)
    if plan is None or (plan.purpose, plan.image.version) != (wish.purpose, offer.version) or not plan.on_disk:
        return None
    if wish.go:
        device = site.machine.go_on()
    found = _report(action, "upgraded" if wish.go else "staged", device, offer, wish.purpose)
    return replace(found, digest=str(plan.image.digest), reboot=wish.go)


def _withdraw(site: Site, device: Device, offer: Offer) -> None:
    """What is staged because of a channel is given up when the channel halts: `apply` asks nobody any more."""
    plan = device.memory.plan
    halted = offer.state == Verdict.HALTED and plan is not None and plan.image.version == offer.version
    if halted and plan is not None and plan.automatic and not plan.go:
        site.machine.cancel()
        site.events.emit(Said(f"{offer.version} was staged, and is given up"))


def _outcome(before: Device, after: Device, image: Image, purpose: Purpose) -> str:
    """What became of an image that was asked for."""
    plan = after.memory.plan
    if plan is not None and (plan.purpose, plan.image) == (purpose, image):
        return "staged"
    if purpose is Purpose.RECOVERY:
        return "up-to-date" if before.recovery == image else "upgraded"
    return "upgraded" if after.pointer.trial == image.digest and not after.on_trial else "up-to-date"


def _preflight(site: Site, purpose: Purpose, offer: Offer) -> None:
    room = site.machine.room(purpose)
    if offer.size_bytes > room:
        raise NoSpace(
            f"{offer.source} needs about {offer.size_bytes >> 20} MiB for its image, and there are {room >> 20} MiB",
            hint="nothing was fetched and nothing was changed",
        )


def _installed(site: Site, device: Device, wish: Wish, offer: Offer, obtained: Obtained) -> tuple[Device, Image]:
    image = Image(obtained.version, digest_of(obtained.path))
    if _unnamed(wish, offer):  # not every source says its version before it is fetched
        rules.refuse_failed(device, image.version, image.digest)
    if offer.channel and wish.purpose is not Purpose.RECOVERY:  # which shows not by itself whether it is good
        followed = Followed(offer.channel, offer.snapshot, image.version, image.digest, offer.report_url)
        site.remember(site.channels().follow(followed))
    automatic = offer.automatic and not wish.force and wish.purpose is Purpose.UPGRADE
    source = Source(obtained.path, obtained.origin)
    return site.machine.upgrade(image, source, wish.purpose, automatic=automatic, go=wish.go), image


def _report(action: str, state: str, device: Device, offer: Offer, purpose: Purpose) -> Report:
    good = device.recovery if purpose is Purpose.RECOVERY else device.standing
    return Report(action, state, offer.version, _running(device), offer.source, critical=offer.critical,
                  standing="" if good is None else good.version)  # fmt: skip


def _running(device: Device) -> str:
    return "" if device.running is None else device.running.version


def _empty(folder: Path) -> None:
    with disk_errors(f"emptying {folder}"):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.name != "lost+found":
                remove_tree(path)
