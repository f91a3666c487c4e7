"""The live system installs itself to an empty disk."""

from __future__ import annotations

from pathlib import Path

from tests.vm.machine import Firmware, machine

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


def install(iso: Path, disk: Path, firmware: Firmware) -> None:
    """To an empty disk of 4 GiB, by a cloud-config; what must not be written to is refused first."""
    with disk.open("wb") as out:
        out.truncate(4 << 30)
    config = disk.with_suffix(".yaml")
    config.write_text(CONFIG)
    size = config.stat().st_size
    with config.open("ab") as padded:  # a disk has whole sectors
        padded.truncate(-size % 512 + size)
    with machine(disk, firmware, iso=iso, others=(config,)) as live:
        live.log_in()
        status, said = live.run("treebuild device install /dev/sr0")
        assert status == 1
        assert "/dev/sr0 cannot be written" in said
        live.ask(f"head -c {size} /dev/vdb > /tmp/config.yaml")
        live.ask("treebuild device install /dev/vda --cloud-init /tmp/config.yaml --progress plain", 1800)
        status, said = live.run("treebuild device install /dev/vda")
        assert status == 1
        assert "holds a system already" in said
        assert live.run("grep vda /proc/mounts")[0] == 1
        live.power_off()
