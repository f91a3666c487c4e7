"""Disks that cannot be installed to, and images that cannot be started: refused before anything is changed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from treebuilder.device import disk as disks
from treebuilder.device import given_configs
from treebuilder.device.composing import look_into
from treebuilder.device.imagefile import check_image
from treebuilder.device.install import InstallOptions, check_menu, install
from treebuilder.errors import ConfigError, TreebuildError
from treebuilder.events import Recorder, Silent
from treebuilder.system.process import Cancel


def root_partition() -> str | None:
    """The node that this machine's root is on, when it is a partition or a disk."""
    device = os.stat("/").st_dev
    node = Path(os.path.realpath(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}"))
    return f"/dev/{node.name}" if (node / "size").is_file() and Path("/dev", node.name).exists() else None


def reason(disk: str, image: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        install(InstallOptions(disk, image, "1"), events=Silent(), cancel=Cancel())
    assert caught.value.hint
    return caught.value.reason


def test_what_is_no_disk_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 4096)
    assert reason(str(tmp_path / "none"), file) == "no-disk"
    assert reason(str(file), file) == "not-a-disk"
    assert reason(str(tmp_path), file) == "not-a-disk"
    assert reason("/dev/null", file) == "not-a-disk"


@pytest.mark.parametrize(("made", "unfit"), [("dm/name", True), ("loop/partscan", True), ("queue/rotational", False)])
def test_what_the_kernel_shows_no_partitions_of_is_refused(tmp_path: Path, made: str, unfit: bool) -> None:
    (tmp_path / made).parent.mkdir()
    (tmp_path / made).write_text("0\n")
    assert bool(disks.cannot_be_parted(tmp_path)) is unfit
    (tmp_path / made).write_text("1\n")
    assert bool(disks.cannot_be_parted(tmp_path)) is (made == "dm/name")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"<html>\n<a b>: {", "cloud.yaml"), (b"stages: {boot: [}", "cloud.yaml:1"), (b"just words", "cloud.yaml:1"),
        (b"\xff\xfe\0s", "no text"), (b"a: " + b"x" * (1 << 20), "larger than 1 MiB"),
        (b"#cloud-config\nusers: [{sudo: x}]\n", "needs a name"),
    ],
)  # fmt: skip
def test_a_cloud_config_that_no_boot_could_read_is_not_installed(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "cloud.yaml").write_bytes(data)
    paths = (tmp_path / "cloud.yaml",)
    with pytest.raises(TreebuildError) as caught:
        given_configs.read(paths, Silent())
    assert said in f"{caught.value.where} {caught.value}"
    (tmp_path / "cloud.yaml").write_text("stages: {boot: [{comands: [a]}]}\n")
    warned = Recorder()
    assert [name for name, _ in given_configs.read(paths, warned)] == ["99_custom.yaml"]
    assert "comands" in str(warned.events)


def test_the_disk_we_run_from_is_refused(tmp_path: Path) -> None:
    node = root_partition()
    if node is None:
        return  # a container's: there is no disk that would have to be refused
    assert reason(node, tmp_path / "none") in ("disk-in-use", "not-a-disk")


def test_what_a_file_holds_is_found_by_reading_it(tmp_path: Path) -> None:
    file = tmp_path / "part"
    unique = "0d6a4d0f-7c11-4a5e-9d57-5a1f0c1e7b70"
    subprocess.run(["mkfs.ext4", "-q", "-F", "-L", "COS_STATE", "-U", unique, file, "8m"], check=True)
    found = disks.identify(str(file), 3)
    assert (found.label, found.uuid, found.filesystem, found.number) == ("COS_STATE", unique, "ext4", 3)
    (tmp_path / "empty").write_bytes(b"\0" * 65536)
    assert disks.identify(str(tmp_path / "empty")).label == ""


@pytest.mark.parametrize(
    ("compression", "good"), [("gzip", True), ("xz", True), ("lzo", True), ("zstd", False), ("lz4", False)]
)
def test_grub_has_to_read_the_image(tmp_path: Path, compression: str, good: bool) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "file").write_bytes(b"x" * 100_000)
    image = tmp_path / "image"
    argv = ["mksquashfs", str(tmp_path / "root"), str(image), "-comp", compression, "-quiet", "-no-progress"]
    subprocess.run(argv, check=True, capture_output=True)
    if good:
        assert check_image(image) == "squashfs"
        image.write_bytes(image.read_bytes()[:200])
    with pytest.raises(ConfigError) as caught:
        check_image(image)
    assert caught.value.reason == "bad-image"
    assert ("GRUB" in str(caught.value)) is not good


def test_an_ext_file_system_is_an_image(tmp_path: Path) -> None:
    subprocess.run(["mkfs.ext4", "-q", "-F", tmp_path / "image", "4m"], check=True)
    assert check_image(tmp_path / "image") == "ext"


@pytest.mark.parametrize("words", [("ext2", "-b", "1024"), ("ext4", "-O", "64bit"), ("ext4", "-O", "^64bit")])
def test_an_ext_file_system_that_is_not_whole_is_none(tmp_path: Path, words: tuple[str, ...]) -> None:
    image = tmp_path / "image"
    subprocess.run(["mkfs.ext4", "-q", "-F", "-t", *words, image, "4m"], check=True)
    with image.open("r+b") as file:
        file.truncate(5 << 20)  # more than it uses is no fault
        assert check_image(image) == "ext"
        file.truncate((4 << 20) - 1)
        with pytest.raises(ConfigError) as caught:
            check_image(image)
        assert caught.value.reason == "bad-image"
        assert f"{(4 << 20) - 1} bytes of {4 << 20}" in str(caught.value)
        file.truncate(4 << 20)
        file.seek(1024 + 24)
        file.write(b"\xff" * 4)  # the size of a block, damaged
    with pytest.raises(ConfigError):
        check_image(image)


def test_half_of_an_image_is_no_version(tmp_path: Path) -> None:
    """What an upgrade and an installation look at first."""
    image = tmp_path / "image"
    subprocess.run(["mkfs.ext4", "-q", "-F", image, "4m"], check=True)
    os.truncate(image, 2 << 20)
    with pytest.raises(ConfigError) as caught:
        look_into(image, tmp_path, Silent(), Cancel())
    assert caught.value.reason == "bad-image"


@pytest.mark.parametrize("data", [b"", b"hsqs", b"x" * 5000])
def test_anything_else_is_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "image").write_bytes(data)
    with pytest.raises(ConfigError):
        check_image(tmp_path / "image")


@pytest.mark.parametrize(
    ("title", "tty", "reason"),
    [
        ("x" * 1000, "", "bad-title"), ("ü" * 600, "", "bad-title"), ("cOS", "/dev/ttyS1", "bad-tty"),
        ("cOS", "ttyS1,115200", ""),
    ],
)  # fmt: skip
def test_what_the_boot_loaders_files_cannot_hold_is_refused(title: str, tty: str, reason: str) -> None:
    if not reason:
        check_menu(title, tty)
        return
    with pytest.raises(ConfigError) as caught:
        check_menu(title, tty)
    assert caught.value.reason == reason
