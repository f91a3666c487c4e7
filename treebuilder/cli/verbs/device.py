"""Looks after the device that this runs on: its slots active, passive and recovery.

  status                 what runs, what boots next, what failed
  check                  is there a version for this device
  upgrade [SOURCE]       fetch it, write it to a free place, switch: it boots next, on trial
  stage [SOURCE]         the same without the switch
  apply                  switch to what is staged
  cancel                 give up what is staged
  rollback               the other of active and passive boots next
  reset [SOURCE]         active and passive become what recovery has; from recovery only
  confirm                run the health checks: this version is good, or the device boots again
  return                 a recovery that nobody picked gives way to what else boots
  run-stage STAGE        run a stage of the cloud-config files
  lint FILE|DIR...       what is wrong with cloud-config files; nothing of them is run
  rebrand [NAME]         the title of the boot menu's entries
  install DISK [SOURCE]  the live system, or a source, to a disk

SOURCE is category/name[@VERSION] of a configured repository, a reference of a container image, a folder with a root
file system, or an image file (the last two begin with / or ./). Without one the channel counts, else UPGRADE_IMAGE.

examples:
  treebuild device status --json
  treebuild device upgrade --reboot
  treebuild device upgrade system/sampleOS@0.6.0
  treebuild device upgrade --channel stable
  treebuild device upgrade registry.example.org/os:1.4 --recovery-slot
  treebuild device stage ./sampleOS-0.6.0.squashfs --version 0.6.0
  treebuild device install /dev/vda --cloud-init cloud.yaml
  treebuild device lint packages/cloud-config
  treebuild device check --state /tmp/state --recovery /tmp/recovery --channel stable
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.cli.session import Session, add_output_flags, duration
from treebuilder.cli.verbs import device_install, device_lint

if TYPE_CHECKING:
    from treebuilder.app.client_settings import ClientSettings
    from treebuilder.app.device import DeviceOptions, Site
    from treebuilder.app.device_upgrade import Report, Wish

_ACTIONS = (
    "status", "check", "upgrade", "stage", "apply", "cancel", "rollback", "reset", "confirm", "return",
    "run-stage", "lint", "rebrand", "install",
)  # fmt: skip
_WORDS = {"check": 1, "upgrade": 1, "stage": 1, "reset": 1, "run-stage": 1, "rebrand": 1, "install": 2}
_FETCHING = ("check", "upgrade", "stage", "reset")
_CHECK_LIMIT_S = 120.0


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=_ACTIONS, help="what to do")
    parser.add_argument("words", nargs="*", metavar="WORD", help="a source, a stage, a name or files")
    parser.add_argument("--channel", default="", metavar="NAME", help="the channel to follow")
    parser.add_argument(
        "--as", dest="kind", default="", choices=("package", "image", "directory", "file"),
        help="what SOURCE is, where its form does not tell",
    )  # fmt: skip
    parser.add_argument("--version", default="", metavar="VERSION", help="of a SOURCE that does not say its own")
    parser.add_argument("--recovery-slot", action="store_true", help="upgrade, stage: replace recovery")
    parser.add_argument("--force", action="store_true", help="also what is there already, is older, or failed here")
    parser.add_argument("--no-verify", action="store_true", help="look at no signatures")
    parser.add_argument(
        "--strict", action="store_true",
        help="an error in a cloud-config file ends it; in a stage after-..., when all the rest is done",
    )  # fmt: skip
    parser.add_argument("--wipe-persistent", action="store_true", help="reset: delete what is on COS_PERSISTENT")
    parser.add_argument("--wipe-oem", action="store_true", help="reset: delete what is on COS_OEM")
    parser.add_argument("--deadline", action="store_true", help="confirm: what is on trial has had its time")
    parser.add_argument(
        "--time-limit", type=duration, default=_CHECK_LIMIT_S, metavar="S",
        help="confirm: seconds for each check (120)",
    )  # fmt: skip
    power = parser.add_mutually_exclusive_group()
    power.add_argument("--reboot", dest="power", action="store_const", const="reboot", default="", help="when done")
    power.add_argument("--poweroff", dest="power", action="store_const", const="poweroff", help="when done")
    power.add_argument(
        "--no-reboot", dest="power", action="store_const", const="none",
        help="confirm, return: only say that it has to boot",
    )  # fmt: skip
    device_install.add_flags(parser)
    add_folder_flags(parser)
    add_output_flags(parser, short=False)


def add_folder_flags(parser: argparse.ArgumentParser, recovery: str = "--recovery") -> None:
    """A device in plain folders, for authors and tests."""
    group = parser.add_argument_group("a device in folders")
    group.add_argument("--state", default="", metavar="DIR", help="instead of the partition COS_STATE")
    group.add_argument(recovery, dest="recovery", default="", metavar="DIR", help="instead of COS_RECOVERY")
    group.add_argument(
        "--slot", default="active", choices=("active", "passive", "recovery"), help="what was booted (active)"
    )
    group.add_argument("--boot", default="", metavar="ID", help="the boot; another one is another boot")
    group.add_argument(
        "--work", default="", metavar="DIR", help="where to work (default: COS_PERSISTENT, or the state)"
    )
    group.add_argument("--root", default="/", metavar="DIR", help="the running system, with its configuration (/)")


def run(args: argparse.Namespace, session: Session) -> int:
    from treebuilder.errors import ConfigError

    if args.what == "lint":
        return device_lint.run(args.words, session)
    if len(args.words) > _WORDS.get(args.what, 0) or (args.what == "run-stage" and not args.words):
        count = f"at most {_WORDS.get(args.what, 0)} words" if args.what != "run-stage" else "the name of a stage"
        raise ConfigError(f"device {args.what} takes {count}", reason="usage")
    for given, flag, whose in (
        (args.recovery_slot, "--recovery-slot", ("check", "upgrade", "stage")), (args.channel, "--channel", _FETCHING),
        (args.wipe_persistent, "--wipe-persistent", ("reset",)), (args.wipe_oem, "--wipe-oem", ("reset",)),
        (args.deadline, "--deadline", ("confirm",)),
    ):  # fmt: skip
        if given and args.what not in whose:
            raise ConfigError(f"device {args.what} takes no {flag}: it is for {', '.join(whose)}", reason="usage")
    enter(args, session)
    if args.what == "run-stage":
        return _run_stage(args, session)
    if args.what == "install":
        args.no_verify = args.no_verify or device_install.unverified(os.environ)
        wish = device_install.wish_of(args)
        device_install.run(wish, load(args, session, args.no_verify), args.work, session, args.power)
        return 0
    from contextlib import ExitStack

    from treebuilder.app import device

    options = options_of(args)
    with ExitStack() as stack:
        if args.what == "confirm" and not args.deadline:
            stack.enter_context(device.passive_stays(options, session.events))
        return _done(args, session, stack.enter_context(device.opened(options, session.events, session.cancel)))


def enter(args: argparse.Namespace, session: Session) -> None:
    """Root's files and mounts of our own, where they are needed."""
    if not args.state:
        if os.geteuid() == 0:
            session.needs_containers()
    elif args.what in (*_FETCHING, "deploy", "install", "installer", "suc"):
        session.needs_owners()


