"""A new version has to show that it is good. One that does not is left by itself, and remembered."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vm.installing import STATE
from tests.vm.machine import Firmware, Machine, machine
from tests.vm.versions import image_of

pytestmark = [
    pytest.mark.vm, pytest.mark.engine, pytest.mark.network, pytest.mark.timeout(7200), pytest.mark.every_case,
]  # fmt: skip
DEADLINE_S = 300
INIT = "usr/lib/systemd/systemd"
BAD: dict[str, dict[str, str | None]] = {
    "crashes": {INIT: "#!/bin/sh\nexit 1\n"},
    "fails its check": {"etc/treebuild/health.d/50-service": "#!/bin/sh\necho the service does not answer\nexit 1\n"},
    "hangs": {INIT: "#!/bin/sh\nwhile :; do sleep 60; done\n"},
}


def upgrade(device: Machine, version: str, size: int) -> None:
    """To the image on the second disk; it has one try, and not many minutes."""
    device.ask(f"head -c {size} /dev/vdb > /usr/local/new.img", 900)
    device.ask(f"treebuild device upgrade /usr/local/new.img --version {version} --progress plain", 1800)
    device.ask("rm /usr/local/new.img")
    device.ask(f"mount -o remount,rw {STATE}")
    device.ask(f"grub-editenv {STATE}/grub_oem_env set tb_deadline={DEADLINE_S}")
    device.ask(f"mount -o remount,ro {STATE}")


def one_try(device: Machine) -> None:
    """As if two had been had."""
    device.ask(f"mount -o remount,rw {STATE}")
    device.ask(f"sed -i s/tb_left=3/tb_left=1/ {STATE}/cOS/boot.env && grep -q tb_left=1 {STATE}/cOS/boot.env")
    device.ask(f"mount -o remount,ro {STATE}")


@pytest.mark.parametrize("firmware", ["bios", "efi"])
@pytest.mark.parametrize("fault", BAD)
def test_a_version_that(disk: Path, root: Path, tmp_path: Path, fault: str, firmware: Firmware) -> None:
    image = image_of(root, tmp_path / "bad.img", BAD[fault])
    size = image.stat().st_size
    with machine(disk, firmware, others=(image,)) as device:
        device.log_in()
        device.settle()
        device.confirmed()
        upgrade(device, "0.7.0", size)
        if fault != "crashes":  # that one has all three
            one_try(device)
        device.type("reboot")
        if fault == "crashes":
            for _ in range(3):
                device.wait_for("Attempted to kill init", 900)
        elif fault == "fails its check":
            device.wait_for("login: ", 900)
        device.log_in(1800)
        assert device.status()["running"]["version"] == "0.5.0"
        assert device.slot() == "passive"
        device.confirmed()
        assert [each["version"] for each in device.status()["failed"]] == ["0.7.0"]
        device.reboot()  # it stays there
        assert device.status()["running"]["version"] == "0.5.0"
        device.power_off()


@pytest.mark.parametrize("firmware", ["bios", "efi"])
def test_a_good_version_stays(disk: Path, root: Path, tmp_path: Path, firmware: Firmware) -> None:
    image = image_of(root, tmp_path / "good.img", {"etc/good": "yes\n"})
    with machine(disk, firmware, others=(image,)) as device:
        device.log_in()
        device.settle()
        device.confirmed()
        before = device.status()["slots"]["active"]
        upgrade(device, "0.6.5", image.stat().st_size)
        device.reboot()
        assert "rd.cos.deadline=" in device.ask("cat /proc/cmdline")
        device.confirmed()
        found = device.status()
        assert (found["running"]["version"], found["slots"]["passive"]) == ("0.6.5", before)
        assert device.ask("cat /etc/good") == "yes"
        device.reboot()
        assert "rd.cos.deadline=" not in device.ask("cat /proc/cmdline")
        device.power_off()
