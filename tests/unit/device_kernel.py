"""What the kernel tells of a machine with two disks, and a blkid that knows them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from treebuilder.device import here

ACTIVE = "BOOT_IMAGE=(loop0)/boot/vmlinuz root=LABEL=COS_ACTIVE cos-img/filename=/cOS/active.img panic=5 rd.neednet=1\n"
LIVE = "root=live:LABEL=COS_RECOVERY rd.live.dir=/ rd.live.squashimg=cOS/recovery.squashfs"


@pytest.fixture
def kernel(tmp_path: Path) -> here.Kernel:
    made = here.Kernel(tmp_path / "proc", tmp_path / "sys", tmp_path / "dev")
    (made.proc / "sys/kernel/random").mkdir(parents=True)
    (made.proc / "sys/kernel/random/boot_id").write_text("11111111-2222\n")
    (made.proc / "self").mkdir()
    (made.proc / "cmdline").write_text(ACTIVE)
    for disk, number in (("vda", 0), ("vdb", 16)):
        for part in (1, 2, 3):
            folder = made.sys / "devices" / disk / f"{disk}{part}"
            folder.mkdir(parents=True)
            (folder / "partition").write_text(f"{part}\n")
            (folder / "dev").write_text(f"253:{number + part}\n")
            (made.sys / "dev/block").mkdir(parents=True, exist_ok=True)
            (made.sys / f"dev/block/253:{number + part}").symlink_to(folder)
    mountinfo(made, "36 35 253:18 / /run/initramfs/cos-state ro,relatime shared:1 - ext4 /dev/vdb2 ro")
    return made


def mountinfo(kernel: here.Kernel, *lines: str) -> None:
    (kernel.proc / "self/mountinfo").write_text("\n".join(lines) + "\n")


def blkid(folder: Path, monkeypatch: pytest.MonkeyPatch, labels: dict[str, str], **names: str) -> None:
    """A blkid that knows these partitions: a label for each name of a node; and names in the table, of such without a
    file system."""
    tool = folder / "tools/blkid"
    tool.parent.mkdir()
    lines = [f"  */{name}) echo LABEL={label}; echo TYPE=ext4;;" for name, label in labels.items()]
    lines += [f"  */{node}) echo PART_ENTRY_NAME={name};;" for node, name in names.items()]
    found = {label: [n for n, other in labels.items() if other == label] for label in labels.values()}
    listed = [f"  *LABEL={label}\\ *) printf '/dev/%s\\n' {' '.join(names)};;" for label, names in found.items()]
    script = ["#!/bin/sh", 'case "$* " in', *listed, "esac", "for last; do :; done", 'case "$last" in', *lines]
    script += ["esac", "exit 0"]
    tool.write_text("\n".join(script) + "\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
