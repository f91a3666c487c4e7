"""Which boot and which disk this is, told by folders that look like the kernel's; and file systems at rest."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.device_kernel import ACTIVE, LIVE, blkid, kernel, mountinfo
from treebuilder.app.device_data import data_place
from treebuilder.device import here, writing
from treebuilder.device.cosfiles import CosSettings, load, parse_variables
from treebuilder.device.followed import Channels, ChannelsFile, Followed, due
from treebuilder.device.states import Device, Failure, Image, Memory, Pointer, Slot
from treebuilder.device.workfolder import NAME, STORE, need, work_folder
from treebuilder.errors import ConfigError, IntegrityError, LockHeld, NoSpace, StateCorrupt, TransportError
from treebuilder.events import Silent
from treebuilder.model.digest import Digest
from treebuilder.records import replace

__all__ = ["kernel"]  # a fixture


@pytest.mark.parametrize(
    ("words", "slot"),
    [
        (ACTIVE, Slot.ACTIVE), (ACTIVE.replace("active.img", "passive.img"), Slot.PASSIVE), (LIVE, Slot.RECOVERY),
        ("cos-img/filename=/cOS/recovery.img", Slot.RECOVERY),
    ],
)  # fmt: skip
def test_the_kernel_says_what_was_booted(kernel: here.Kernel, words: str, slot: Slot) -> None:
    (kernel.proc / "cmdline").write_text(words)
    found = here.started(kernel)
    assert (found.boot_id, found.slot) == ("11111111-2222", slot)


@pytest.mark.parametrize("words", ["root=LABEL=root ro", "cos-img/filename=", "rd.live.squashimg=rootfs.squashfs", ""])
def test_what_was_not_booted_from_a_slot_is_no_device(kernel: here.Kernel, words: str) -> None:
    (kernel.proc / "cmdline").write_text(words)
    with pytest.raises(ConfigError) as caught:
        here.started(kernel)
    assert caught.value.reason == "no-device"


def test_two_disks_with_equal_labels_are_told_apart(
    kernel: here.Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = {"COS_OEM": "1", "COS_STATE": "2", "COS_RECOVERY": "3"}
    blkid(tmp_path, monkeypatch, {f"{d}{n}": label for d in ("vda", "vdb") for label, n in labels.items()})
    for label, number in labels.items():
        found = here.partition(kernel, label)
        assert found is not None
        assert (found.node.name, found.device) == (f"vdb{number}", f"253:{16 + int(number)}")
    mountinfo(kernel, "36 35 0:20 / /run rw - tmpfs tmpfs rw")  # nothing says which disk is ours
    with pytest.raises(StateCorrupt) as caught:
        here.partition(kernel, "COS_STATE")
    assert caught.value.reason == "many-disks"


def test_another_disk_is_left_alone_when_ours_has_no_such_partition(
    kernel: here.Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another system is attached, with the labels that ours has lost."""
    blkid(tmp_path, monkeypatch, {"vda1": "COS_RECOVERY", "vda2": "COS_PERSISTENT", "vdb2": "COS_STATE"})
    for label in ("COS_RECOVERY", "COS_PERSISTENT"):
        assert here.partition(kernel, label) is None
        with pytest.raises(StateCorrupt) as caught, writing.writable(kernel, label, Silent()):
            raise AssertionError(label)
        assert (caught.value.reason, label in caught.value.message) == ("no-partition", True)
        assert "vdb" in str(caught.value)
    found = here.partition(kernel, "COS_STATE")
    assert found is not None
    assert found.node.name == "vdb2"


