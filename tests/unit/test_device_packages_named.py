"""A package without a version is the newest; an upgrade of active alone asks whether it is newer than what runs."""

from __future__ import annotations

import os
from pathlib import Path

from tests.unit.device_fleet import Capture, Fleet, asked, device
from treebuilder.device.states import Slot

__all__ = ["device"]  # a fixture


def test_a_reset_to_the_package_that_runs_in_recovery_is_one(device: Fleet, capsys: Capture) -> None:
    persistent = device.root / "usr/local/data"
    persistent.parent.mkdir(parents=True)
    persistent.write_text("mine")
    before = device.written()
    device.package("1.0")
    device.slot, device.boots = Slot.RECOVERY, device.boots + 1
    said = asked(device, capsys, "reset", "system/os", "--wipe-persistent")
    after = device.written()
    assert (said["state"], said["version"]) == ("reset", "1.0")
    assert after.active != before.active
    assert after.active == after.passive
    assert said["digest"] == str(after.active.digest if after.active else "")
    assert not persistent.exists()


def test_recovery_gets_the_package_that_runs_in_active(device: Fleet, capsys: Capture) -> None:
    device.package("2.0")
    asked(device, capsys, "upgrade", "system/os")
    assert device.boot() == "2.0"
    asked(device, capsys, "confirm")
    assert asked(device, capsys, "upgrade", "system/os")["state"] == "up-to-date"
    assert asked(device, capsys, "upgrade", "system/os", "--recovery-slot")["state"] == "upgraded"
    assert device.versions() == ["2.0", "1.0", "2.0"]
    assert asked(device, capsys, "upgrade", "system/os", "--recovery-slot")["state"] == "up-to-date"


def test_nothing_of_the_work_stays_open(device: Fleet, capsys: Capture) -> None:
    """A file that is open and deleted would keep COS_STATE, where work may be done, from being read-only again."""
    device.package("2.0")
    assert asked(device, capsys, "upgrade", "system/os")["state"] == "upgraded"
    assert asked(device, capsys, "upgrade", "system/os", "--recovery-slot")["state"] == "upgraded"
    links = (fd for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink())
    assert [name for name in map(os.readlink, links) if "treebuild-upgrade" in name] == []


def test_a_name_that_a_power_cut_left_without_content_stops_nothing(device: Fleet, capsys: Capture) -> None:
    device.package("2.0")
    store = device.state / "cOS/.treebuild-upgrade/store"
    store.mkdir(parents=True)
    (store / "VERSION").touch()
    assert asked(device, capsys, "upgrade", "system/os")["state"] == "upgraded"
