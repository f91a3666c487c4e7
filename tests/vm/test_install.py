"""The live system installs itself to an empty disk, and what is installed starts, lasts and falls back.

One case runs always; `make vm-test` (TREEBUILD_VM_ALL) runs all of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vm.machine import Firmware, machine

pytestmark = [pytest.mark.vm, pytest.mark.engine, pytest.mark.network, pytest.mark.timeout(3000)]
every_case = pytest.mark.every_case
CONFIG = r"stages:\n  initramfs:\n  - hostname: installed\n"
STATE = "/run/initramfs/cos-state"


def install(iso: Path, disk: Path, firmware: Firmware) -> None:
    with disk.open("wb") as out:
        out.truncate(4 << 30)
    with machine(disk, firmware, iso=iso) as live:
        live.log_in()
        status, said = live.run("treebuild device install /dev/sr0")
        assert status == 1
        assert "/dev/sr0 cannot be written" in said
        live.ask(f"printf '{CONFIG}' > /tmp/config.yaml")
        live.ask("treebuild device install /dev/vda --cloud-init /tmp/config.yaml --progress plain", 600)
        status, said = live.run("treebuild device install /dev/vda")
        assert status == 1
        assert "holds a system already" in said
        assert live.run("grep vda /proc/mounts")[0] == 1
        live.power_off()


@pytest.mark.parametrize("firmware", ["bios", pytest.param("efi", marks=every_case)])
def test_it_is_installed_and_starts(iso: Path, tmp_path: Path, firmware: Firmware) -> None:
    disk = tmp_path / "disk.img"
    install(iso, disk, firmware)
    with machine(disk, firmware) as device:
        device.log_in()
        assert "cos-img/filename=/cOS/active.img" in device.ask("cat /proc/cmdline")
        assert device.ask("hostname") == "installed"
        assert device.run("touch /file")[0] == 1
        assert "Read-only" in device.run("touch /usr/file")[1]
        device.ask("touch /etc/file /var/file")
        assert device.ask("stat -c %a /oem/99_custom.yaml") == "600"
        assert "COS_PERSISTENT" in device.ask("lsblk -no LABEL $(findmnt -no SOURCE -t ext4 /usr/local)")
        assert device.ask("systemctl --failed --no-legend --plain") == ""
        device.ask("test -f /run/cos/active_mode")
        device.power_off()


@every_case
@pytest.mark.parametrize("firmware", ["bios", "efi"])
def test_it_falls_back_and_what_should_last_lasts(iso: Path, tmp_path: Path, firmware: Firmware) -> None:
    disk = tmp_path / "disk.img"
    install(iso, disk, firmware)
    with machine(disk, firmware) as device:
        device.log_in()
        device.ask("echo kept > /root/kept; echo gone > /etc/gone; echo key > /etc/ssh/ssh_host_test_key")
        identity = device.ask("cat /etc/machine-id")
        device.ask(f"mount -o remount,rw {STATE} && rm {STATE}/cOS/active.img && mount -o remount,ro {STATE}")
        device.type("reboot")
        device.log_in()
        assert "cos-img/filename=/cOS/passive.img" in device.ask("cat /proc/cmdline")
        assert device.ask("cat /root/kept /etc/ssh/ssh_host_test_key").split() == ["kept", "key"]
        assert device.ask("cat /etc/machine-id") == identity
        assert device.run("cat /etc/gone")[0] == 1
        device.ask(f"mount -o remount,rw {STATE} && rm {STATE}/cOS/passive.img && mount -o remount,ro {STATE}")
        device.type("reboot")
        device.log_in()
        assert "cos-img/filename=/cOS/recovery.squashfs" in device.ask("cat /proc/cmdline")
        assert device.run("findmnt /usr/local -t ext4")[0] == 1
        device.ask("test -f /run/cos/recovery_mode && test -f /oem/99_custom.yaml")
        device.power_off()