def test_where_to_work_is_what_the_owner_mounts_for_data(
    kernel: here.Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = "36 35 253:18 / /run/initramfs/cos-state ro - ext4 /dev/vdb2 ro"
    overlay = "37 35 0:40 / /usr/local rw - overlay overlay rw"
    blkid(tmp_path, monkeypatch, {"vda1": "COS_PERSISTENT", "vdb2": "COS_STATE", "vdb3": "COS_PERSISTENT"})
    mountinfo(kernel, state, overlay, "38 35 253:19 / /mnt/ours rw - ext4 /dev/vdb3 rw")
    assert data_place(kernel) == Path("/mnt/ours")
    (tmp_path / "tools/blkid").unlink()
    (tmp_path / "tools").rmdir()
    blkid(tmp_path, monkeypatch, {"vda1": "COS_PERSISTENT", "vdb2": "COS_STATE"})
    for other, place in (("/mnt/other", None), ("/usr/local", Path("/usr/local"))):  # by UUID, in VOLUMES
        mountinfo(kernel, state, overlay, f"38 35 253:1 / {other} rw - ext4 /dev/vda1 rw")
        assert data_place(kernel) == place
    mountinfo(kernel, state, overlay)  # which is in memory
    assert data_place(kernel) is None


def test_mounts_are_read_with_their_escapes(kernel: here.Kernel) -> None:
    mountinfo(
        kernel, "36 35 8:1 / /mnt/a\\040b rw,relatime - ext4 /dev/sda1 rw,errors=continue",
        "37 35 8:2 /sub /mnt/c rw - ext4 /dev/sda2 rw", "38 35 8:3 / /d rw - ext4 /dev/sda3 ro", "broken",
    )  # fmt: skip
    assert here.mounts(kernel) == (here.Mount("8:1", Path("/mnt/a b"), False), here.Mount("8:3", Path("/d"), True))


# rest -----------------------------------------------------------------------------------------------------------------
class Controls:
    """Takes the place of the kernel's ioctl."""

    def __init__(self, fault: int = 0) -> None:
        self.fault, self.asked = fault, list[str]()

    def __call__(self, fd: int, request: int) -> int:
        assert stat.S_ISDIR(os.fstat(fd).st_mode)
        self.asked.append({writing.FREEZE: "freeze", writing.THAW: "thaw"}[request])
        if request == writing.FREEZE and self.fault:
            raise OSError(self.fault, "no")
        return 0


def test_a_file_system_is_frozen_and_thawed(tmp_path: Path) -> None:
    control = Controls()
    assert writing.rest(tmp_path, control)
    assert control.asked == ["freeze", "thaw"]


@pytest.mark.parametrize("fault", [errno.EOPNOTSUPP, errno.ENOTTY, errno.EPERM])
def test_what_cannot_be_frozen_is_synced_and_never_left_frozen(tmp_path: Path, fault: int) -> None:
    control = Controls(fault)
    assert not writing.rest(tmp_path, control)
    assert control.asked == ["freeze", "thaw"]


def test_what_somebody_else_froze_is_theirs_to_thaw(tmp_path: Path) -> None:
    control = Controls(errno.EBUSY)
    assert not writing.rest(tmp_path, control)
    assert control.asked == ["freeze"]


_WRITABLE = """
import os, sys
from pathlib import Path
from treebuilder.container import namespace, syscalls
from treebuilder.app.device_data import data_place
from treebuilder.device import here, writing
from treebuilder.events import Recorder

namespace.enter_private_mounts()
syscalls.mount("tmpfs", "/run", "tmpfs", 0, "")
top, mounted = Path(sys.argv[1]), sys.argv[2] == "mounted"
state = Path("/run/initramfs/cos-state" if mounted else "/run/initramfs/live")
state.mkdir(parents=True)
syscalls.mount("tmpfs", str(state), "tmpfs", syscalls.MS_RDONLY, "")
real = here.Kernel()
device = next(m.device for m in here.mounts(real) if m.place == state)
for name, number in (("vda2", device if mounted else "253:2"), ("vda3", "253:3" if mounted else device)):
    folder = top / "sys/devices/vda" / name
    folder.mkdir(parents=True)
    (folder / "partition").write_text("1")
    (folder / "dev").write_text(number)
    if number == device:
        (top / "sys/dev/block").mkdir(parents=True)
        (top / "sys/dev/block" / device).symlink_to(folder)
kernel, events = here.Kernel(sys=top / "sys"), Recorder()
for fails in (False, True):
    try:
        with writing.writable(kernel, "COS_STATE", events) as place:
            (place / "file").write_text("written")
            print("there" if place == state else "elsewhere", os.access(place, os.W_OK), writing.rest(place))
            if fails:
                raise ValueError
    except ValueError:
        pass
    print([m.read_only for m in here.mounts(real) if m.place == place], place.exists(), len(events.events))
"""


@pytest.mark.engine
@pytest.mark.parametrize("how", ["mounted", "apart"])
def test_a_partition_is_writable_for_a_while_and_then_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """With a file system in memory: it is mounted read-only, or it is not mounted at all."""
    blkid(tmp_path, monkeypatch, {"vda2": "COS_STATE"})
    if how == "apart":  # blkid says its kind, and what is mounted is made by us
        tool = tmp_path / "tools/blkid"
        tool.write_text(tool.read_text().replace("TYPE=ext4", "TYPE=tmpfs"))
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", _WRITABLE, tmp_path, how], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = {
        "mounted": ["there True False", "[True] True 0"] * 2, "apart": ["elsewhere True False", "[] False 0"] * 2,
    }  # fmt: skip
    assert done.stdout.splitlines() == expected[how]


