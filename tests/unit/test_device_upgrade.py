"""A device as folders: upgrades from a file, killed at any system call, with power that comes back each time.

A child kills itself at the chosen one of the calls that change something.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.device_parts import NEW, Lab
from treebuilder.device import install
from treebuilder.device.journal import Journal
from treebuilder.device.places import RECOVERY, STATE
from treebuilder.device.slots import Source
from treebuilder.device.states import Image, Memory, Purpose, Slot
from treebuilder.device.upgrade import image_of
from treebuilder.errors import ConfigError, IntegrityError, LockHeld, NoSpace, StateCorrupt, UpdateRefused
from treebuilder.events import Silent
from treebuilder.model.digest import Digest
from treebuilder.records import replace
from treebuilder.system import locks

_KILLED = """
import sys
from pathlib import Path
from tests.unit.device_parts import Lab
from tests.unit.steps import kill_after
from treebuilder.device.states import Purpose, Slot

lab = Lab(Path(sys.argv[1]))
lab.boots, lab.slot = 1, Slot(sys.argv[4])
kill_after(int(sys.argv[2]))
lab.upgrade("3.0", Purpose(sys.argv[3]))
"""


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    made = Lab(tmp_path)
    made.install()
    assert made.boot().version == "1.0"
    return made


def versions(lab: Lab) -> list[str | None]:
    device = lab.written()
    return [None if found is None else found.version for found in (device.active, device.passive, device.recovery)]


def names(lab: Lab) -> list[str]:
    return sorted(path.name.partition("-")[2] for path in (lab.state / "cOS/images").iterdir())


def test_an_upgrade_from_a_file(lab: Lab) -> None:
    device = lab.upgrade("3.0")
    assert device.running is not None
    assert device.running.version == "1.0"
    assert versions(lab) == ["3.0", "1.0", "1.0"]
    assert lab.boot().version == "3.0"
    assert lab.machine.status().on_trial
    assert lab.machine.healthy().confirmed
    lab.upgrade("4.0")
    assert versions(lab) == ["4.0", "3.0", "1.0"]
    assert names(lab) == ["3.0.img", "4.0.img"]
    history = [entry.what for entry in Journal(lab.state / "cOS").history()]
    assert [what.partition(" ")[0] for what in history].count("booted") == 2
    assert any(what.startswith("active is 4.0 (sha256:") for what in history)


def test_a_version_that_does_not_come_up_is_left_and_remembered(lab: Lab) -> None:
    lab.upgrade("2.0", automatic=True)
    assert [lab.boot().version for _ in range(4)] == ["2.0", "2.0", "2.0", "1.0"]
    assert lab.slot is Slot.PASSIVE
    device = lab.machine.status()
    assert [(failure.version, failure.why) for failure in device.memory.failed] == [("2.0", "boot")]
    with pytest.raises(UpdateRefused):
        lab.upgrade("2.0", automatic=True)
    lab.machine.healthy()
    lab.upgrade("3.0", automatic=True)
    assert versions(lab) == ["3.0", "1.0", "1.0"]
    assert lab.boot().version == "3.0"
    assert lab.machine.healthy().memory.failed == ()


def test_rolled_back_and_cancelled(lab: Lab) -> None:
    lab.upgrade("3.0")
    lab.boot()
    lab.machine.healthy()
    lab.machine.roll_back()
    assert lab.boot().version == "1.0"
    image = image_of(lab.file("4.0"), "4.0")
    device = lab.machine.upgrade(image, Source(lab.file("4.0")), go=False)
    assert device.memory.plan is not None
    assert names(lab) == ["1.0.img", "3.0.img", "4.0.img"]
    lab.machine.cancel()
    assert names(lab) == ["1.0.img", "3.0.img"]
    assert lab.boot().version == "1.0"


def test_a_staged_image_that_rots_is_not_used(lab: Lab) -> None:
    image = image_of(lab.file("3.0"), "3.0")
    lab.machine.upgrade(image, Source(lab.file("3.0")), go=False)
    (staged,) = (lab.state / "cOS/images").glob("*-3.0.img")
    staged.write_bytes(b"x" + NEW[1:])
    lab.boot()
    with pytest.raises(IntegrityError) as caught:
        lab.upgrade("3.0")
    assert caught.value.reason == "verify-failed"
    assert versions(lab) == ["1.0", "1.0", "1.0"]
    assert not staged.exists()
    lab.upgrade("3.0")
    assert lab.boot().version == "3.0"


def test_what_is_refused_changes_nothing(lab: Lab) -> None:
    lab.machine.status()
    before = lab.written(), names(lab)
    wrong = Image("3.0", Digest.of(b"something else"))
    with pytest.raises(IntegrityError):
        lab.machine.upgrade(wrong, Source(lab.file("3.0")))
    with pytest.raises(ConfigError):
        lab.machine.upgrade(replace(wrong, version="../3"), Source(lab.file("3.0")))
    with pytest.raises(UpdateRefused):
        lab.upgrade("3.0", Purpose.RESET)
    with locks.exclusive(lab.state / "cOS/.lock", "it"), pytest.raises(LockHeld):
        lab.upgrade("3.0")
    huge = lab.top / "huge"
    info = os.statvfs(lab.top)
    with huge.open("wb") as out:
        out.truncate(info.f_bavail * info.f_frsize + (1 << 30))
    with pytest.raises(NoSpace):
        lab.machine.upgrade(wrong, Source(huge))
    lab.machine.cancel()
    assert (lab.written(), names(lab)) == before


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema": "treebuild.device-memory/2"}', "[" * 99999])
def test_a_memory_that_cannot_be_read_is_said(lab: Lab, text: str) -> None:
    (lab.state / "cOS/memory.json").write_text(text)
    with pytest.raises(StateCorrupt) as caught:
        lab.upgrade("3.0")
    assert caught.value.reason == "bad-memory"
    assert names(lab) == ["1.0.img"]


def test_slots_that_we_did_not_make_are_said(lab: Lab) -> None:
    link = lab.state / "cOS/active.img"
    for target in ("../../etc/passwd", "images/x.img", "elsewhere/" + os.readlink(link).partition("/")[2]):
        link.unlink()
        link.symlink_to(target)
        (said,) = lab.machine.damage()
        assert target in said
        assert lab.machine.status().active is None
    link.unlink()
    link.write_bytes(b"a plain file")
    assert lab.machine.damage() == (f"{link} is no link to an image",)
    assert lab.machine.status().active is None


def test_a_torn_line_of_history_is_passed_over(lab: Lab) -> None:
    journal = Journal(lab.state / "cOS")
    journal.add("one")
    with (lab.state / "cOS/history.jsonl").open("ab") as out:
        out.write(b'{"at": 1, "wh')
    journal.add("two")
    assert [entry.what for entry in journal.history()] == ["one", "two"]


@pytest.mark.parametrize(
    ("purpose", "slot", "new", "stride"),
    [
        (Purpose.UPGRADE, Slot.ACTIVE, ["3.0", "1.0", "1.0"], 1),
        (Purpose.UPGRADE, Slot.PASSIVE, ["3.0", "1.0", "1.0"], 3),
        (Purpose.RECOVERY, Slot.ACTIVE, ["1.0", "1.0", "3.0"], 3),
        (Purpose.RESET, Slot.RECOVERY, ["3.0", "3.0", "1.0"], 3),
    ],
)
def test_killed_anywhere_something_whole_boots_and_a_rerun_completes(
    lab: Lab, purpose: Purpose, slot: Slot, new: list[str], stride: int
) -> None:
    lab.file("3.0")
    saved = lab.top / "saved"
    shutil.copytree(lab.state, saved / "state", symlinks=True)
    shutil.copytree(lab.recovery, saved / "recovery", symlinks=True)
    booted = set()
    step, ended = -stride, False
    while not ended:
        step += stride
        for name in ("state", "recovery"):
            shutil.rmtree(lab.top / name)
            shutil.copytree(saved / name, lab.top / name, symlinks=True)
        lab.boots = 1
        words = [sys.executable, "-c", _KILLED, str(lab.top), str(step), purpose.value, slot.value]
        done = subprocess.run(words, capture_output=True, check=False)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        booted.add(lab.boot().version)
        if purpose is Purpose.RESET:
            lab.slot = Slot.RECOVERY
        elif purpose is Purpose.RECOVERY:
            lab.slot = Slot.ACTIVE
        lab.upgrade("3.0", purpose)
        assert versions(lab) == new, step
        assert lab.boot().version == new[0]
        lab.machine.healthy()
        assert lab.written().confirmed
        assert lab.written().memory.plan is None
        assert not list(lab.state.rglob("*.part"))
        assert set(names(lab)) <= {"1.0.img", "3.0.img"}
        ended = done.returncode == 0
    assert step > 25
    assert booted == ({"1.0"} if purpose is Purpose.RECOVERY else {"1.0", "3.0"})


def test_installed_over_a_device_it_begins_with_a_fresh_memory(lab: Lab) -> None:
    lab.upgrade("2.0")
    assert [lab.boot().version for _ in range(4)] == ["2.0", "2.0", "2.0", "1.0"]
    lab.machine.upgrade(image_of(lab.file("3.0"), "3.0"), Source(lab.file("3.0")), go=False)
    memory = lab.written().memory
    assert (memory.plan is not None, [failure.version for failure in memory.failed]) == (True, ["2.0"])
    image = image_of(lab.file("2.0"), "2.0"), lab.file("2.0")
    install._write_images({STATE: lab.state, RECOVERY: lab.recovery}, image, image, Silent())
    assert lab.written().memory == Memory()
    assert (names(lab), versions(lab)) == (["2.0.img"], ["2.0", "2.0", "2.0"])
    lab.boots += 1
    lab.slot = Slot.ACTIVE
    assert lab.machine.status().memory == Memory()
    with pytest.raises(UpdateRefused) as refused:
        lab.machine.go_on()
    assert refused.value.reason == "nothing-staged"
