"""Versions that come from a registry by a channel, as an image, and out of a folder; into recovery, and back again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.vm.installing import STATE
from tests.vm.machine import Firmware, Machine, machine
from tests.vm.versions import CHANNEL, HOST, Released, channel

pytestmark = [
    pytest.mark.vm, pytest.mark.engine, pytest.mark.network, pytest.mark.timeout(7200), pytest.mark.every_case,
]  # fmt: skip
UPGRADE_S = 3600.0
CONFIG = "/oem/50_versions.yaml"


def configure(device: Machine, release: Released) -> None:
    """Tells the machine, as its owner, whom to believe and what to follow; it counts from the next boot."""
    for line in release.config().splitlines():
        device.ask(f"echo '{line}' >> {CONFIG}")


def versions(device: Machine) -> list[Any]:
    slots = device.status()["slots"]
    return [slots[name] and slots[name]["version"] for name in ("active", "passive", "recovery")]


@pytest.mark.parametrize("firmware", ["bios", "efi"])
def test_by_a_channel_and_back_and_from_passive(
    disk: Path, release: Released, sampleos_folder: Path, firmware: Firmware
) -> None:
    with machine(disk, firmware) as device:
        device.log_in()
        device.settle()
        configure(device, release)
        device.reboot()
        device.confirmed()
        channel(sampleos_folder, release.key, release.address, "halt", CHANNEL)
        assert device.ask("treebuild device upgrade --json --quiet", UPGRADE_S).find('"halted"') > 0
        channel(sampleos_folder, release.key, release.address, "rollout", CHANNEL, "--resume")
        device.ask("cos-upgrade --progress plain", UPGRADE_S)
        device.reboot()
        assert device.slot() == "active"
        assert "rd.cos.deadline=" in device.ask("cat /proc/cmdline")
        device.confirmed()
        assert versions(device) == ["0.6.0", "0.5.0", "0.5.0"]
        assert device.ask(". /etc/os-release; echo $IMAGE_VERSION$VERSION").startswith("0.6.0")
        assert '"up-to-date"' in device.ask("treebuild device upgrade --json --quiet", UPGRADE_S)

        device.ask("treebuild device rollback --progress plain")
        device.reboot()
        assert device.status()["running"]["version"] == "0.5.0"
        slot = device.slot()
        device.confirmed()
        assert [each["version"] for each in device.status()["failed"]] == ["0.6.0"]
        good = device.ask(f"readlink -f {STATE}/cOS/{slot}.img")
        status, said = device.run("cos-upgrade", UPGRADE_S)
        assert status != 0
        assert "failed" in said
        device.ask("treebuild device upgrade system/sampleOS@0.6.0 --progress plain", UPGRADE_S)
        assert device.ask(f"test -s {good} && readlink -f {STATE}/cOS/passive.img") == good
        device.reboot()
        device.confirmed()
        assert versions(device)[:2] == ["0.6.0", "0.5.0"]
        assert device.status()["failed"] == []
        device.power_off()


@pytest.mark.parametrize("firmware", ["bios", "efi"])
def test_by_an_image_and_out_of_a_folder_and_into_recovery(disk: Path, release: Released, firmware: Firmware) -> None:
    host = f"{HOST}:{release.address.rpartition(':')[2]}"
    with machine(disk, firmware) as device:
        device.log_in()
        device.settle()
        configure(device, release)
        device.reboot()
        device.confirmed()
        upgrade = "treebuild device upgrade --progress plain"
        device.ask("mv /etc/treebuild/keys.d/team.pub /run")
        status, said = device.run(f"{upgrade} {release.image} --insecure-registry {host}", UPGRADE_S)
        assert status == 1
        assert "no keys say whose word counts" in said
        device.ask("mv /run/team.pub /etc/treebuild/keys.d")
        device.ask(f"{upgrade} {release.image} --insecure-registry {host} --recovery-slot", UPGRADE_S)
        assert versions(device) == ["0.5.0", "0.5.0", "0.6.0"]
        device.ask(f"{upgrade} {release.image} --insecure-registry {host}", UPGRADE_S)
        device.reboot()
        device.confirmed()
        assert versions(device) == ["0.6.0", "0.5.0", "0.6.0"]
        device.ask(f"{upgrade} /run/cos/image --as directory --version 0.6.1", UPGRADE_S)
        device.reboot()
        device.confirmed()
        assert versions(device) == ["0.6.1", "0.6.0", "0.6.0"]
        device.ask("grub-editenv /oem/grubenv set next_entry=recovery")
        device.reboot()
        assert device.slot() == "recovery"
        assert device.run("grep -qw cos.fallback /proc/cmdline")[0] == 1, "somebody picked it"
        assert device.ask(". /etc/os-release; echo $IMAGE_VERSION$VERSION").startswith("0.6.0")
        device.power_off()