def options_of(args: argparse.Namespace) -> DeviceOptions:
    from treebuilder.app.device import DeviceOptions

    return DeviceOptions(args.state, args.recovery, args.slot, args.boot, args.work, Path(args.root).absolute())


def load(args: argparse.Namespace, session: Session, insecure: bool) -> ClientSettings:
    """The package client's settings: those of the running system."""
    from treebuilder.app import client_settings

    return client_settings.load(args.config, {}, session.events, luet=False, insecure=insecure)


def _wish(args: argparse.Namespace) -> Wish:
    from treebuilder.app.device_upgrade import Wish
    from treebuilder.device.states import Purpose

    word = args.words[0] if args.words else ""
    purpose = Purpose.RECOVERY if args.recovery_slot else Purpose.UPGRADE
    return Wish(
        word, args.kind, args.channel, args.version, purpose, args.what != "stage", args.force, not args.no_verify,
        args.strict, tuple(args.insecure_registry),
    )  # fmt: skip


def _done(args: argparse.Namespace, session: Session, site: Site) -> int:
    from treebuilder.app import device, device_health, device_upgrade
    from treebuilder.app.device_data import data_folders
    from treebuilder.device.places import OEM, PERSISTENT
    from treebuilder.ui import tables

    def settings(insecure: bool) -> ClientSettings:
        return load(args, session, insecure)

    match args.what:
        case "status":
            found = device_health.status(site)
            session.close()
            tables.write(found.to_json(), session.output, status_text(found.to_json()))
            return 0
        case "confirm":
            return _confirm(args, session, site)
        case "return":
            gone = device_health.give_way(site)
            session.close()
            said = f"nothing boots now: {gone.why}" if gone.why else "the device has to boot again"
            tables.write(gone.to_json(), session.output, said)
            if not gone.why and args.power != "none":
                device.restart(site, args.power or "reboot")
            return 0
        case "rebrand":
            name = device_health.rebrand(site, args.words[0] if args.words else "")
            session.close()
            tables.write({"schema": "treebuild.device-rebrand/1", "name": name}, session.output, f"it is called {name}")
            return 0
        case "check":
            report = device_upgrade.check(site, _wish(args), settings)
        case "apply":
            report = device_upgrade.apply(site)
        case "cancel":
            report = device_upgrade.cancel(site)
        case "rollback":
            report = device_upgrade.roll_back(site)
        case "reset":
            chosen = [label for on, label in ((args.wipe_oem, OEM), (args.wipe_persistent, PERSISTENT)) if on]
            with data_folders(site, chosen) as folders:
                report = device_upgrade.reset(site, _wish(args), settings, folders)
        case _:
            report = device_upgrade.upgrade(site, _wish(args), settings)
    session.close()
    tables.write(report.to_json(), session.output, text_of(report))
    if report.reboot and args.power in ("reboot", "poweroff"):
        device.restart(site, args.power)
    return 0


