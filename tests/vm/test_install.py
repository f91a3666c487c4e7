"""The live system installs itself to an empty disk, and what is installed starts and is as its owner wishes.

One case runs always; `make vm-test` (TREEBUILD_VM_ALL) runs all of them.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.vm.installing import KEY, OWN_PARTITIONS, USER, live_system
from tests.vm.machine import Firmware, machine

pytestmark = [pytest.mark.vm, pytest.mark.engine, pytest.mark.network, pytest.mark.timeout(3600)]
every_case = pytest.mark.every_case


@pytest.mark.parametrize("firmware", ["bios", pytest.param("efi", marks=every_case)])
def test_it_is_installed_and_starts(disk: Path, firmware: Firmware) -> None:
    with machine(disk, firmware) as device:
        device.log_in()
        device.settle()
        assert device.slot() == "active"
        assert device.ask("hostname") == "installed"
        assert device.ask(f"cat ~{USER}/.ssh/authorized_keys").strip() == KEY
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
def test_a_disk_with_the_same_labels_beside_it_changes_nothing(
    disk: Path, installed: Callable[[Firmware], Path], tmp_path: Path, firmware: Firmware
) -> None:
    with machine(disk, firmware, others=(_twin(installed(firmware), tmp_path / "twin.img"),)) as device:
        device.log_in()
        assert device.slot() == "active"
        for place in ("/oem", "/run/initramfs/cos-state"):
            assert device.ask(f"findmnt -no SOURCE {place}").startswith("/dev/vda")
        assert device.ask("findmnt -no SOURCE -t ext4 /usr/local").startswith("/dev/vda")
        assert device.status()["running"]["version"] == "0.5.0"
        device.power_off()


@every_case
@pytest.mark.parametrize("firmware", ["bios", "efi"])
def test_out_of_the_iso_to_partitions_of_its_own(iso: Path, tmp_path: Path, firmware: Firmware) -> None:
    disk = tmp_path / "disk.img"
    with live_system(iso, disk, firmware, OWN_PARTITIONS) as live:
        live.ask("sed s,/dev/vda,/dev/vdz, /tmp/config.yaml > /tmp/other.yaml")
        status, said = live.run("cos-installer --partition-layout /tmp/other.yaml --iso /dev/sr0 /dev/vda")
        assert status == 1
        assert "this is about /dev/vdz, and the system goes to /dev/vda" in said
        live.ask("cos-installer --partition-layout /tmp/config.yaml --iso /dev/sr0 --progress plain /dev/vda", 1800)
        assert live.run("grep -E 'vda|/iso ' /proc/mounts")[0] == 1
        live.power_off()
    with machine(disk, firmware) as device:
        device.log_in()
        assert device.slot() == "active"
        assert device.ask("lsblk -no LABEL /dev/vda4").strip() == "DATA"
        assert device.ask("findmnt -no SOURCE /run/initramfs/cos-state").startswith("/dev/vda3")
        device.power_off()


def _twin(disk: Path, twin: Path) -> Path:
    """A machine's disk beside another one's: what an installation gives other UUIDs has others."""
    subprocess.run(["cp", "--sparse=always", disk, twin], check=True)
    table = json.loads(subprocess.run(["sfdisk", "-J", twin], check=True, capture_output=True).stdout)
    for part in table["partitiontable"]["partitions"]:
        place = f"{twin}?offset={part['start'] * 512}"
        if subprocess.run(["dumpe2fs", "-h", place], check=False, capture_output=True).returncode == 0:
            subprocess.run(["e2fsck", "-fy", place], check=False, capture_output=True)  # tune2fs asks for it
            subprocess.run(["tune2fs", "-U", "random", place], check=True, capture_output=True)
    return twin
