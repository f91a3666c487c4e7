"""A device that is looked after by itself: what its files name, where it runs, and how far it has come already."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from tests.unit.device_fleet import Capture, Fleet, asked, device, lay, refused, says
from treebuilder.cli.main import main
from treebuilder.device.contents import machine
from treebuilder.device.states import Slot

__all__ = ["device"]  # a fixture


@pytest.fixture
def signed(device: Fleet, capsys: Capture) -> Fleet:
    """A channel `stable` at 2.0, signed by team.key, which the device trusts and follows."""
    assert main(["key", "new", "team.key", "--quiet"]) == 0
    device.configure(keys=("team.key.pub",))
    device.package("2.0")
    device.publish("2.0", sign="team.key")
    says(device, CHANNEL="stable")
    capsys.readouterr()
    return device


def archive(folder: Path) -> str:
    """A folder as an image of a container, as `docker save` writes one."""
    top = folder.with_name(f"{folder.name}-image")
    top.mkdir()
    with tarfile.open(top / "layer.tar", "w") as layer:
        layer.add(folder, ".")
    digest = hashlib.sha256((top / "layer.tar").read_bytes()).hexdigest()
    config = {"architecture": machine(), "os": "linux", "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]}}
    (top / "config.json").write_text(json.dumps(config))
    (top / "manifest.json").write_text(json.dumps([{"Config": "config.json", "RepoTags": [], "Layers": ["layer.tar"]}]))
    with tarfile.open(folder.with_suffix(".tar"), "w") as out:
        out.add(top, ".")
    return f"file://{folder.with_suffix('.tar')}"


# whose word counts ----------------------------------------------------------------------------------------------------
def test_verify_of_cos_turns_no_signature_off(signed: Fleet, capsys: Capture) -> None:
    (signed.shop.build / "channel-stable.json").unlink()
    signed.publish("2.0")
    says(signed, CHANNEL="stable", VERIFY="false")
    assert refused(signed, capsys, "upgrade") == "unsigned"
    says(signed, CHANNEL="stable", NO_VERIFY="true")
    assert asked(signed, capsys, "upgrade")["state"] == "upgraded"


# where it runs --------------------------------------------------------------------------------------------------------
def in_recovery(device: Fleet) -> None:
    device.slot, device.boots = Slot.RECOVERY, device.boots + 1


@pytest.mark.parametrize("source", ["channel", "package"])
def test_recovery_brings_back_a_device_whose_other_slots_are_gone(signed: Fleet, capsys: Capture, source: str) -> None:
    if source == "package":
        signed.configure()
        says(signed, UPGRADE_IMAGE="system/os")
    asked(signed, capsys, "upgrade")
    assert signed.boot() == "2.0"
    asked(signed, capsys, "confirm")
    asked(signed, capsys, "upgrade", str((signed.state / "cOS/active.img").resolve()), "--recovery-slot")
    in_recovery(signed)
    assert asked(signed, capsys, "upgrade")["state"] == "up-to-date"
    for name in ("active.img", "passive.img"):
        (signed.state / "cOS" / name).unlink()
    assert asked(signed, capsys, "check")["state"] == "offered"
    assert asked(signed, capsys, "upgrade")["state"] == "upgraded"
    assert signed.versions() == ["2.0", None, "2.0"]
    assert (signed.boot(), signed.slot) == ("2.0", Slot.ACTIVE)


def test_an_old_recovery_takes_nothing_older_than_what_boots_by_itself(device: Fleet, capsys: Capture) -> None:
    asked(device, capsys, "upgrade", str(lay(device.top / "new", "2.0")))
    assert device.boot() == "2.0"
    asked(device, capsys, "confirm")
    device.package("1.5")
    for slot in (Slot.RECOVERY, Slot.PASSIVE):
        device.slot, device.boots = slot, device.boots + 1
        assert asked(device, capsys, "upgrade", "system/os")["state"] == "up-to-date"
        assert device.versions() == ["2.0", "1.0", "1.0"]


# what a file of the device names --------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["folder", "image", "package"])
def test_a_source_that_a_file_names_is_not_tried_again_after_it_failed(
    device: Fleet, capsys: Capture, kind: str
) -> None:
    folder = lay(device.top / "new", "2.0")
    if kind == "folder":
        says(device, UPGRADE_IMAGE=str(folder))
    elif kind == "image":
        says(device, UPGRADE_IMAGE=archive(folder), CHANNEL_UPGRADES="false")
    else:
        device.package("2.0")
        says(device, UPGRADE_IMAGE="system/os@2.0")
    asked(device, capsys, "upgrade")
    assert [device.boot() for _ in range(4)] == ["2.0", "2.0", "2.0", "1.0"]
    asked(device, capsys, "status")
    assert refused(device, capsys, "upgrade") == "failed-before"
    if kind != "image":  # whose version is known only once it is here
        assert refused(device, capsys, "check") == "failed-before"
    assert device.leftovers() == []
    assert asked(device, capsys, "upgrade", "--force")["state"] == "upgraded"


def test_a_look_says_what_an_upgrade_would(device: Fleet, capsys: Capture) -> None:
    device.package("1.0")
    for words in (("system/os@1.0",), ("system/os", "--recovery-slot"), (str(device.top / "first-1.0"),)):
        assert asked(device, capsys, "check", *words)["state"] == "up-to-date"
        assert asked(device, capsys, "upgrade", *words)["state"] == "up-to-date"
    in_recovery(device)
    assert refused(device, capsys, "check", "system/os", "--recovery-slot") == "recovery-in-use"


# how far it has come --------------------------------------------------------------------------------------------------
def test_who_asks_for_what_runs_on_trial_does_not_use_its_tries_up(device: Fleet, capsys: Capture) -> None:
    folder = lay(device.top / "new", "2.0")
    asked(device, capsys, "upgrade", str(folder))
    assert device.boot() == "2.0"
    for more in ((), ("--force",)):
        said = asked(device, capsys, "upgrade", str(folder), *more)
        assert (said["state"], said["reboot"]) == ("up-to-date", False)
    assert asked(device, capsys, "confirm")["state"] == "confirmed"


def test_what_is_there_already_is_not_said_to_be_done(device: Fleet, capsys: Capture) -> None:
    folder = str(device.top / "first-1.0")
    for words in (("upgrade", folder), ("stage", folder), ("upgrade", folder, "--recovery-slot")):
        said = asked(device, capsys, *words, "--force")
        assert (said["state"], said["reboot"]) == ("up-to-date", False)
    asked(device, capsys, "upgrade", str(lay(device.top / "new", "2.0")))
    assert device.boot() == "2.0"
    asked(device, capsys, "confirm")
    in_recovery(device)
    said = asked(device, capsys, "upgrade", str(device.top / "new"), "--force")
    assert (said["state"], said["reboot"]) == ("up-to-date", False)


def test_what_waits_for_its_boot_or_the_switch_is_not_fetched_again(signed: Fleet, capsys: Capture) -> None:
    first = asked(signed, capsys, "stage")
    assert (first["state"], first["reboot"]) == ("staged", False)
    for package in signed.shop.build.glob("os-system-*.package.tar*"):
        package.unlink()  # who tried to fetch it would say so
    assert asked(signed, capsys, "stage")["state"] == "staged"
    assert signed.boot() == "1.0"
    assert asked(signed, capsys, "stage")["state"] == "staged"
    assert signed.versions() == ["1.0", "1.0", "1.0"]
    for words in (("upgrade",), ("upgrade",), ("stage",)):
        said = asked(signed, capsys, *words)
        assert (said["state"], said["reboot"], said["digest"]) == ("upgraded", True, first["digest"])
        assert (said["version"], said["running"], said["fetched_bytes"]) == ("2.0", "1.0", 0)
    assert signed.versions() == ["2.0", "1.0", "1.0"]
    assert signed.boot() == "2.0"
    asked(signed, capsys, "confirm")
    assert signed.leftovers() == []


@pytest.mark.parametrize("verb", ["stage", "upgrade"])
def test_what_a_channel_had_staged_is_given_up_when_it_halts(signed: Fleet, capsys: Capture, verb: str) -> None:
    asked(signed, capsys, "stage")
    words = ["channel", "halt", "stable", "--repository", str(signed.shop.build), "--sign", "team.key", "--quiet"]
    assert main([*words, "--cache-dir", "cache"]) == 0
    assert asked(signed, capsys, "check")["state"] == "halted"
    assert asked(signed, capsys, "status")["plan"] is not None  # who only looks changes nothing
    assert asked(signed, capsys, verb)["state"] == "halted"
    assert refused(signed, capsys, "apply") == "nothing-staged"
    assert len(list((signed.state / "cOS/images").iterdir())) == 1


def test_what_somebody_staged_by_name_stays_when_the_channel_halts(signed: Fleet, capsys: Capture) -> None:
    asked(signed, capsys, "stage", str(lay(signed.top / "new", "2.0")))
    words = ["channel", "halt", "stable", "--repository", str(signed.shop.build), "--sign", "team.key", "--quiet"]
    assert main([*words, "--cache-dir", "cache"]) == 0
    assert asked(signed, capsys, "upgrade")["state"] == "halted"
    assert asked(signed, capsys, "apply")["state"] == "upgraded"


# a channel for the other slots ----------------------------------------------------------------------------------------
def test_recovery_follows_the_channel_as_active_does(signed: Fleet, capsys: Capture) -> None:
    signed.package("3.0")  # which the channel does not name
    says(signed, CHANNEL="stable", UPGRADE_IMAGE="system/os")
    assert asked(signed, capsys, "check", "--recovery-slot")["state"] == "offered"
    said = asked(signed, capsys, "upgrade", "--recovery-slot")
    assert (said["state"], said["version"], said["reboot"]) == ("upgraded", "2.0", False)
    assert signed.versions() == ["1.0", "1.0", "2.0"]
    assert asked(signed, capsys, "upgrade", "--recovery-slot")["state"] == "up-to-date"
    asked(signed, capsys, "upgrade")
    assert signed.versions() == ["2.0", "1.0", "2.0"]
    signed.package("2.5")
    signed.publish("2.5", "--percentage", "0", sign="team.key")
    assert asked(signed, capsys, "upgrade", "--recovery-slot")["state"] == "not-in-share"
    says(signed, CHANNEL="stable", RECOVERY_IMAGE=str(lay(signed.top / "new", "5.0")))
    assert asked(signed, capsys, "upgrade", "--recovery-slot")["version"] == "5.0"


def test_a_reset_to_what_the_channel_names(signed: Fleet, capsys: Capture) -> None:
    data = signed.root / "usr/local/data"
    data.parent.mkdir(parents=True)
    data.write_text("mine")
    in_recovery(signed)
    asked(signed, capsys, "status")
    words = ("reset", "--channel", "stable", "--wipe-persistent")
    signed.publish("2.0", "--percentage", "0", sign="team.key")
    assert refused(signed, capsys, *words) == "not-offered"
    assert data.exists()
    signed.publish("2.0", "--minimum-version", "1.5", sign="team.key")
    assert asked(signed, capsys, *words)["version"] == "2.0"
    assert signed.versions() == ["2.0", "2.0", "1.0"]
    assert not data.exists()


def test_a_channel_and_a_source_are_not_said_at_once(signed: Fleet, capsys: Capture) -> None:
    assert refused(signed, capsys, "upgrade", "system/os", "--channel", "stable") == "usage"
    assert refused(signed, capsys, "upgrade", "--channel", "stable", "--version", "2.0") == "usage"


def test_a_file_or_the_environment_that_wants_an_image_gets_no_channel(
    signed: Fleet, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = archive(lay(signed.top / "new", "5.0"))
    says(signed, CHANNEL="stable", UPGRADE_IMAGE=new, CHANNEL_UPGRADES="false")
    assert asked(signed, capsys, "check")["source"] == new
    says(signed, CHANNEL="stable", UPGRADE_IMAGE="system/os")
    assert asked(signed, capsys, "check")["source"] == "system/os@2.0"
    monkeypatch.setenv("CHANNEL_UPGRADES", "false")
    monkeypatch.setenv("UPGRADE_IMAGE", new)
    assert asked(signed, capsys, "check")["source"] == new
    assert asked(signed, capsys, "check", "--channel", "stable")["source"] == "system/os@2.0"
    assert asked(signed, capsys, "upgrade")["version"] == "5.0"


def test_a_rollback_to_the_same_image_is_none(device: Fleet, capsys: Capture) -> None:
    assert refused(device, capsys, "rollback") == "nothing-there"
    assert device.written().memory.failed == ()
    device.package("2.0")
    asked(device, capsys, "upgrade", "system/os")
    assert asked(device, capsys, "rollback")["version"] == "1.0"  # of what waits for its boot
    assert device.boot() == "1.0"


# what --force insists on ----------------------------------------------------------------------------------------------
def test_force_takes_of_a_channel_what_failed_here(signed: Fleet, capsys: Capture) -> None:
    asked(signed, capsys, "upgrade")
    assert [signed.boot() for _ in range(4)] == ["2.0", "2.0", "2.0", "1.0"]
    asked(signed, capsys, "status")
    assert refused(signed, capsys, "upgrade") == "failed-before"
    assert asked(signed, capsys, "check", "--force")["state"] == "offered"
    assert asked(signed, capsys, "upgrade", "--force")["state"] == "upgraded"
    assert signed.boot() == "2.0"


@pytest.mark.parametrize("more", [(), ("--recovery-slot",)])
def test_force_takes_of_a_channel_what_is_older(signed: Fleet, capsys: Capture, more: tuple[str, ...]) -> None:
    folder = str(lay(signed.top / "new", "3.0"))
    asked(signed, capsys, "upgrade", folder)
    assert signed.boot() == "3.0"
    asked(signed, capsys, "confirm")
    asked(signed, capsys, "upgrade", folder, "--recovery-slot")
    assert asked(signed, capsys, "upgrade", *more)["state"] == "up-to-date"
    said = asked(signed, capsys, "upgrade", "--force", *more)
    assert (said["state"], said["version"]) == ("upgraded", "2.0")
    assert signed.versions()[2 if more else 0] == "2.0"


def test_force_does_not_hurry_a_channel(signed: Fleet, capsys: Capture) -> None:
    """Who is to get it, and when, is its owner's word; an old document is somebody else's."""
    signed.publish("2.0", "--percentage", "0", sign="team.key")
    assert asked(signed, capsys, "upgrade", "--force")["state"] == "not-in-share"
    signed.publish("2.0", "--minimum-version", "1.5", sign="team.key")
    assert refused(signed, capsys, "upgrade", "--force") == "too-old"
    words = ["channel", "halt", "stable", "--repository", str(signed.shop.build), "--sign", "team.key", "--quiet"]
    assert main([*words, "--cache-dir", "cache"]) == 0
    assert asked(signed, capsys, "upgrade", "--force")["state"] == "halted"
