"""A device in folders upgrades by folder, file, package and channel; what is not to be believed changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.services import program
from tests.unit.device_fleet import Capture, Fleet, asked, device, elf, lay, refused
from treebuilder.cli.main import main
from treebuilder.device.states import Slot
from treebuilder.device.upgrade import image_of

__all__ = ["device"]  # a fixture


def listing(image: Path) -> str:
    return subprocess.run(["unsquashfs", "-ll", image], check=True, capture_output=True, text=True).stdout


# folders and files ----------------------------------------------------------------------------------------------------
def test_a_folder_becomes_an_image_that_boots_on_trial_and_is_confirmed(device: Fleet, capsys: Capture) -> None:
    said = asked(device, capsys, "upgrade", str(lay(device.top / "new", "2.0")))
    assert (said["state"], said["version"], said["running"], said["reboot"]) == ("upgraded", "2.0", "1.0", True)
    assert device.versions() == ["2.0", "1.0", "1.0"]
    image = (device.state / "cOS/active.img").resolve()
    assert image_of(image, "2.0").digest.hex == image.name.partition("-")[0]
    listed = listing(image)
    assert "vmlinuz-2.0" in listed
    assert all(f"squashfs-root/{name}\n" in listed for name in ("proc", "dev", "oem", "usr/local", "run"))
    assert device.boot() == "2.0"
    assert asked(device, capsys, "status")["on_trial"] is True
    assert asked(device, capsys, "confirm")["state"] == "confirmed"
    assert asked(device, capsys, "status")["confirmed"] is True
    assert device.leftovers() == []


def test_a_file_is_taken_byte_for_byte(device: Fleet, capsys: Capture) -> None:
    lay(device.top / "new", "2.0")
    image = device.top / "os.squashfs"
    subprocess.run(["mksquashfs", device.top / "new", image, "-comp", "gzip", "-quiet", "-no-progress"], check=True)
    said = asked(device, capsys, "upgrade", "./os.squashfs")
    assert said["version"] == "2.0"
    assert (device.state / "cOS/active.img").read_bytes() == image.read_bytes()


def test_an_ext4_file_is_taken_too(device: Fleet, capsys: Capture) -> None:
    make, folder = program("mkfs.ext4", "e2fsprogs"), lay(device.top / "new", "2.0")
    subprocess.run([make, "-q", "-d", folder, "os.img", "8M"], check=True)
    assert asked(device, capsys, "upgrade", "./os.img", "--version", "2.0")["state"] == "upgraded"
    (folder / "usr/bin/bash").write_bytes(elf("riscv64"))
    subprocess.run([make, "-q", "-d", folder, "other.img", "8M"], check=True)
    assert refused(device, capsys, "upgrade", "./other.img", "--version", "3.0") == "architecture"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: (folder / "boot/initrd").unlink(), "no-kernel"),
        (lambda folder: (folder / "boot/vmlinuz").unlink(), "no-kernel"),
        (lambda folder: (folder / "usr/bin/sh").write_bytes(elf("riscv64")), "architecture"),
        (lambda folder: (folder / "etc/os-release").write_text("ID=x\n"), "no-version"),
    ],
)
def test_a_root_that_cannot_boot_here_is_refused(
    device: Fleet, capsys: Capture, spoil: Callable[[Path], object], reason: str
) -> None:
    spoil(lay(device.top / "new", "2.0"))
    assert refused(device, capsys, "upgrade", str(device.top / "new")) == reason


@pytest.mark.parametrize("how", ["zstd", "cut", "text", "architecture"])
def test_a_file_that_could_not_boot_is_refused(device: Fleet, capsys: Capture, how: str) -> None:
    folder = lay(device.top / "new", "2.0", "riscv64" if how == "architecture" else "")
    image = device.top / "os.img"
    packer = "zstd" if how == "zstd" else "gzip"
    subprocess.run(["mksquashfs", folder, image, "-comp", packer, "-quiet", "-no-progress"], check=True)
    if how == "cut":
        os.truncate(image, image.stat().st_size // 2)
    if how == "text":
        image.write_text("hello\n" * 1000)
    expected = "architecture" if how == "architecture" else "bad-image"
    assert refused(device, capsys, "upgrade", "./os.img") == expected


# packages -------------------------------------------------------------------------------------------------------------
def test_the_newest_package_and_what_it_requires(device: Fleet, capsys: Capture) -> None:
    device.package("1.5")
    device.package("2.0")
    (device.root / "etc/cos-upgrade-image").write_text('UPGRADE_IMAGE="system/os"\nWHAT=ever\n')
    said = asked(device, capsys, "check")
    assert (said["state"], said["version"]) == ("offered", "2.0")
    assert device.versions() == ["1.0", "1.0", "1.0"]
    said = asked(device, capsys, "upgrade")
    assert (said["state"], said["source"]) == ("upgraded", "system/os@2.0")
    assert "opt/extra" in listing((device.state / "cOS/active.img").resolve())
    assert device.boot() == "2.0"
    assert device.run("confirm") == 0
    assert asked(device, capsys, "upgrade")["state"] == "up-to-date"
    assert asked(device, capsys, "upgrade", "system/os@1.5")["version"] == "1.5"  # somebody names it
    assert device.boot() == "1.5"
    assert device.leftovers() == []


def test_archives_are_kept_where_there_is_room_for_them(device: Fleet, capsys: Capture) -> None:
    device.package("2.0")
    persistent = device.top / "persistent"
    persistent.mkdir()
    work = ("--work", str(persistent))
    assert asked(device, capsys, "upgrade", "system/os", *work)["state"] == "upgraded"
    blobs = persistent / ".treebuild-upgrade/store/blobs/sha256"
    kept = sorted(path.name for path in blobs.iterdir())
    assert len(kept) == 2  # the package, and what it requires
    assert asked(device, capsys, "check", "system/os", *work)["state"] in ("offered", "up-to-date")
    assert sorted(path.name for path in blobs.iterdir()) == kept
    device.package("3.0")
    assert device.boot() == "2.0"
    assert device.run("confirm") == 0
    assert asked(device, capsys, "upgrade", "system/os", *work)["version"] == "3.0"
    now = sorted(path.name for path in blobs.iterdir())
    assert (len(now), len({*now, *kept})) == (2, 3)


def test_the_same_package_gives_the_same_image_everywhere(device: Fleet, capsys: Capture) -> None:
    device.package("2.0")
    first = asked(device, capsys, "stage", "system/os")["digest"]
    assert device.run("cancel") == 0
    assert asked(device, capsys, "stage", "system/os")["digest"] == first


def test_a_package_that_is_an_image_is_its_file(device: Fleet, capsys: Capture) -> None:
    lay(device.top / "new", "2.0")
    subprocess.run(["mksquashfs", "new", "x.squashfs", "-comp", "gzip", "-quiet", "-no-progress"], check=True)
    data = (device.top / "x.squashfs").read_bytes()
    device.shop.package("recovery/img", {"recovery.squashfs": data}, version="2.0")
    device.shop.create()
    (device.root / "etc/cos/config").write_text("RECOVERY_IMAGE=recovery/img\nUPGRADE_IMAGE=system/none\n")
    assert asked(device, capsys, "upgrade", "--recovery-slot")["state"] == "upgraded"
    assert (device.recovery / "cOS/recovery.squashfs").read_bytes() == data
    assert device.versions() == ["1.0", "1.0", "2.0"]


def test_a_version_that_failed_is_not_fetched_again_until_somebody_names_it(device: Fleet, capsys: Capture) -> None:
    device.package("2.0")
    asked(device, capsys, "upgrade", "system/os")
    assert [device.boot() for _ in range(4)] == ["2.0", "2.0", "2.0", "1.0"]
    assert [f["why"] for f in asked(device, capsys, "status")["failed"]] == ["boot"]
    shutil.rmtree(device.shop.build / "x", ignore_errors=True)
    assert refused(device, capsys, "upgrade", "system/os") == "failed-before"
    assert asked(device, capsys, "upgrade", "system/os@2.0")["state"] == "upgraded"


def test_another_architecture_comes_to_nothing(device: Fleet, capsys: Capture) -> None:
    device.package("2.0", architecture="riscv64")
    assert refused(device, capsys, "upgrade", "system/os") == "architecture"


# channels -------------------------------------------------------------------------------------------------------------
@pytest.fixture
def signed(device: Fleet, capsys: Capture) -> Fleet:
    """A channel `stable` at 2.0, signed by team.key, which the device trusts."""
    for name in ("team.key", "other.key"):
        assert main(["key", "new", name, "--quiet"]) == 0
    device.configure(keys=("team.key.pub",))
    device.package("2.0")
    device.publish("2.0", sign="team.key")
    (device.root / "etc/cos-upgrade-image").write_text("CHANNEL=stable\n")
    capsys.readouterr()
    return device


def test_a_channel_is_followed(signed: Fleet, capsys: Capture) -> None:
    assert asked(signed, capsys, "check")["state"] == "offered"
    said = asked(signed, capsys, "upgrade")
    assert (said["state"], said["version"], said["source"]) == ("upgraded", "2.0", "system/os@2.0")
    assert signed.boot() == "2.0"
    assert asked(signed, capsys, "confirm")["state"] == "confirmed"
    assert asked(signed, capsys, "upgrade")["state"] == "up-to-date"


def test_the_snapshot_of_the_channel_counts_and_not_the_newest_index(signed: Fleet, capsys: Capture) -> None:
    signed.package("3.0")
    assert asked(signed, capsys, "upgrade")["version"] == "2.0"


@pytest.mark.parametrize(
    ("terms", "state"),
    [
        (("--percentage", "0"), "not-in-share"), (("--not-before", "+6h"), "not-yet"), (("--critical",), "offered"),
    ],
)  # fmt: skip
def test_who_is_not_offered_it_stays_as_it_is(
    signed: Fleet, capsys: Capture, terms: tuple[str, ...], state: str
) -> None:
    signed.publish("2.0", *terms, sign="team.key")
    said = asked(signed, capsys, "check")
    assert (said["state"], said["critical"]) == (state, "--critical" in terms)
    assert asked(signed, capsys, "upgrade")["state"] == ("upgraded" if state == "offered" else state)


def test_a_halted_channel_and_one_that_asks_for_another_version_first(signed: Fleet, capsys: Capture) -> None:
    signed.publish("2.0", "--minimum-version", "1.5", sign="team.key")
    assert refused(signed, capsys, "upgrade") == "too-old"
    words = ["channel", "halt", "stable", "--repository", str(signed.shop.build), "--sign", "team.key", "--quiet"]
    assert main([*words, "--cache-dir", "cache"]) == 0
    assert asked(signed, capsys, "upgrade")["state"] == "halted"
    assert signed.versions() == ["1.0", "1.0", "1.0"]


def test_a_channel_that_is_not_to_be_believed(signed: Fleet, capsys: Capture) -> None:
    file = signed.shop.build / "channel-stable.json"
    good = file.read_bytes()
    file.write_bytes(good[: len(good) // 2])
    assert refused(signed, capsys, "upgrade") in ("bad-envelope", "bad-signature", "wrong-signature", "integrity")
    file.unlink()
    signed.publish("2.0")
    assert refused(signed, capsys, "upgrade") == "unsigned"
    file.unlink()
    signed.publish("2.0", sign="other.key")
    assert refused(signed, capsys, "upgrade") == "wrong-signature"
    file.unlink()
    assert refused(signed, capsys, "upgrade") == "no-channel"


def test_an_old_document_is_not_believed_again(signed: Fleet, capsys: Capture) -> None:
    file = signed.shop.build / "channel-stable.json"
    old = file.read_bytes()
    signed.publish("2.0", "--percentage", "0", sign="team.key")
    assert asked(signed, capsys, "check")["state"] == "not-in-share"
    file.write_bytes(old)
    assert refused(signed, capsys, "upgrade") == "rolled-back"


def test_a_channel_that_has_expired(signed: Fleet, capsys: Capture) -> None:
    from treebuilder.channel import files, publishing
    from treebuilder.channel.publishing import Terms
    from treebuilder.channel.sealing import Signed
    from treebuilder.repository.disk import DiskBackend
    from treebuilder.system.process import Cancel
    from treebuilder.trust.keys import read_private

    key = read_private((signed.top / "team.key").read_bytes(), "team.key")
    backend, seal = DiskBackend(signed.shop.build, signed.shop.store, Cancel()), Signed((key,), (key.public,))
    before = files.load(backend, "stable", seal)
    files.store(backend, publishing.roll_out(before, Terms(life_s=60), 1_700_000_000), seal)
    assert refused(signed, capsys, "upgrade") == "expired"


def test_a_snapshot_that_was_exchanged_under_the_channel(signed: Fleet, capsys: Capture) -> None:
    signed.package("3.0")
    index = signed.shop.build / "s2.0-repository.yaml"
    index.write_bytes((signed.shop.build / "s3.0-repository.yaml").read_bytes())
    assert refused(signed, capsys, "upgrade") == "wrong-index"


def test_a_package_that_was_exchanged_under_its_index(signed: Fleet, capsys: Capture) -> None:
    package = next(signed.shop.build.glob("os-system-2.0.package.tar*"))
    package.write_bytes(package.read_bytes()[:-10] + b"0123456789")
    assert refused(signed, capsys, "upgrade") == "integrity"


# space ----------------------------------------------------------------------------------------------------------------
def test_no_room_is_said_before_anything_is_fetched(device: Fleet, capsys: Capture) -> None:
    device.package("2.0")
    for package in device.shop.build.glob("os-system-*.package.tar*"):
        package.unlink()  # who tried to fetch it would say so
    image = (device.state / "cOS/active.img").resolve()
    free = os.statvfs(image).f_bavail * os.statvfs(image).f_frsize
    os.truncate(image, free + (1 << 30))  # the measure of what comes; no byte of it is there
    capsys.readouterr()
    assert device.run("upgrade", "system/os") == 2
    assert json.loads(capsys.readouterr().out)["error"]["reason"] == "no-space"
    assert device.leftovers() == []


# staged ---------------------------------------------------------------------------------------------------------------
def test_staged_applied_rolled_back_and_cancelled(device: Fleet, capsys: Capture) -> None:
    device.package("2.0")
    assert asked(device, capsys, "stage", "system/os")["state"] == "staged"
    assert device.versions() == ["1.0", "1.0", "1.0"]
    assert device.boot() == "1.0"
    assert asked(device, capsys, "status")["plan"] is not None
    said = asked(device, capsys, "apply")
    assert (said["state"], said["version"], said["reboot"]) == ("upgraded", "2.0", True)
    assert refused(device, capsys, "apply") == "nothing-staged"
    assert device.boot() == "2.0"
    assert device.run("confirm") == 0
    assert asked(device, capsys, "rollback")["version"] == "1.0"
    assert device.boot() == "1.0"
    assert device.slot is Slot.PASSIVE
    assert asked(device, capsys, "stage", "system/os@2.0")["state"] == "staged"
    assert asked(device, capsys, "cancel")["state"] == "cancelled"
    assert refused(device, capsys, "apply") == "nothing-staged"


def test_another_plan_takes_the_place_of_what_is_staged_and_says_so(device: Fleet, capsys: Capture) -> None:
    folder = str(lay(device.top / "new", "2.0"))
    asked(device, capsys, "stage", folder)
    capsys.readouterr()
    assert device.run("upgrade", folder, "--recovery-slot") == 0
    assert "2.0, staged as upgrade, is given up" in capsys.readouterr().err
    assert device.versions() == ["1.0", "1.0", "2.0"]
    assert refused(device, capsys, "apply") == "nothing-staged"


def test_a_reset_in_recovery_alone(device: Fleet, capsys: Capture) -> None:
    for name in ("oem", "usr/local"):
        (device.root / name).mkdir(parents=True)
        (device.root / name / "data").write_text("mine")
    asked(device, capsys, "upgrade", str(lay(device.top / "new", "2.0")))
    assert device.boot() == "2.0"
    assert refused(device, capsys, "reset", "--wipe-persistent") == "reset-elsewhere"
    assert (device.root / "usr/local/data").exists()
    device.slot, device.boots = Slot.RECOVERY, device.boots + 1
    said = asked(device, capsys, "reset", "--wipe-persistent")
    assert (said["state"], said["version"]) == ("reset", "1.0")
    assert device.versions() == ["1.0", "1.0", "1.0"]
    assert not (device.root / "usr/local/data").exists()
    assert (device.root / "oem/data").read_text() == "mine"
    (device.root / "usr/local/data").write_text("again")
    assert asked(device, capsys, "reset", "--wipe-persistent")["state"] == "reset"
    assert not (device.root / "usr/local/data").exists()
    assert device.boot() == "1.0"


def test_a_reset_to_a_recovery_that_no_other_slot_has(device: Fleet, capsys: Capture) -> None:
    for version in ("2.0", "3.0"):
        asked(device, capsys, "upgrade", str(lay(device.top / version, version)))
        assert device.boot() == version
        asked(device, capsys, "confirm")
    assert device.versions() == ["3.0", "2.0", "1.0"]
    device.slot, device.boots = Slot.RECOVERY, device.boots + 1
    assert asked(device, capsys, "reset")["version"] == "1.0"
    assert device.versions() == ["1.0", "1.0", "1.0"]
    assert device.boot() == "1.0"


def test_a_reset_mends_what_is_damaged(device: Fleet, capsys: Capture) -> None:
    image = (device.state / "cOS/active.img").resolve()
    whole = image.read_bytes()
    damaged = whole[:-1] + bytes([whole[-1] ^ 1])
    image.write_bytes(damaged)
    device.slot, device.boots = Slot.RECOVERY, device.boots + 1
    for _ in range(2):  # also when a reset has armed this image before, and it did not come up
        assert asked(device, capsys, "reset")["state"] == "reset"
        assert image.read_bytes() == whole
        assert (device.boot(), device.slot) == ("1.0", Slot.ACTIVE)
        image.write_bytes(damaged)
        device.slot, device.boots = Slot.RECOVERY, device.boots + 1


def test_a_reset_to_another_image(device: Fleet, capsys: Capture) -> None:
    device.slot, device.boots = Slot.RECOVERY, device.boots + 1
    assert asked(device, capsys, "reset", str(lay(device.top / "new", "5.0")))["version"] == "5.0"
    assert device.versions() == ["5.0", "5.0", "1.0"]
    assert asked(device, capsys, "reset", str(device.top / "new"))["version"] == "5.0"
    assert device.versions() == ["5.0", "5.0", "1.0"]


# hooks ----------------------------------------------------------------------------------------------------------------
def test_hooks_run_around_it_and_not_in_the_image(device: Fleet, capsys: Capture) -> None:
    stages = device.root / "oem"
    stages.mkdir()
    before, after, inside = device.root / "before", device.root / "after", "after-upgrade-chroot"
    (stages / "hooks.yaml").write_text(json.dumps({"stages": {
        "before-upgrade": [{"files": [{"path": "/before", "content": "x", "permissions": 0o644}]}],
        "after-upgrade": [{"files": [{"path": "/after", "content": "x", "permissions": 0o644}]}],
        inside: [{"files": [{"path": "/inside", "content": "x", "permissions": 0o644}]}],
    }}))  # fmt: skip
    capsys.readouterr()
    assert device.run("upgrade", str(lay(device.top / "new", "2.0"))) == 0
    assert before.exists()
    assert after.exists()
    assert inside in capsys.readouterr().err
    listed = listing((device.state / "cOS/active.img").resolve())
    assert "squashfs-root/after" not in listed
    assert "squashfs-root/inside" not in listed


def test_a_hook_that_fails_ends_it_only_when_strict(device: Fleet, capsys: Capture) -> None:
    (device.root / "oem").mkdir()
    step = {"stages": {"before-upgrade": [{"files": [{"path": "/etc/machine-id/x", "content": "x"}]}]}}
    (device.root / "oem/bad.yaml").write_text(json.dumps(step))
    folder = str(lay(device.top / "new", "2.0"))
    assert device.run("upgrade", folder, "--strict") == 2
    assert device.versions() == ["1.0", "1.0", "1.0"]
    assert asked(device, capsys, "upgrade", folder)["state"] == "upgraded"


@pytest.mark.parametrize("what", ["upgrade", "staged", "recovery", "reset"])
def test_a_hook_that_fails_after_the_switch_does_not_say_that_nothing_was_done(
    device: Fleet, capsys: Capture, what: str
) -> None:
    (device.root / "oem").mkdir()
    stage = "after-reset" if what == "reset" else "after-upgrade"
    step = {"stages": {stage: [{"files": [{"path": "/etc/machine-id/x", "content": "x"}]}]}}
    (device.root / "oem/bad.yaml").write_text(json.dumps(step))
    folder = str(lay(device.top / "new", "2.0"))
    words = {
        "upgrade": ["upgrade", folder], "staged": ["stage", folder], "recovery": ["upgrade", folder, "--recovery-slot"],
        "reset": ["reset", folder],
    }[what]  # fmt: skip
    if what == "reset":
        device.slot, device.boots = Slot.RECOVERY, device.boots + 1
    said = asked(device, capsys, *words, "--strict", code=2)["error"]
    done = {"staged": "2.0 is staged", "recovery": "2.0 is recovery"}.get(what, "2.0 boots next")
    assert said["reason"] == stage
    assert said["message"].startswith(f"{done}, and {stage} failed: ")
    assert said["where"]["file"].endswith("oem/bad.yaml")
    slots = {"upgrade": ["2.0", "1.0", "1.0"], "recovery": ["1.0", "1.0", "2.0"], "reset": ["2.0", "2.0", "1.0"]}
    assert device.versions() == slots.get(what, ["1.0", "1.0", "1.0"])
    assert device.leftovers() == []