_BOTH = (
    _WRITABLE.partition("for fails in")[0]
    + """
first, second = os.pipe(), os.pipe()
child = os.fork()
if not child:
    with writing.writable(kernel, "COS_STATE", events) as place:
        os.write(first[1], b"in")
        os.read(second[0], 1)
    os.write(first[1], b"out")
    os._exit(0)
os.read(first[0], 2)
with writing.writable(kernel, "COS_STATE", events) as place:
    os.write(second[1], b"x")
    os.read(first[0], 3)
    (place / "file").write_text("written after the other one has left")
print([m.read_only for m in here.mounts(real) if m.place == place])
child = os.fork()
if not child:  # killed: the next one tidies up
    with writing.writable(kernel, "COS_STATE", events):
        os.kill(os.getpid(), 9)
os.waitpid(child, 0)
print([m.read_only for m in here.mounts(real) if m.place == place])
with writing.writable(kernel, "COS_STATE", events):
    pass
print([m.read_only for m in here.mounts(real) if m.place == place])
"""
)


@pytest.mark.engine
def test_the_last_of_several_writers_makes_it_read_only_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blkid(tmp_path, monkeypatch, {"vda2": "COS_STATE"})
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    words = [sys.executable, "-c", _BOTH, str(tmp_path), "mounted"]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[True]", "[False]", "[True]"]


# files of cOS ---------------------------------------------------------------------------------------------------------
def test_files_are_read_and_never_run(tmp_path: Path) -> None:
    text = """# a comment
export UPGRADE_IMAGE="system/os"   # here too
GRUB_ENTRY_NAME='My OS'
CHANNEL_UPGRADES=false
RECOVERY_IMAGE=$(touch /tmp/ran)
NO_VERIFY=`id`
if true; then
BAD="
"""
    found = parse_variables(text, "config")
    assert found.values == {"UPGRADE_IMAGE": "system/os", "GRUB_ENTRY_NAME": "My OS", "CHANNEL_UPGRADES": "false"}
    assert [w.where.line for w in found.warnings if w.where is not None] == [5, 6, 7, 8]


