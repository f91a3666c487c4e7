"""Partition tables: what elemental and cOS have, as sfdisk itself understands it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tests.services import program
from treebuilder.device.layout import Firmware, Layout, Sizes, Table, node, plan, sfdisk_script
from treebuilder.errors import ConfigError, NoSpace

KINDS = [(Firmware.EFI, Table.GPT), (Firmware.BIOS, Table.GPT), (Firmware.BIOS, Table.MSDOS)]


def names(layout: Layout) -> list[str]:
    return [part.name for part in layout.partitions]


def test_the_order_is_that_of_elemental() -> None:
    efi = plan(Firmware.EFI, None, Sizes(), disk_mib=30_000, image_mib=200)
    assert (efi.table, names(efi)) == (Table.GPT, ["efi", "oem", "recovery", "state", "persistent"])
    bios = plan(Firmware.BIOS, None, Sizes(), disk_mib=30_000, image_mib=200)
    assert (bios.table, names(bios)) == (Table.MSDOS, ["oem", "recovery", "state", "persistent"])
    forced = plan(Firmware.BIOS, Table.GPT, Sizes(), disk_mib=30_000, image_mib=200)
    assert names(forced) == ["bios", "oem", "recovery", "state", "persistent"]
    assert [part.size_mib for part in efi.partitions[:4]] == [64, 64, 4096, 8192]


def test_a_small_disk_gets_what_the_image_needs() -> None:
    layout = plan(Firmware.EFI, None, Sizes(), disk_mib=2048, image_mib=120)
    assert layout.labelled("COS_STATE").size_mib == 4 * 120 + 256
    assert layout.labelled("COS_RECOVERY").size_mib == 3 * 120 + 128


def test_a_large_disk_with_a_bios_gets_a_gpt() -> None:
    assert plan(Firmware.BIOS, None, Sizes(), disk_mib=3 << 20, image_mib=100).table is Table.GPT
    with pytest.raises(ConfigError):
        plan(Firmware.BIOS, Table.MSDOS, Sizes(), disk_mib=3 << 20, image_mib=100)
    with pytest.raises(ConfigError):
        plan(Firmware.EFI, Table.MSDOS, Sizes(), disk_mib=30_000, image_mib=100)


def test_a_small_disk_is_refused_with_what_is_needed() -> None:
    with pytest.raises(NoSpace) as caught:
        plan(Firmware.BIOS, None, Sizes(), disk_mib=1000, image_mib=200)
    assert "1000 MiB" in str(caught.value)
    assert "state 1056" in str(caught.value)
    assert caught.value.hint is not None
    assert "nothing was changed" in caught.value.hint


@pytest.mark.parametrize("sizes", [Sizes(state=500), Sizes(oem=1), Sizes(recovery=10), Sizes(efi=5), Sizes(oem=-3)])
def test_sizes_that_cannot_work_are_refused(sizes: Sizes) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(Firmware.EFI, None, sizes, disk_mib=30_000, image_mib=200)
    assert caught.value.reason == "bad-layout"


@given(some.sampled_from(KINDS), some.integers(1, 4_000_000), some.integers(1, 3000), some.integers(0, 5000))
def test_partitions_lie_on_the_disk_one_behind_the_other(
    kind: tuple[Firmware, Table], disk_mib: int, image_mib: int, persistent: int
) -> None:
    try:
        layout = plan(*kind, Sizes(persistent=persistent), disk_mib=disk_mib, image_mib=image_mib)
    except (NoSpace, ConfigError):
        return
    end = 1
    for number, part in enumerate(layout.partitions, 1):
        assert (part.number, part.start_mib) == (number, end)
        assert part.size_mib > 0
        end += part.size_mib
    assert end <= disk_mib - 1
    assert layout.labelled("COS_STATE").size_mib >= 3 * image_mib


@pytest.mark.parametrize(("firmware", "table"), KINDS)
@pytest.mark.parametrize("persistent", [0, 300])
def test_sfdisk_makes_what_was_planned(tmp_path: Path, firmware: Firmware, table: Table, persistent: int) -> None:
    program("sfdisk", "fdisk")
    disk = tmp_path / "disk"
    with disk.open("wb") as out:
        out.truncate(3000 << 20)
    layout = plan(firmware, table, Sizes(persistent=persistent), disk_mib=3000, image_mib=100)
    subprocess.run(["sfdisk", "-q", disk], input=sfdisk_script(layout), text=True, check=True)
    said = json.loads(subprocess.run(["sfdisk", "--json", disk], capture_output=True, check=True).stdout)
    found = said["partitiontable"]
    assert found["label"] == ("gpt" if table is Table.GPT else "dos")
    assert [(part["start"] // 2048, part.get("name")) for part in found["partitions"]] == [
        (part.start_mib, part.name if table is Table.GPT else None) for part in layout.partitions
    ]
    for made, part in zip(found["partitions"], layout.partitions, strict=True):
        assert abs(made["size"] // 2048 - part.size_mib) <= 1
        assert made.get("bootable", False) is (table is Table.MSDOS and part.label == "COS_STATE")


@pytest.mark.parametrize(
    ("disk", "expected"),
    [
        ("/dev/sda", "/dev/sda2"), ("/dev/vdb", "/dev/vdb2"), ("/dev/nvme0n1", "/dev/nvme0n1p2"),
        ("/dev/mmcblk0", "/dev/mmcblk0p2"), ("/dev/loop7", "/dev/loop7p2"), ("/dev/xvda", "/dev/xvda2"),
    ],
)  # fmt: skip
def test_nodes_are_named_as_the_kernel_names_them(disk: str, expected: str) -> None:
    assert node(disk, 2) == expected
