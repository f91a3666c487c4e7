"""The commands of cOS images, with their flags and messages: each is a way to call `treebuild device`.

  upgrade [IMAGE]        cos-upgrade: the newest package, a package, a container image or a folder
  reset                  cos-reset: active and passive as recovery has them; PERSISTENCE_RESET=true wipes data too
  deploy [IMAGE]         cos-deploy: the first active and passive of a disk that has only recovery
  rebrand                cos-rebrand: GRUB_ENTRY_NAME becomes the title in the boot menu
  installer DEVICE       cos-installer: the live system to a disk
  feature list           cos-feature: the cloud-config files of /system/features, and which of them are on
  feature enable NAME... a link in /oem/features turns one on; disable NAME... takes it away
  suc                    suc-upgrade: the host at HOST_DIR gets the root that this runs in, and starts anew

/etc/cos-upgrade-image and /etc/cos/config are read as data. A failure ends with 1, but with 2 where flags cannot be
understood, and where the kernel refuses what nothing was prepared for. --config of the installer is a cloud-config
file or its URL.

examples:
  cos-upgrade
  cos-upgrade --docker-image registry.example.org/os:1.4
  cos-upgrade --directory /run/new-root
  cos-installer --config cloud.yaml --tty ttyS0 /dev/vda
  cos-installer --partition-layout disk.yaml --iso https://example.org/os.iso#sha256:DIGEST /dev/vda
  cos-feature enable vagrant
  treebuild cos reset --state state --recovery-dir recovery --slot recovery
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.cli.session import Session
from treebuilder.cli.verbs import cos_feature, cos_suc, device_install
from treebuilder.cli.verbs import device as verb
from treebuilder.device.places import OEM, PERSISTENT, RECOVERY, STATE
from treebuilder.errors import ConfigError, TreebuildError

if TYPE_CHECKING:
    from treebuilder.app.device import Site
    from treebuilder.app.device_install import InstallWish
    from treebuilder.app.device_upgrade import Report, Wish

_ACTIONS = ("upgrade", "reset", "deploy", "rebrand", "installer", "feature", "suc")
_POWER_OFF = {"upgrade": "cos.upgrade.power_off=true", "installer": "cos.install.power_off=true"}


class _FailedError(TreebuildError):
    """As cOS's scripts fail: with 1, and in their words where they have some."""

    exit_code = 1


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=_ACTIONS, help="which command")
    parser.add_argument("words", nargs="*", metavar="WORD", help="an image, a disk, or a feature")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--docker-image", action="store_true", help="IMAGE is a container image")
    how.add_argument("--directory", action="store_true", help="upgrade: IMAGE is a folder with a root file system")
    parser.add_argument("--recovery", dest="into_recovery", action="store_true", help="upgrade: of recovery")
    parser.add_argument("--no-verify", action="store_true", help="look at no signatures")
    parser.add_argument("--no-cosign", action="store_true", help="the same")
    parser.add_argument(
        "--strict", action="store_true",
        help="an error in a cloud-config file ends it; in a stage after-..., when all the rest is done",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="also over what is there already")
    parser.add_argument("--version", default="", metavar="VERSION", help="of an image that does not say its own")
    parser.add_argument("--image", default="", metavar="IMAGE", help="installer: this, and not the live system")
    parser.add_argument("--force-efi", action="store_true", help="installer: for EFI")
    parser.add_argument("--force-gpt", action="store_true", help="installer: a GPT")
    parser.add_argument("--silence-hooks", action="store_true", help="installer: show nothing of cloud-config's stages")
    power = parser.add_mutually_exclusive_group()
    power.add_argument("--poweroff", action="store_true", help="power off when done")
    power.add_argument("--reboot", action="store_true", help="start anew when done")
    device_install.add_flags(parser)
    verb.add_folder_flags(parser, recovery="--recovery-dir")
    parser.add_argument("--json", action="store_true", help="the result as one JSON document on stdout")


def run(args: argparse.Namespace, session: Session) -> int:
    try:
        return _run(args, session)
    except TreebuildError as err:
        if err.exit_code != 2:
            raise
        said = in_words_of_cos(args.what, err)
        hint = err.hint or (err.message if said != err.message else None)
        raise _FailedError(said, hint=hint, where=err.where, reason=err.reason) from err


def in_words_of_cos(what: str, err: TreebuildError) -> str:
    """What cOS's scripts say of the same; our own message where they have no words for it."""
    if err.reason == "reset-elsewhere":
        return f"cos-{what} can be run only from recovery"
    if err.reason == "no-partition":
        for label in (STATE, RECOVERY, PERSISTENT, OEM):
            if label in err.message:
                name = label.removeprefix("COS_")
                return f"{name if label == OEM else name.capitalize()} partition cannot be found"
    return err.message


