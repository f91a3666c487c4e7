"""The script of the initrd that makes folders writable, in mounts of its own; drives are folders here."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.services import need, privately

SCRIPT = Path(__file__).parents[2] / "packages/system/immutable-rootfs/dracut/cos-mount-layout.sh"


@pytest.fixture(autouse=True)
def _root() -> None:
    need(os.geteuid() == 0, "only root mounts an overlay")


class Booted:
    """What is there after it ran: mounts below the root by path, fstab, the machine-id, what was said."""

    def __init__(self, top: Path, words: str, **layout: str) -> None:
        self.drive = top / "drive"
        root = top / "sysroot"
        for folder in ("etc", "var/log", "home", "tmp", "usr/local", "oem"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        self.drive.mkdir(exist_ok=True)
        (top / "cmdline").write_text(f"cos-img/filename=/cOS/active.img {words}\n")
        script = SCRIPT.read_text()
        for old, new in (
            ("/proc/cmdline", f"{top}/cmdline"), ("sysroot=/sysroot", f"sysroot={root}"), ("/run/cos", f"{top}/run"),
            ("/run/overlay", f"{top}/overlay"), ('[ -b "$node" ]', '[ -e "$node" ]'),
            ("mount -o rw", "mount --bind"), ('mountpoint -x "$node"', "echo drive"),
        ):  # fmt: skip
            assert old in script
            script = script.replace(old, new)
        (top / "script").write_text(script.replace("DRIVE", str(self.drive)))
        shown = f"sh {top}/script all; code=$?; cat /proc/self/mountinfo; echo; cat {root}/etc/fstab; echo; "
        shown += f"cat {root}/etc/machine-id; exit $code"
        env = {
            "PATH": os.environ["PATH"],
            **{key: value.replace("DRIVE", str(self.drive)) for key, value in layout.items()},
        }
        done = subprocess.run(privately(shown), env=env, capture_output=True, text=True, timeout=60, check=False)
        self.code, self.said = done.returncode, done.stderr
        mounts, self.fstab, self.machine_id = f"{done.stdout}\n\n".split("\n\n")[:3]
        places = [line.split()[4] for line in mounts.splitlines()]
        self.mounts = [place.removeprefix(str(root)) for place in places if place.startswith(f"{root}/")]
        self.overlay = next((line for line in mounts.splitlines() if f" {top}/overlay " in line), "")


VOLUME = {"VOLUMES": "DRIVE:/usr/local", "PERSISTENT_STATE_PATHS": "/var/log"}


def test_folders_are_written_to_and_some_last(tmp_path: Path) -> None:
    found = Booted(tmp_path, "", **VOLUME)
    assert found.code == 0
    assert {"/etc", "/home", "/tmp", "/usr/local", "/var", "/var/log"} <= set(found.mounts)
    assert "upperdir=/usr/local/.state/var-log.overlay/upper" in found.fstab
    assert len(found.machine_id.strip()) == 32
    assert Booted(tmp_path, "", **VOLUME).machine_id == found.machine_id


@pytest.mark.parametrize("volume", ["DRIVE:/usr/local/", "DRIVE:/usr/local//"])
@pytest.mark.parametrize("target", ["/usr/local/.state/", "usr/local/.state"])
def test_slashes_more_or_less_do_not_make_a_device_forget(tmp_path: Path, volume: str, target: str) -> None:
    layout = VOLUME | {"VOLUMES": volume, "PERSISTENT_STATE_TARGET": target, "PERSISTENT_STATE_PATHS": "var/log/"}
    found = Booted(tmp_path, "", **layout)
    assert "/usr/local" in found.mounts
    assert (found.drive / ".state/var-log.overlay/upper").is_dir()
    assert (found.drive / "etc/machine-id").is_file()


def test_a_folder_that_is_named_twice_is_mounted_once(tmp_path: Path) -> None:
    found = Booted(tmp_path, "", RW_PATHS="/etc etc/ /var /etc //")
    assert (found.code, found.mounts.count("/etc"), found.mounts.count("/var")) == (0, 1, 1)
    assert "/" not in found.mounts


@pytest.mark.parametrize("store", ["tmpfs:much", "tmpfs", "LABEL=NOT_THERE", "/dev/none"])
@pytest.mark.parametrize("by_word", [True, False])
def test_what_is_written_goes_to_memory_where_its_place_is_not_there(tmp_path: Path, store: str, by_word: bool) -> None:
    found = Booted(tmp_path, f"rd.cos.overlay={store}" if by_word else "", **({} if by_word else {"OVERLAY": store}))
    assert (found.code, "tmpfs" in found.overlay, "/etc" in found.mounts) == (0, True, True)
    assert f"{store} cannot be used" in found.said


@pytest.mark.parametrize("merge", ["true", "false"])
def test_every_volume_of_the_command_line_counts(tmp_path: Path, merge: str) -> None:
    (tmp_path / "pci-0:1:2").mkdir()
    named = (f"{tmp_path}/pci-0:1:2:/oem", "LABEL=NONE:/b", "LABEL=X", f"{tmp_path}:/home")
    words = " ".join(f"rd.cos.mount={volume}" for volume in named)
    found = Booted(tmp_path, words, MERGE=merge, **VOLUME)
    assert (found.code, {"/oem", "/home"} - set(found.mounts)) == (0, set())
    assert f"{tmp_path}/pci-0:1:2 /oem auto" in found.fstab
    assert (f"{found.drive} /usr/local auto" in found.fstab) is (merge == "true")
    assert "LABEL=X is no WHAT:/PATH" in found.said
    assert "there is no LABEL=NONE for /b" in found.said


@pytest.mark.parametrize("left", [b"\0" * 33, b"uninitialized\n", b"0123\n"])
def test_a_damaged_machine_id_is_made_anew(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "drive/etc").mkdir(parents=True)
    (tmp_path / "drive/etc/machine-id").write_bytes(left)
    found = Booted(tmp_path, "", **VOLUME)
    assert len(found.machine_id.strip()) == 32
    assert (found.drive / "etc/machine-id").read_text() == found.machine_id.strip() + "\n"


@pytest.mark.parametrize(
    ("spec", "known", "node"),
    [
        ("LABEL=COS_OEM", True, "vda1"), ("LABEL=COS_PERSISTENT", True, ""), ("LABEL=COS_RECOVERY", True, ""),
        ("LABEL=DATA", True, "vdb4"), ("UUID=1234", True, "vdb3"), ("DEV/vdb3", True, "vdb3"),
        ("LABEL=COS_OEM", False, "vdb1"), ("LABEL=COS_PERSISTENT", False, "vdb3"),
    ],
)  # fmt: skip
def test_what_another_disk_calls_like_ours_is_not_mounted(tmp_path: Path, spec: str, known: bool, node: str) -> None:
    """vda is ours, and has lost COS_PERSISTENT and COS_RECOVERY; vdb is another system's, with a DATA of its own."""
    dev, block = tmp_path / "dev", tmp_path / "sys/dev/block"
    labels = {"vda1": "COS_OEM", "vda2": "COS_STATE", "vdb1": "COS_OEM", "vdb2": "COS_RECOVERY",
              "vdb3": "COS_PERSISTENT", "vdb4": "DATA"}  # fmt: skip
    for folder in (dev / "disk/by-label", dev / "disk/by-uuid", block):
        folder.mkdir(parents=True)
    for name, label in labels.items():
        (tmp_path / "sys/devices" / name[:3] / name).mkdir(parents=True)
        (tmp_path / "sys/devices" / name[:3] / name / "partition").touch()
        (dev / name).write_text(f"{label}\n")
        (dev / "disk/by-label" / label).unlink(missing_ok=True)
        (dev / "disk/by-label" / label).symlink_to(dev / name)
    (dev / "disk/by-uuid/1234").symlink_to(dev / "vdb3")
    (block / "253:2").symlink_to(tmp_path / "sys/devices/vda/vda2")
    mounted = "36 35 253:2 / /run/initramfs/cos-state ro - ext4 /dev/vda2 ro\n" if known else ""
    (tmp_path / "mountinfo").write_text(mounted)
    script = SCRIPT.read_text()
    functions = script[script.index("# The folder in sysfs of the disk") : script.index('fstab=""')]
    for old, new in (
        ("/proc/self/mountinfo", f"{tmp_path}/mountinfo"), ("/sys/dev/block", str(block)), ("/dev/$", f"{dev}/$"),
        ("=/dev/disk", f"={dev}/disk"), ('"/dev/', f'"{dev}/'), ('[ -b "$node" ]', '[ -e "$node" ]'),
    ):  # fmt: skip
        functions = functions.replace(old, new)
    blkid = 'blkid() { while [ $# -gt 1 ]; do shift; done; cat "$1"; }\n'
    words = ["sh", "-uc", f'{blkid}{functions}\nnode_of "$1"', "sh", spec.replace("DEV", str(dev))]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == (str(dev / node) if node else "")
