"""Installs to a disk: out of the live system that runs, or out of any source of an upgrade."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from treebuilder.annotations import Any
from treebuilder.app.client_settings import ClientSettings
from treebuilder.app.device_packages import PackageSource
from treebuilder.app.device_sources import Context, FileSource, Obtained, UpgradeSource, is_package, source_of
from treebuilder.device import cosfiles, install, isofile
from treebuilder.device.contents import os_release
from treebuilder.device.layout import Firmware, Sizes, Table
from treebuilder.device.slots import Origin
from treebuilder.device.states import Device
from treebuilder.device.workfolder import work_folder
from treebuilder.errors import ConfigError
from treebuilder.events import EventSink, Silent, Warned
from treebuilder.model.digest import Digest
from treebuilder.model.words import parse_selector
from treebuilder.records import record, replace
from treebuilder.system.process import Cancel

SCHEMA = "treebuild.device-install/1"
LIVE_IMAGES = ("/run/initramfs/live/rootfs.squashfs", "/run/initramfs/live/recovery.squashfs")
LIVE_RECOVERY = LIVE_IMAGES[1]
_REMOTE = ("http://", "https://")
_MAX_CONFIG, _MAX_ISO = 1 << 20, 16 << 30


@record
class InstallWish:
    """What was asked. `word` names a source as for an upgrade; "" for the live system. `configs` are files and URLs.

    `iso` is a source too: a file, a drive, or a URL. `own_layout` is a cloud-config file that says the partitions.
    """

    disk: str
    word: str = ""
    version: str = ""
    configs: tuple[str, ...] = ()
    firmware: Firmware | None = None
    table: Table | None = None
    sizes: Sizes = Sizes()
    format: bool = True
    force: bool = False
    tty: str = ""
    title: str = ""
    verify: bool = True
    strict: bool = False
    insecure: tuple[str, ...] = ()
    iso: str = ""
    own_layout: str = ""
    silent: bool = False  # nothing is shown of what the stages do but their errors


def run(
    wish: InstallWish, settings: ClientSettings, work: Path, events: EventSink, cancel: Cancel
) -> install.Installed:
    """Raises what the source and `device.install.install` raise; before the disk is partitioned nothing has changed.
    With `wish.strict` TreebuildError (reason "after-install") too: then it is installed."""
    context = Context(settings, events, cancel, wish.verify, insecure=wish.insecure)
    shown = Silent() if wish.silent else events
    _stage("before-install", events, shown, strict=wish.strict)
    with ExitStack() as stack:
        folder = stack.enter_context(work_folder(work)).folder
        configs = tuple(_config(text, folder, context) for text in wish.configs)
        own_layout = _config(wish.own_layout, folder, context) if wish.own_layout else None
        if wish.iso:
            found, recovery = _out_of_iso(wish, context, folder, stack)
        else:
            install.check_target(wish.disk)  # before anything large is fetched
            found = _obtained(wish, context, folder)
            recovery = Path(LIVE_RECOVERY) if not wish.word and Path(LIVE_RECOVERY).is_file() else None
        options = install.InstallOptions(
            wish.disk, found.path, found.version, recovery if recovery != found.path else None, "", wish.firmware,
            wish.table, wish.sizes, configs, wish.format, wish.force, wish.tty, wish.title or _title(events),
            own_layout=own_layout, origin=found.origin,
            recovery_origin=_file_or_url(wish.iso or str(recovery)) if recovery is not None else found.origin,
        )  # fmt: skip
        done = install.install(options, events=events, cancel=cancel)
    said = f"{done.image.version} is installed on {done.disk.node}"
    _stage("after-install", events, shown, strict=wish.strict, done=said)
    return done


def to_json(done: install.Installed) -> dict[str, Any]:
    """The result of `treebuild device install --json`."""
    return {
        "schema": SCHEMA, "disk": str(done.disk.node), "firmware": done.firmware.value,
        "partitions": [{"label": part.label, "device": str(part.node)} for part in done.partitions],
        "image": {"version": done.image.version, "digest": str(done.image.digest)},
        "recovery": {"version": done.recovery.version, "digest": str(done.recovery.digest)},
    }  # fmt: skip


def _obtained(wish: InstallWish, context: Context, folder: Path) -> Obtained:
    word = wish.word or next((path for path in LIVE_IMAGES if Path(path).is_file()), "")
    if not word:
        raise ConfigError(
            "this is no live system, so it has to be said what to install", reason="no-source",
            hint="treebuild device install DEVICE SOURCE",
        )  # fmt: skip
    if not wish.word:
        source: UpgradeSource | None = FileSource(Path(word), wish.version, context)
    else:
        source = source_of(word, version=wish.version, context=context)
    if source is None:
        assert is_package(word)
        named = f"{word}@{wish.version}" if wish.version and "@" not in word else word
        source = PackageSource(parse_selector(named), context, newest=False)
    source.look(Device(None, None, None), folder)
    return source.obtain(folder)


def _out_of_iso(wish: InstallWish, context: Context, folder: Path, stack: ExitStack) -> tuple[Obtained, Path | None]:
    """The images of an ISO, which stays mounted as long as the stack."""
    if wish.word:
        raise ConfigError(f"an ISO is to be installed, and {wish.word}: only one can be", reason="usage")
    iso = _iso(wish, context, folder) if wish.iso.startswith(_REMOTE) else Path(wish.iso)
    images = stack.enter_context(isofile.opened(iso, folder / "iso"))
    source = FileSource(images.system, wish.version, context)
    source.look(Device(None, None, None), folder)
    return replace(source.obtain(folder), origin=_file_or_url(wish.iso)), images.recovery


def _file_or_url(word: str) -> Origin:
    """Of a URL its host and path: the rest may be a secret."""
    if not word.startswith(_REMOTE):
        return Origin(f"file://{Path(word).absolute()}")
    from urllib.parse import urlsplit

    parts = urlsplit(word)
    return Origin(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")


def _iso(wish: InstallWish, context: Context, folder: Path) -> Path:
    """An ISO of the network. Nothing in it is signed, so its digest has to be known, or nobody wants to know."""
    url, _, pinned = wish.iso.partition("#sha256:")
    if not pinned and context.verify:
        raise ConfigError(
            f"nothing vouches for {url}", reason="no-keys",
            hint=f"say its digest ({url}#sha256:…), or --no-verify",
        )  # fmt: skip
    try:
        digest = Digest(pinned) if pinned else None
    except ValueError as err:
        raise ConfigError(f"{wish.iso}: {err}", reason="usage", hint="#sha256: and 64 hexadecimal digits") from err
    install.check_target(wish.disk)
    return _fetched(url, digest, folder, context, _MAX_ISO)


def _config(text: str, folder: Path, context: Context) -> Path:
    """A file, or a URL's document. Raises ConfigError, TransportError."""
    if not text.startswith(_REMOTE):
        path = Path(text)
        if not path.is_file():
            raise ConfigError(f"there is no file {text}", hint="a cloud-config file, or an http or https URL")
        return path
    return _fetched(text, None, folder, context, _MAX_CONFIG)


def _fetched(url: str, digest: Digest | None, folder: Path, context: Context, max_bytes: int) -> Path:
    """A URL's document as a file of the work folder. Raises TransportError, IntegrityError, NoSpace."""
    from treebuilder.app.device_sources import opened_store
    from treebuilder.oci.download import Downloader

    with opened_store(folder) as store:
        found = Downloader(store, context.cancel, max_bytes=max_bytes).fetch(url, digest)
        path = folder / f"fetched-{found.hex[:16]}"
        if not path.exists():
            os.link(store.blob_path(found), path)
    return path


def _title(events: EventSink) -> str:
    found, _ = cosfiles.load(Path("/"), {})
    return found.grub_entry_name or os_release(Path("/")).get("GRUB_ENTRY_NAME", "") or "cOS"


def _stage(stage: str, events: EventSink, shown: EventSink, *, strict: bool, done: str = "") -> None:
    from treebuilder.app.device import failed_after
    from treebuilder.cloudconfig.stages import SYSTEM_PATHS, run_stage

    for err in run_stage(stage, SYSTEM_PATHS, events=shown):
        if strict:
            raise failed_after(stage, done, err) if done else err
        events.emit(Warned(f"{stage}: {err}"))