def _run(args: argparse.Namespace, session: Session) -> int:
    from treebuilder.app import device

    if args.what == "feature":
        return cos_feature.run(args.words, Path(args.root).absolute(), session)
    if args.what == "suc":
        return cos_suc.run(args, session)
    if args.into_recovery and args.what != "upgrade":
        raise _FailedError(f"cos-{args.what} takes no --recovery: it is for cos-upgrade", reason="usage")
    verb.enter(args, session)
    if args.what == "installer":
        return _install(args, session)
    if len(args.words) > (args.what in ("upgrade", "deploy")):
        raise _FailedError(f"cos-{args.what} takes {'one image' if args.words[1:] else 'no word'}", reason="usage")
    with device.opened(verb.options_of(args), session.events, session.cancel) as site:
        return _done(args, session, site)


def _install(args: argparse.Namespace, session: Session) -> int:
    wish = installation(args, os.environ)
    device_install.run(wish, verb.load(args, session, args.no_verify), args.work, session)
    _power(args, None)
    return 0


def installation(args: argparse.Namespace, environment: Mapping[str, str]) -> InstallWish:
    """What the flags and COS_INSTALL_* ask for; flags win. Raises ConfigError (reason "usage")."""

    def said(name: str) -> str:
        return environment.get(f"COS_INSTALL_{name}", "")

    if (args.force_efi and args.firmware == "bios") or (args.force_gpt and args.part_table == "msdos"):
        raise ConfigError(
            "--force-efi and --force-gpt say something else than --firmware, --part-table", reason="usage"
        )
    args.poweroff = not args.reboot and (args.poweroff or said("POWER_OFF") == "true")
    args.no_format = args.no_format or said("NO_FORMAT") == "true"
    args.tty = args.tty or said("TTY")
    cloud_config, args.config = args.config or said("CONFIG_URL"), ""  # the installer's own flag of that name
    args.cloud_init += [cloud_config] if cloud_config else []
    args.firmware = args.firmware or ("efi" if args.force_efi or said("FORCE_EFI") == "true" else "")
    args.part_table = "gpt" if args.force_gpt else args.part_table
    disks, images = args.words, [args.image] if args.image else []
    if args.docker_image:  # in cOS it has the image behind it, before or after the disk
        images += [word for word in disks if not word.startswith("/")]
        disks = [word for word in disks if word.startswith("/")]
        images = [word if "://" in word else f"docker://{word}" for word in images]
        if not images:
            raise ConfigError("--docker-image needs the name of one", reason="usage")
    if not disks and said("DEVICE"):
        disks = [said("DEVICE")]
    args.words = [*disks, *images] if disks else []
    if len(args.words) > 2:
        raise ConfigError(f"a disk and one source, and not {' '.join(args.words)}", reason="usage")
    args.no_verify = args.no_verify or args.no_cosign or device_install.unverified(environment)
    return device_install.wish_of(args)


def _done(args: argparse.Namespace, session: Session, site: Site) -> int:
    from treebuilder.app import device_health, device_upgrade
    from treebuilder.app.device_data import data_folders
    from treebuilder.records import replace
    from treebuilder.ui import tables

    settings = partial(verb.load, args, session)
    if args.what == "rebrand":
        name = device_health.rebrand(site, "")
        tables.write({"schema": "treebuild.device-rebrand/1", "name": name}, session.output, name)
        return 0
    wish = _wish(args)
    if args.what == "upgrade":
        report = device_upgrade.upgrade(site, wish, settings)
    else:
        if args.what == "deploy" and site.machine.status().active is not None and not args.force:
            raise _FailedError(
                "There is already an active deployment in the system, use '--force' flag to overwrite it",
                reason="already-installed",
            )
        wipe = args.what == "reset" and os.environ.get("PERSISTENCE_RESET") == "true"
        with data_folders(site, (OEM, PERSISTENT) if wipe else ()) as folders:
            report = device_upgrade.reset(site, replace(wish, force=True), settings, folders)
    session.close()
    tables.write(report.to_json(), session.output, _text(report))
    if report.reboot:
        _power(args, site)
    return 0


def _wish(args: argparse.Namespace) -> Wish:
    from treebuilder.app.device_upgrade import Wish
    from treebuilder.device.states import Purpose

    kind = "image" if args.docker_image else "directory" if args.directory else ""
    return Wish(
        args.words[0] if args.words else "", kind, "", args.version,
        Purpose.RECOVERY if args.into_recovery else Purpose.UPGRADE, True, args.force,
        not (args.no_verify or args.no_cosign), args.strict, tuple(args.insecure_registry),
    )  # fmt: skip


def _text(report: Report) -> str:
    if report.state == "upgraded" and report.action == "upgrade":
        return f"{report.version}\nUpgrade done, now you might want to reboot"
    return verb.text_of(report)


def _power(args: argparse.Namespace, site: Site | None) -> None:
    """What cOS does when nobody is there to do it: INTERACTIVE=false, or a word of the kernel's command line."""
    from treebuilder.app import device
    from treebuilder.device.here import Kernel, command_line

    off = args.poweroff or _POWER_OFF.get(args.what, " ") in command_line(Kernel()).split()
    if off or args.reboot or os.environ.get("INTERACTIVE") == "false":
        device.restart(site, "poweroff" if off else "reboot")
