"""What would keep a device from ever going on: each of these states was reached by a cut, a fault or a full disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.device_fleet import Capture, Fleet, answer, asked, device, lay
from tests.unit.device_kernel import blkid, kernel, mountinfo
from tests.unit.device_parts import Lab
from treebuilder.app.device_data import broken, data_folders, workplace
from treebuilder.device import grubcfg, here, layout, workfolder
from treebuilder.device.grubenv import GrubControl
from treebuilder.device.journal import Journal
from treebuilder.device.places import BOOT_BLOCK, OEM, PERSISTENT, STATE
from treebuilder.device.slots import Source
from treebuilder.device.states import TRIES, Image, Pointer, Purpose, Slot
from treebuilder.device.upgrade import Machine, Started
from treebuilder.device.workfolder import NAME, STORE, clear, is_busy, work_folder
from treebuilder.errors import StateCorrupt
from treebuilder.events import Recorder, Warned
from treebuilder.model.digest import Digest
from treebuilder.oci.store import Store

__all__ = ["device", "kernel"]  # fixtures


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


# passive --------------------------------------------------------------------------------------------------------------
def test_passive_stays_up_whatever_its_checks_say(device: Fleet, capsys: Capture) -> None:
    """The network is away: a new version fails its checks for that, and so does the old one."""
    program(device.root / "etc/treebuild/health.d/10-network", "exit 1")
    program(device.root / "usr/lib/cos/deadline-off", f"echo >> {device.root}/off")
    assert asked(device, capsys, "upgrade", str(lay(device.top / "new", "2.0")))["state"] == "upgraded"
    for _ in range(TRIES):
        assert (device.boot(), device.run("confirm")) == ("2.0", 1)
    assert not (device.root / "off").exists()
    for turn in range(2 * TRIES):
        assert (device.boot(), device.slot) == ("1.0", Slot.PASSIVE)
        capsys.readouterr()
        assert device.run("confirm") == 1
        assert answer(capsys.readouterr().out, "confirm")["reboot"] is False
        assert len((device.root / "off").read_text()) == turn + 1, "nothing better would come"
        assert device.written().pointer.spare == TRIES


def test_passive_stays_up_where_nothing_can_be_written(device: Fleet, capsys: Capture) -> None:
    program(device.root / "usr/lib/cos/deadline-off", f"echo >> {device.root}/off")
    (device.state / "cOS/.lock").unlink(missing_ok=True)
    (device.state / "cOS/.lock").mkdir()
    for slot, off in ((Slot.ACTIVE, False), (Slot.PASSIVE, True)):
        device.slot = slot
        assert device.run("confirm") == 2
        assert (device.root / "off").exists() is off


# recovery -------------------------------------------------------------------------------------------------------------
def test_a_recovery_that_nobody_picked_gives_way(
    device: Fleet, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(here, "which", lambda name: None)  # whoever is at work on this machine is not there
    (device.state / "cOS/active.img").unlink()
    for _ in range(TRIES):  # cut before it is confirmed
        assert (device.boot(), device.slot) == ("1.0", Slot.PASSIVE)
    assert (device.boot(), device.slot) == ("1.0", Slot.RECOVERY)
    sessions = device.root / "run/systemd/sessions"
    sessions.mkdir(parents=True)
    (sessions / "1").touch()
    assert "logged in" in asked(device, capsys, "return")["why"]
    (sessions / "1").rename(sessions / "1.ref")
    with work_folder(device.state / "cOS"):
        assert "at work" in asked(device, capsys, "return")["why"]
    assert asked(device, capsys, "return", "--no-reboot") == {
        "schema": "treebuild.device-return/1", "state": "returns", "why": ""
    }  # fmt: skip
    assert (device.boot(), device.slot) == ("1.0", Slot.PASSIVE)
    assert "passive runs" in asked(device, capsys, "return")["why"]


def test_recovery_stays_where_it_is_all_there_is_or_a_reset_is_under_way(
    device: Fleet, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(here, "which", lambda name: None)
    device.slot, device.boots = Slot.RECOVERY, device.boots + 1
    image = device.written().recovery
    assert image is not None
    started = Started(f"boot-{device.boots}", Slot.RECOVERY)
    machine = Machine(device.state, device.recovery, GrubControl(device.state / BOOT_BLOCK), started)
    other = device.top / "4.0.img"
    other.write_bytes(b"reset to this")
    wish = Image("4.0", Digest.of(b"reset to this"))
    machine.upgrade(wish, Source(other), Purpose.RESET, go=False)
    assert "reset" in asked(device, capsys, "return")["why"]
    machine.cancel()
    assert asked(device, capsys, "return")["state"] == "returns"
    for name in ("active.img", "passive.img"):
        (device.state / "cOS" / name).unlink()
    assert "nothing else" in asked(device, capsys, "return")["why"]


def test_the_boot_loader_says_that_nobody_picked_recovery(kernel: here.Kernel) -> None:
    text = grubcfg.choice()
    begin = text[text.index("function tb_begin") :]
    assert begin.index('if [ "$1" != "$tb_choice" ]; then return 0') < begin.index("set tb_words_recovery=cos.fallback")
    whole = grubcfg.grub_cfg(grubcfg.GrubConfig("s", "r", "o"))
    assert whole.count("$tb_words_recovery") == 1
    assert not here.came_by_itself(kernel)
    (kernel.proc / "cmdline").write_text("rd.live.squashimg=cOS/recovery.squashfs cos.fallback\n")
    assert here.came_by_itself(kernel)


# the folder to work in ------------------------------------------------------------------------------------------------
def left_behind(parent: Path) -> Path:
    folder = parent / NAME
    for name in (f"{STORE}/blobs", "root/usr"):
        (folder / name).mkdir(parents=True)
    return folder


def test_what_a_cut_run_left_elsewhere_goes(tmp_path: Path) -> None:
    folder = left_behind(tmp_path)
    clear(tmp_path, keep=False)
    assert not folder.exists()
    clear(tmp_path, keep=False)


def test_what_was_fetched_stays_while_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = left_behind(tmp_path)
    clear(tmp_path, keep=True)
    assert [path.name for path in folder.iterdir()] == [STORE]
    monkeypatch.setattr(workfolder, "free_bytes", lambda folder: 1 << 20)
    clear(tmp_path, keep=True)
    assert not folder.exists()


def test_who_is_at_work_keeps_everything(tmp_path: Path) -> None:
    assert not is_busy(tmp_path)
    with work_folder(tmp_path) as work:
        (work.folder / "root").mkdir()
        assert is_busy(tmp_path)
        clear(tmp_path, keep=False)
        assert (work.folder / "root").is_dir()


def _garbage(store: Path) -> None:
    (store / "index.sqlite").write_bytes(os.urandom(9000))


def _newer(store: Path) -> None:
    (store / "VERSION").write_text("2\n")


def _unreadable(store: Path) -> None:
    for blob in (store / "blobs/sha256").iterdir():
        blob.unlink()
        blob.mkdir()  # EISDIR in the place of EIO


@pytest.mark.parametrize("damage", [_garbage, _newer, _unreadable])
def test_damage_in_what_was_kept_stops_one_upgrade_at_most(
    device: Fleet, capsys: Capture, damage: Callable[[Path], None]
) -> None:
    work = device.top / "work"
    work.mkdir()
    device.package("2.0")
    assert asked(device, capsys, "upgrade", "system/os@2.0", "--work", str(work))["state"] == "upgraded"
    assert device.boot() == "2.0"
    assert device.run("confirm") == 0
    damage(work / NAME / STORE)
    device.package("3.0")
    if device.run("upgrade", "system/os@3.0", "--work", str(work)) != 0:
        capsys.readouterr()
        assert device.run("upgrade", "system/os@3.0", "--work", str(work)) == 0
    assert device.boot() == "3.0"


def test_a_store_of_another_version_is_told(tmp_path: Path) -> None:
    Store(tmp_path / "store").close()
    _newer(tmp_path / "store")
    with pytest.raises(StateCorrupt, match="another version of treebuild"):
        Store(tmp_path / "store")


def test_work_is_done_where_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, slots, events = tmp_path / "data", tmp_path / "slots", Recorder()
    free = {data: 10, slots: 100}
    monkeypatch.setattr(workfolder, "free_bytes", lambda folder: free[folder])
    assert workplace(data, slots, 3, Slot.ACTIVE, events) == data
    assert workplace(data, slots, 25, Slot.ACTIVE, events) == slots
    assert workplace(data, slots, 26, Slot.ACTIVE, events) == data  # which says that it has none
    assert not events.events
    assert workplace(None, slots, 3, Slot.RECOVERY, events) == slots
    assert not events.events
    assert workplace(None, slots, 3, Slot.ACTIVE, events) == slots
    assert [PERSISTENT in event.message for event in events.events if isinstance(event, Warned)] == [True]


@pytest.mark.parametrize(("disk_mib", "image_mib", "lacks"), [(7456, 900, True), (7456, 600, False)])
def test_an_installation_says_when_upgrades_will_lack_room(disk_mib: int, image_mib: int, lacks: bool) -> None:
    made = layout.plan(layout.Firmware.EFI, None, layout.Sizes(), disk_mib=disk_mib, image_mib=image_mib)
    sizes = {part.label: part.size_mib for part in made.partitions}
    assert (layout.upgrades_lack_mib(sizes, image_mib) > 0) is lacks


# what is remembered ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("text", ["", "{", '{"schema": "treebuild.device-channels/1", "seen": {"a": 1e400}}'])
def test_what_is_remembered_of_channels_begins_anew(device: Fleet, capsys: Capture, text: str) -> None:
    device.configure(trust="none")
    device.package("2.0")
    device.publish("2.0")
    (device.state / "cOS/channels.json").write_text(text)
    assert device.run("upgrade", "--channel", "stable") == 0
    out, err = capsys.readouterr()
    assert (answer(out, "upgrade")["state"], "begins anew" in err) == ("upgraded", True)
    assert device.boot() == "2.0"


@pytest.mark.parametrize("line", ['{"at": 1e400, "what": "x"}', "[" * 100_000])
def test_a_line_of_history_that_is_none_is_passed_over(device: Fleet, capsys: Capture, line: str) -> None:
    with (device.state / "cOS/history.jsonl").open("a") as out:
        out.write(f"{line}\n")
    assert asked(device, capsys, "status")["history"]


def test_a_version_that_never_ran_is_not_confirmed(tmp_path: Path) -> None:
    """The memory is lost between the switch and the boot, and somebody starts the confirmation again."""
    lab = Lab(tmp_path)
    lab.install()
    (tmp_path / "run").mkdir()

    def machine() -> Machine:
        control = GrubControl(lab.state / "grubenv")
        return Machine(
            lab.state, lab.recovery, control, Started(f"boot-{lab.boots}", lab.slot), noted=str(tmp_path / "run")
        )

    machine().status()
    image = Image("2.0", Digest.of(lab.file("2.0").read_bytes()))
    machine().upgrade(image, Source(lab.file("2.0")))
    (lab.state / "cOS/memory.json").write_bytes(b"")
    assert machine().mend()
    device = machine().healthy()
    assert (device.running.version if device.running else "", device.on_trial) == ("1.0", False)
    assert device.pointer == Pointer(Slot.ACTIVE, TRIES, TRIES, image.digest)
    (tmp_path / "run/treebuild-booted.json").unlink()  # as each boot does
    assert lab.boot().version == "2.0"
    assert machine().status().on_trial
    assert Journal(tmp_path / "run", "treebuild-booted.json").read()[1] is not None


def test_room_counts_what_the_new_version_takes_the_place_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(tmp_path)
    lab.install()
    found = os.statvfs(tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda folder: found)  # nobody else writes here
    before = lab.machine.room(Purpose.UPGRADE)
    image = Image("3.0", Digest.of(lab.file("3.0").read_bytes()))
    lab.machine.upgrade(image, Source(lab.file("3.0")), go=False)
    staged = lab.state / "cOS/images" / f"{image.digest.hex}-3.0.img"
    assert lab.machine.room(Purpose.UPGRADE) == before + staged.stat().st_blocks * 512 > before


# partitions that cannot be mounted any more ---------------------------------------------------------------------------
def test_a_broken_partition_is_known_by_its_name_in_the_table(
    kernel: here.Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = {"vda1": PERSISTENT, "vdb2": STATE}
    blkid(tmp_path, monkeypatch, labels, vda2="persistent", vda3="oem", vdb1="recovery", vdb3="persistent")
    assert broken(kernel, PERSISTENT) == kernel.dev / "vdb3"
    assert broken(kernel, OEM) is None, "another disk's is not ours"
    state = "36 35 253:18 / /run/initramfs/cos-state ro - ext4 /dev/vdb2 ro"
    mountinfo(kernel, state, "37 35 253:19 / /x rw - ext4 /dev/vdb3 rw")
    assert broken(kernel, PERSISTENT) is None, "somebody has it mounted"


def test_folders_of_a_device_in_folders_are_its_roots(device: Fleet) -> None:
    from treebuilder.app.device import DeviceOptions, opened
    from treebuilder.system.process import Cancel

    options = DeviceOptions(str(device.state), str(device.recovery), root=device.root)
    with opened(options, Recorder(), Cancel()) as site, data_folders(site, (OEM, PERSISTENT)) as folders:
        assert [*folders] == [device.root / "oem", device.root / "usr/local"]