def text_of(report: Report) -> str:
    """A sentence."""
    from treebuilder.ui.tables import size

    what = report.source or report.version
    match report.state:
        case "upgraded":
            said = f"{report.version} is in its slot"
        case "staged":
            said = f"{report.version} is staged: treebuild device apply switches to it"
        case "up-to-date":
            said = f"{report.standing or report.running or report.version} is up to date"
        case "offered":
            said = f"{what} is there for this device, which runs {report.running}"
        case "reset" | "rolled-back":
            said = f"{report.version} boots next"
        case "cancelled":
            said = f"{report.version}, which was planned, is given up" if report.version else "nothing is planned"
        case reason:
            said = f"{what} is not offered to this device now: {reason}"
    if report.image_bytes:
        said += f" ({size(report.image_bytes)}, of which {size(report.fetched_bytes)} were fetched)"
    return f"{said}; reboot to start it" if report.reboot else said


def _confirm(args: argparse.Namespace, session: Session, site: Site) -> int:
    from treebuilder.app import device, device_health
    from treebuilder.ui import tables

    found = device_health.past_deadline(site) if args.deadline else device_health.confirm(site, args.time_limit)
    session.close()
    lines = [f"{found.version or 'what runs'} is {found.state}"]
    lines += [f"  {each.name}: {'good' if each.good else 'failed'}" for each in found.checks]
    if found.again:
        lines.append("the device has to boot again")
    tables.write(found.to_json(), session.output, "\n".join(lines))
    if found.again and args.power != "none":
        device.restart(site, args.power or "reboot")
    return 0 if found.good else 1


def _run_stage(args: argparse.Namespace, session: Session) -> int:
    from treebuilder.cloudconfig.stages import SYSTEM_PATHS, run_stage
    from treebuilder.device.here import Kernel, command_line
    from treebuilder.events import Warned
    from treebuilder.ui import tables
    from treebuilder.ui.failures import counted

    root = Path(args.root).absolute()
    words = command_line(Kernel()) if root == Path("/") else ""
    named = [word.partition("=")[2] for word in words.split() if word.startswith("cos.setup=")]
    paths = [str(root / path.lstrip("/")) for path in SYSTEM_PATHS] + named
    errors = run_stage(args.words[0], paths, root=root, events=session.events, kernel_arguments=words)
    for err in errors:
        session.events.emit(Warned(err.message, err.where, err.hint))
    session.close()
    value = {
        "schema": "treebuild.device-run-stage/1", "stage": args.words[0],
        "errors": [{"message": err.message, "where": str(err.where or "")} for err in errors],
    }  # fmt: skip
    tables.write(value, session.output, f"{args.words[0]}: {counted(len(errors), 'error')}")
    return 1 if errors and args.strict else 0


def status_text(value: dict[str, object]) -> str:
    from treebuilder.ui import tables

    def name(image: object) -> str:
        return f"{image['version']} ({image['digest'][:19]})" if isinstance(image, dict) else "nothing"

    slots, boot = value["slots"], value["boot"]
    assert isinstance(slots, dict)
    assert isinstance(boot, dict)
    rows = [["running", f"{name(value['running'])}, from {value['booted']}"]]
    rows += [[slot, name(image)] for slot, image in slots.items()]
    tries = "" if boot["tries_left"] is None else f", {boot['tries_left']} tries left"
    rows.append(["boots next", f"{boot['next'] or 'nothing'}{tries}"])
    waits = f"{boot['next']} is what boots" if boot["next"] else "no slot has an image"
    if boot["trial"] and boot["next"] == "active":
        waits = "a new version waits for its boot"
    rows.append(["state", "on trial" if value["on_trial"] else "confirmed" if value["confirmed"] else waits])
    plan = value["plan"]
    if isinstance(plan, dict):
        rows.append(["planned", f"{plan['purpose']} to {name(plan['image'])}: {plan['stage']}"])
    failed, history = value["failed"], value["history"]
    assert isinstance(failed, list)
    assert isinstance(history, list)
    rows += [["failed", f"{each['version']} ({each['why']})"] for each in failed]
    rows += [[each["at"], each["what"]] for each in history]
    return tables.table(["what", "is"], rows)
