"""What is damaged beside the images: a reset in recovery begins anew without it, and so does who confirms a version."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.device_fleet import Capture, Fleet, answer, device, lay
from treebuilder.device.states import Slot

__all__ = ["device"]  # a fixture


def _file(folder: Path) -> None:
    (folder / "active.img").unlink()
    (folder / "active.img").write_bytes(b"an image that somebody copied here")


def _elsewhere(folder: Path) -> None:
    (folder / "passive.img").unlink()
    (folder / "passive.img").symlink_to("/dev/null")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / "memory.json").write_text('{"schema": '), "bad-memory"),
        (lambda folder: (folder / "boot.env").write_bytes(b"# GRUB Environment"), "bad-grubenv"),
        (_file, ""),
        (_elsewhere, "nothing-there"),
    ],
)  # fmt: skip
def test_what_is_damaged_stops_no_reset(
    device: Fleet, capsys: Capture, damage: Callable[[Path], object], reason: str
) -> None:
    damage(device.state / "cOS")
    assert device.run("reset") == 2, "it runs from active"
    device.slot, device.boots = Slot.RECOVERY, device.boots + 1
    capsys.readouterr()
    assert device.run("rollback") == (2 if reason else 0)
    assert json.loads(capsys.readouterr().out).get("error", {"reason": ""})["reason"] == reason
    assert device.run("reset") == 0
    out, err = capsys.readouterr()
    assert answer(out, "reset")["state"] == "reset"
    assert "begins anew" in err
    assert device.versions() == ["1.0", "1.0", "1.0"]
    assert (device.boot(), device.slot) == ("1.0", Slot.ACTIVE)
    assert device.run("confirm") == 0


@pytest.mark.parametrize("name", ["memory.json", "boot.env"])
def test_a_good_version_is_confirmed_whatever_is_damaged_beside_it(
    device: Fleet, capsys: Capture, name: str
) -> None:  # fmt: skip
    assert device.run("upgrade", str(lay(device.top / "new", "2.0"))) == 0
    assert (device.boot(), device.slot) == ("2.0", Slot.ACTIVE)
    (device.state / "cOS" / name).write_bytes(b"{")
    assert device.run("status") == 2, "who only looks changes nothing"
    capsys.readouterr()
    assert device.run("confirm") == 0
    out, err = capsys.readouterr()
    assert name in err
    assert answer(out, "confirm")["version"] == "2.0"
    for _ in range(5):
        assert (device.boot(), device.slot) == ("2.0", Slot.ACTIVE)
    assert device.run("upgrade", str(lay(device.top / "newer", "3.0"))) == 0
    assert device.boot() == "3.0"


def test_a_damaged_boot_block_leads_nobody_back_to_what_was_left(device: Fleet) -> None:
    assert device.run("upgrade", str(lay(device.top / "new", "2.0"))) == 0
    assert device.boot() == "2.0"
    assert device.run("confirm") == 0
    assert device.run("rollback") == 0
    assert (device.boot(), device.slot) == ("1.0", Slot.PASSIVE)
    assert device.run("confirm") == 0
    (device.state / "cOS/boot.env").write_bytes(b"{")
    assert device.run("confirm") == 0
    assert (device.boot(), device.slot) == ("1.0", Slot.PASSIVE)


@pytest.mark.parametrize("lost", [True, False])
@pytest.mark.parametrize("good", [True, False])
def test_a_lost_boot_block_makes_no_good_version_of_one_that_failed(
    device: Fleet, capsys: Capture, lost: bool, good: bool
) -> None:
    """GRUB knows no better than to start active; what runs then is on trial, and not for long."""
    assert device.run("upgrade", str(lay(device.top / "new", "2.0"))) == 0
    for _ in range(3):
        assert (device.boot(), device.slot) == ("2.0", Slot.ACTIVE)
    assert (device.boot(), device.slot) == ("1.0", Slot.PASSIVE)
    assert device.run("confirm") == 0
    block = device.state / "cOS/boot.env"
    if lost:
        block.unlink()
    else:
        block.write_bytes(b"{")
    device.slot, device.boots = Slot.ACTIVE, device.boots + 1
    check = device.root / "etc/treebuild/health.d/10-check"
    check.parent.mkdir(parents=True)
    check.write_text(f"#!/bin/sh\nexit {0 if good else 1}\n")
    check.chmod(0o755)
    capsys.readouterr()
    assert device.run("confirm") == (0 if good else 1)
    found = answer(capsys.readouterr().out, "confirm")
    assert (found["version"], found["on_trial"], found["reboot"]) == ("2.0", True, not good)
    assert [failure.version for failure in device.written().memory.failed] == ["2.0"]
    for _ in range(2):
        assert (device.boot(), device.slot) == ("1.0", Slot.PASSIVE)
        assert device.run("status") == 0
    assert device.run("upgrade", str(device.top / "new"), "--force") == 0, "who names it gets it"
    assert (device.boot(), device.slot) == ("2.0", Slot.ACTIVE)
