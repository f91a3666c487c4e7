"""Partitions as an owner says them, on disks in files."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.services import program
from treebuilder.app import client_settings
from treebuilder.app.device_install import InstallWish, run
from treebuilder.device import own_layout
from treebuilder.device.disk import Disk
from treebuilder.device.layout import Firmware, Layout, Sizes, sfdisk_script
from treebuilder.errors import ConfigError, NoSpace, SpecError, TreebuildError
from treebuilder.events import Silent
from treebuilder.records import replace
from treebuilder.system.process import Cancel

OWN = {"COS_OEM": 20, "COS_STATE": 400, "COS_RECOVERY": 250, "DATA": 40, "COS_PERSISTENT": 0}


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    program("sfdisk", "fdisk")
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    return Disk(str(path), 1 << 30)


def written(
    disk: Disk, sizes: dict[str, int], *, filesystem: str = "ext4", device: str = "", init: bool = False
) -> Path:
    parts = [{"fsLabel": label, "pLabel": label.lower(), "size": size, "filesystem": filesystem}
             for label, size in sizes.items()]  # fmt: skip
    whole = {"path": device or disk.node} | ({"init_disk": True} if init else {})
    layout = {"device": whole, "add_partitions": parts}
    path = Path(disk.node).with_name("own.yaml")
    path.write_text(json.dumps({"stages": {"partitioning": [{"name": "own", "layout": layout}]}}, indent=1))
    return path


def table(disk: Disk, first: Layout) -> list[tuple[str, int]]:
    subprocess.run(["sfdisk", "-q", disk.node], input=sfdisk_script(first).encode(), check=True)
    return found(disk)


def found(disk: Disk) -> list[tuple[str, int]]:
    done = subprocess.run(["sfdisk", "--json", disk.node], check=True, capture_output=True)
    return [(part["name"], part["size"] >> 11) for part in json.loads(done.stdout)["partitiontable"]["partitions"]]


@pytest.mark.parametrize("firmware", list(Firmware))
def test_the_stage_adds_partitions_behind_that_of_the_boot_loader(disk: Disk, firmware: Firmware) -> None:
    first = own_layout.first_partition(firmware, Sizes().efi)
    path = written(disk, OWN)
    own = own_layout.checked(path, disk, first, 100, Silent())
    assert table(disk, first) == [(firmware.value, 64 if firmware is Firmware.EFI else 1)]
    own_layout.add(own)
    names = [name for name, _ in found(disk)]
    assert names == [firmware.value, "cos_oem", "cos_state", "cos_recovery", "data", "cos_persistent"]
    assert dict(found(disk))["cos_persistent"] > 200  # the rest
    at = (1 + sum(size for _, size in found(disk)[:2])) << 20
    said = subprocess.run(["blkid", "-p", "-O", str(at), disk.node], check=True, capture_output=True, text=True).stdout
    assert 'LABEL="COS_STATE"' in said
    assert 'TYPE="ext4"' in said


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"COS_STATE": None}, ConfigError, "no partition COS_STATE"),
        ({"COS_STATE": 100}, ConfigError, "COS_STATE cannot have 100 MiB: it needs 357 or more"),
        ({"COS_RECOVERY": 40}, ConfigError, "COS_RECOVERY cannot have 40 MiB"),
        ({"DATA": 2000}, NoSpace, "has 1024 MiB"),
    ],
)
def test_what_would_be_no_system_is_refused_before_a_byte_is_written(
    disk: Disk, change: dict[str, int | None], error: type[TreebuildError], said: str
) -> None:
    sizes = {label: size for label, size in (OWN | change).items() if size is not None}
    with pytest.raises(error, match=said):
        own_layout.checked(written(disk, sizes), disk, own_layout.first_partition(Firmware.BIOS, 64), 100, Silent())


def test_another_disk_another_file_system_and_a_broken_file_are_refused(disk: Disk, tmp_path: Path) -> None:
    first = own_layout.first_partition(Firmware.EFI, 64)

    def refused(path: Path) -> TreebuildError:
        with pytest.raises(TreebuildError) as caught:
            own_layout.checked(path, disk, first, 100, Silent())
        return caught.value

    other = refused(written(disk, OWN, device="/dev/null"))
    assert "the system goes to" in other.message
    assert other.where is not None
    assert (other.where.file, other.where.line > 1) == (str(tmp_path / "own.yaml"), True)
    assert "must be ext4, not btrfs" in refused(written(disk, OWN, filesystem="btrfs")).message
    assert "init_disk" in refused(written(disk, OWN, init=True)).message
    own = written(disk, OWN)
    own.write_text(own.read_text().replace("400", '"much"'))
    assert isinstance(refused(own), SpecError)
    own.write_text("stages: {boot: []}")
    assert "has no stage partitioning" in refused(own).message
    own.write_text("stages: [")
    assert isinstance(refused(own), SpecError)
    assert isinstance(refused(tmp_path / "none.yaml"), TreebuildError)
    assert Path(disk.node).read_bytes()[:4096] == bytes(4096)


def test_nothing_vouches_for_an_iso_of_the_network(tmp_path: Path) -> None:
    config = tmp_path / "luet.yaml"
    config.write_text("repositories: []\nrepos_confdir: []\n")
    settings = client_settings.load(str(config), {}, Silent(), luet=False, insecure=False)

    def refused(**wish: str) -> ConfigError:
        with pytest.raises(ConfigError) as caught:
            run(replace(InstallWish("/dev/null"), **wish), settings, tmp_path, Silent(), Cancel())
        return caught.value

    assert refused(iso="http://127.0.0.1:9/os.iso").reason == "no-keys"
    assert refused(iso="http://127.0.0.1:9/os.iso#sha256:12").reason == "usage"
    assert refused(iso=str(tmp_path / "none.iso")).reason == "no-iso"
    assert refused(iso="/dev/null", word="oci:x").reason == "usage"
