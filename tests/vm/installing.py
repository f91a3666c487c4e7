"""The live system installs itself to an empty disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.vm.machine import Firmware, Machine, machine

STATE = "/run/initramfs/cos-state"
USER, KEY = (
    "keeper",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPcIj1XbQGnPjp4Gi1zv7u0nBCzvdtZnsqhn8CqM3n3G keeper@example.org",
)
CONFIG = rf"""stages:
  initramfs:
  - hostname: installed
  network:
  - users:
      {USER}:
        passwd: "!"
        homedir: /home/{USER}
    authorized_keys:
      {USER}:
      - {KEY}
"""
OWN_PARTITIONS = """stages:
  partitioning:
  - layout:
      device: {path: /dev/vda}
      add_partitions:
      - {fsLabel: COS_OEM, pLabel: oem, size: 50, filesystem: ext4}
      - {fsLabel: COS_STATE, pLabel: state, size: 2000, filesystem: ext4}
      - {fsLabel: DATA, pLabel: data, size: 100, filesystem: ext4}
      - {fsLabel: COS_RECOVERY, pLabel: recovery, size: 900, filesystem: ext4}
      - {fsLabel: COS_PERSISTENT, pLabel: persistent, filesystem: ext4}
"""


def install(iso: Path, disk: Path, firmware: Firmware) -> None:
    """To an empty disk of 4 GiB, by a cloud-config; what must not be written to is refused first."""
    with live_system(iso, disk, firmware, CONFIG) as live:
        status, said = live.run("treebuild device install /dev/sr0")
        assert status == 1
        assert "/dev/sr0 cannot be written" in said
        live.ask("treebuild device install /dev/vda --cloud-init /tmp/config.yaml --progress plain", 1800)
        status, said = live.run("treebuild device install /dev/vda")
        assert status == 1
        assert "holds a system already" in said
        assert live.run("grep vda /proc/mounts")[0] == 1
        live.power_off()


@contextmanager
def live_system(iso: Path, disk: Path, firmware: Firmware, config: str) -> Iterator[Machine]:
    """The ISO with an empty disk of 4 GiB; root is logged in, and the text lies in /tmp/config.yaml."""
    with disk.open("wb") as out:
        out.truncate(4 << 30)
    brought = disk.with_suffix(".yaml")
    brought.write_text(config)
    size = brought.stat().st_size
    with brought.open("ab") as padded:  # a disk has whole sectors
        padded.truncate(-size % 512 + size)
    with machine(disk, firmware, iso=iso, others=(brought,)) as live:
        live.log_in()
        live.ask(f"head -c {size} /dev/vdb > /tmp/config.yaml")
        yield live
