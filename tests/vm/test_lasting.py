"""Images that are gone: the machine starts all the same, what should last lasts, and recovery puts it right."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vm.installing import STATE
from tests.vm.machine import Firmware, Machine, machine

pytestmark = [
    pytest.mark.vm, pytest.mark.engine, pytest.mark.network, pytest.mark.timeout(7200), pytest.mark.every_case,
]  # fmt: skip


def lose(device: Machine, slot: str) -> None:
    device.ask(f"mount -o remount,rw {STATE} && rm {STATE}/cOS/{slot}.img && mount -o remount,ro {STATE}")


@pytest.mark.parametrize("firmware", ["bios", "efi"])
def test_it_falls_back_what_should_last_lasts_and_recovery_resets(disk: Path, firmware: Firmware) -> None:
    with machine(disk, firmware) as device:
        device.log_in()
        device.settle()
        device.ask("echo kept > /root/kept; echo gone > /etc/gone; echo key > /etc/ssh/ssh_host_test_key")
        identity = device.ask("cat /etc/machine-id")
        status, said = device.run("treebuild device reset")
        assert status == 2
        assert "recovery" in said
        lose(device, "active")
        device.reboot()
        assert device.slot() == "passive"
        assert device.ask("cat /root/kept /etc/ssh/ssh_host_test_key").split() == ["kept", "key"]
        assert device.ask("cat /etc/machine-id") == identity
        assert device.run("cat /etc/gone")[0] == 1
        lose(device, "passive")
        device.reboot()
        assert device.slot() == "recovery"
        device.ask("grep -qw cos.fallback /proc/cmdline && systemctl is-active treebuild-return.timer")
        assert "logged in" in device.ask("treebuild device return")
        assert device.run("findmnt /usr/local -t ext4")[0] == 1
        device.ask("test -f /run/cos/recovery_mode && test -f /oem/99_custom.yaml")
        device.ask("treebuild device reset --progress plain", 1800)
        device.reboot()
        assert device.slot() == "active"
        assert device.ask("cat /root/kept") == "kept"
        assert device.ask("cat /etc/machine-id") == identity
        device.confirmed()
        found = device.status()
        assert found["slots"]["active"]["version"] == found["slots"]["passive"]["version"] == "0.5.0"
        device.power_off()