def test_later_files_win_and_the_environment_over_them(tmp_path: Path) -> None:
    files = {
        "etc/environment": "UPGRADE_IMAGE=a/env\nPATH=/bin\n",
        "etc/os-release": "IMAGE=poison\nGRUB_ENTRY_NAME=release\nNAME=x\n",
        "etc/cos/config": "UPGRADE_IMAGE=b/config\nRECOVERY_IMAGE=b/recovery\nSTATE_LABEL=x\nWHAT=1\n",
        "etc/cos-upgrade-image": "UPGRADE_IMAGE=c/file\nVERIFY=false\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found, warnings = load(tmp_path, {})
    assert found == CosSettings("c/file", True, "b/recovery", True, "release", "")
    assert [w.message for w in warnings] == ["nobody knows WHAT"]
    found, _ = load(tmp_path, {"UPGRADE_IMAGE": "d/env", "CHANNEL_UPGRADES": "false", "CHANNEL": "not-from-here"})
    assert (found.upgrade_image, found.channel_upgrades, found.channel) == ("d/env", False, "")
    assert load(tmp_path / "nothing", {})[0] == CosSettings()


# what is remembered of channels ---------------------------------------------------------------------------------------
ONE = Followed("stable", "s1", "2.0", Digest("1" * 64), "http://127.0.0.1/", "")


def test_revisions_only_grow_and_are_kept(tmp_path: Path) -> None:
    file = ChannelsFile(tmp_path)
    assert file.read() == Channels()
    kept = Channels().saw("os/stable", 3).saw("os/stable", 2).saw("os/other", 1).follow(ONE).mark(ONE, "good")
    assert (kept.revision("os/stable"), kept.revision("os/none")) == (3, 0)
    file.write(kept)
    assert file.read() == kept
    (tmp_path / "channels.json").write_text("{")
    with pytest.raises(StateCorrupt) as caught:
        file.read()
    assert caught.value.reason == "bad-memory"


def test_results_are_due_once_and_when_they_change() -> None:
    image = Image("2.0", ONE.digest)
    running = Device(image, None, None, booted=Slot.ACTIVE, running=image)
    trial = replace(running, pointer=Pointer(Slot.ACTIVE, 2, trial=image.digest))
    failed = replace(running, memory=Memory(None, (Failure("2.0", ONE.digest, "health"),)), running=None)
    channels = Channels().follow(ONE)
    assert list(due(channels, trial, healthy=True)) == []
    assert list(due(channels, running, healthy=True)) == [(ONE, True, "")]
    assert list(due(channels, running, healthy=False)) == []
    assert list(due(channels, failed, healthy=False)) == [(ONE, False, "health")]
    told = channels.mark(ONE, "good")
    assert list(due(told, running, healthy=True)) == []
    assert [good for _, good, _ in due(told, failed, healthy=False)] == [False]
    assert list(due(Channels().follow(replace(ONE, report_url="")), running, healthy=True)) == []


# the folder to work in ------------------------------------------------------------------------------------------------
def test_the_work_folder_is_swept_and_gone_in_the_end(tmp_path: Path) -> None:
    left = tmp_path / NAME
    (left / "root/deep").mkdir(parents=True)
    (left / STORE / "blobs").mkdir(parents=True)
    with work_folder(tmp_path) as work:
        assert sorted(path.name for path in work.folder.iterdir()) == [STORE]
        with pytest.raises(LockHeld), work_folder(tmp_path):
            pass
    assert not left.exists()


@pytest.mark.parametrize(("error", "kept"), [(TransportError("it broke off"), [STORE]), (IntegrityError("no"), None)])
def test_what_was_fetched_stays_when_the_other_side_broke_off(
    tmp_path: Path, error: Exception, kept: list[str] | None
) -> None:
    with pytest.raises(type(error)), work_folder(tmp_path) as work:
        (work.folder / STORE).mkdir()
        (work.folder / "root").mkdir()
        raise error
    found = sorted(path.name for path in (tmp_path / NAME).iterdir()) if (tmp_path / NAME).exists() else None
    assert found == kept


def test_archives_stay_for_the_next_upgrade_until_room_is_short(tmp_path: Path) -> None:
    blobs = tmp_path / NAME / STORE / "blobs/sha256"
    one, two = (blobs / (digit * 64) for digit in "12")
    with work_folder(tmp_path) as work:
        blobs.mkdir(parents=True)
        (work.folder / STORE / "trees/host").mkdir(parents=True)
        one.touch()
        two.touch()
        work.keep([one])
    assert (sorted(blobs.iterdir()), (tmp_path / NAME / STORE / "trees").exists()) == ([one], False)
    with pytest.raises(IntegrityError), work_folder(tmp_path):
        two.touch()
        raise IntegrityError("no")
    assert sorted(blobs.iterdir()) == [one]
    with work_folder(tmp_path) as work:
        two.touch()
        work.keep([two])
    assert sorted(blobs.iterdir()) == [two]
    with pytest.raises(NoSpace), work_folder(tmp_path):
        raise NoSpace("full")
    assert not (tmp_path / NAME).exists()


def test_room_to_work_in_is_asked_for_first(tmp_path: Path) -> None:
    need(tmp_path, 1, "it")
    with pytest.raises(NoSpace):
        need(tmp_path, 1 << 60, "it")
