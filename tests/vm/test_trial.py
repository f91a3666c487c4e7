"""A new version has to show that it is good. One that does not is left by itself, and remembered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.vm.machine import Firmware, Machine, machine
from tests.vm.test_install import STATE, every_case, install

pytestmark = [pytest.mark.vm, pytest.mark.engine, pytest.mark.network, pytest.mark.timeout(3000)]
DEADLINE_S = 240


def status(device: Machine) -> Any:
    return json.loads(device.ask("treebuild device status --json --quiet"))


def upgrade(device: Machine, version: str) -> None:
    """The same system with other bytes behind its end: another image, that needs no second build."""
    device.ask(f"cat $(readlink -f {STATE}/cOS/active.img) > /usr/local/new.img")
    device.ask(f"printf {version} >> /usr/local/new.img")
    device.ask(f"treebuild device upgrade /usr/local/new.img --version {version} --no-verify --progress plain", 900)
    device.ask("rm /usr/local/new.img")


def confirmed(device: Machine) -> None:
    """The service has run, and the deadline is off."""
    device.ask("until systemctl is-active --quiet treebuild-confirm; do sleep 2; done", 300)
    device.ask("test ! -e /run/cos/deadline")


def good_then_bad(disk: Path, firmware: Firmware) -> None:
    with machine(disk, firmware) as device:
        device.log_in()
        upgrade(device, "0.6.0")
        device.type("reboot")
        device.log_in()
        words = device.ask("cat /proc/cmdline")
        assert "cOS/active.img" in words
        assert "rd.cos.deadline=" in words
        confirmed(device)
        assert "0.6.0" in device.ask("treebuild device status")
        # The next one never says that it is good: its service does not run. One try is enough to see it.
        upgrade(device, "0.7.0")
        device.ask(f"mount -o remount,rw {STATE}")
        device.ask(
            f"grub-editenv {STATE}/grub_oem_env set tb_deadline={DEADLINE_S} "
            "extra_active_cmdline=systemd.mask=treebuild-confirm.service"
        )
        device.ask(f"sed -i s/tb_left=3/tb_left=1/ {STATE}/cOS/boot.env && mount -o remount,ro {STATE}")
        device.type("reboot")
        device.wait_for("login: ", 420)  # active; and then the deadline
        device.log_in(420 + DEADLINE_S)
        assert "cOS/passive.img" in device.ask("cat /proc/cmdline")
        confirmed(device)
        assert "0.7.0" in json.dumps(status(device)["failed"])
        device.power_off()


@every_case
@pytest.mark.parametrize("firmware", ["bios", "efi"])
def test_a_good_version_stays_and_a_bad_one_is_left(iso: Path, tmp_path: Path, firmware: Firmware) -> None:
    disk = tmp_path / "disk.img"
    install(iso, disk, firmware)
    good_then_bad(disk, firmware)
