"""What is damaged outside the version that runs: it is told, and keeps nobody from confirming, looking or upgrading."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.unit.device_fleet import Capture, Fleet, answer, asked, device, lay
from tests.unit.device_parts import Lab
from treebuilder.app.device import DeviceOptions, Site, opened
from treebuilder.app.device_health import confirm, past_deadline, status
from treebuilder.device import here, writing
from treebuilder.device.places import PERSISTENT, RECOVERY, STATE
from treebuilder.device.slots import LINKS, Source
from treebuilder.device.states import Image, Purpose, Slot
from treebuilder.device.upgrade import Started
from treebuilder.errors import NoSpace, StateCorrupt, TreebuildError
from treebuilder.events import EventSink, Recorder, Warned
from treebuilder.model.digest import Digest
from treebuilder.system.process import Cancel

__all__ = ["device"]  # a fixture


# links that are none --------------------------------------------------------------------------------------------------
def _file(link: Path) -> None:
    link.write_bytes(b"an image that somebody copied here")


def _folder(link: Path) -> None:
    (link / "lost").mkdir(parents=True)


def _elsewhere(link: Path) -> None:
    link.symlink_to("/dev/null")


def _link(device: Fleet, slot: Slot) -> Path:
    return (device.recovery if slot is Slot.RECOVERY else device.state) / "cOS" / LINKS[slot]


@pytest.mark.parametrize("slot", [Slot.PASSIVE, Slot.RECOVERY])
@pytest.mark.parametrize("damage", [_file, _folder, _elsewhere])
def test_a_good_version_is_confirmed_and_upgraded_whatever_another_slot_is(
    device: Fleet, capsys: Capture, slot: Slot, damage: Callable[[Path], object]
) -> None:
    assert device.run("upgrade", str(lay(device.top / "new", "2.0"))) == 0
    assert (device.boot(), device.slot) == ("2.0", Slot.ACTIVE)
    link = _link(device, slot)
    link.unlink()
    damage(link)
    capsys.readouterr()
    assert device.run("confirm") == 0
    out, err = capsys.readouterr()
    assert (answer(out, "confirm")["state"], LINKS[slot] in err) == ("confirmed", True)
    assert device.run("status") == 0
    out, err = capsys.readouterr()
    assert (answer(out, "status")["slots"][slot.value], LINKS[slot] in err) == (None, True)
    assert device.run("confirm", "--deadline") == 0
    more = ("--recovery-slot",) if slot is Slot.RECOVERY else ()
    assert device.run("upgrade", str(lay(device.top / "newer", "3.0")), *more) == 0
    assert link.is_symlink(), "set right by the first who writes it"
    assert device.boot() == ("2.0" if more else "3.0")


@pytest.mark.parametrize("damage", [_file, _folder, _elsewhere])
@pytest.mark.parametrize("seen", [True, False])
def test_an_active_that_is_no_link_any_more_stops_nobody(
    device: Fleet, capsys: Capture, damage: Callable[[Path], object], seen: bool
) -> None:
    if seen:  # this boot was looked at before
        assert device.run("status") == 0
    else:
        device.boots += 1
    link = _link(device, Slot.ACTIVE)
    link.unlink()
    damage(link)
    assert asked(device, capsys, "confirm")["state"] == "healthy"
    assert asked(device, capsys, "confirm", "--deadline")["state"] == "healthy"
    assert asked(device, capsys, "upgrade", str(lay(device.top / "newer", "3.0")))["state"] == "upgraded"
    assert device.versions()[:2] == ["3.0", "1.0"]
    assert (device.boot(), device.slot) == ("3.0", Slot.ACTIVE)
    assert asked(device, capsys, "confirm")["state"] == "confirmed"


def test_a_folder_of_checks_that_cannot_be_read_is_told(device: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.iterdir

    def iterdir(self: Path) -> Iterator[Path]:
        if self.name == "health.d":
            raise OSError(5, "Input/output error")
        return real(self)

    (device.root / "oem/health.d").mkdir(parents=True)
    monkeypatch.setattr(Path, "iterdir", iterdir)
    assert device.run("confirm") == 0


# partitions that are gone ---------------------------------------------------------------------------------------------
class Disk:
    """A machine whose partitions are folders, or are not there."""

    def __init__(self, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lab, self.slot, self.faults = Lab(top), Slot.ACTIVE, dict[str, Exception]()
        self.lab.install()
        self.events = Recorder()
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(here, "started", lambda kernel: Started(f"boot-{self.lab.boots}", self.slot))
        monkeypatch.setattr(here, "partition", lambda kernel, label: None)
        monkeypatch.setattr(writing, "writable", self._writable)
        monkeypatch.setattr(writing, "run_folder", lambda: str(top / "run"))
        (top / "run").mkdir()
        monkeypatch.setattr(writing, "rest", lambda folder: Path(folder).iterdir())

    @contextmanager
    def _writable(self, kernel: here.Kernel, label: str, events: EventSink) -> Iterator[Path]:
        if label in self.faults:
            raise self.faults[label]
        yield {STATE: self.lab.state, RECOVERY: self.lab.recovery}[label]

    @contextmanager
    def opened(self) -> Iterator[Site]:
        self.events = Recorder()
        work = self.lab.state / "cOS"
        options = DeviceOptions(root=self.lab.top / "root", boot=f"boot-{self.lab.boots}")
        with opened(options, self.events, Cancel()) as site:
            assert site.work == work
            yield site

    def boot(self) -> str:
        """Through the boot block of a device."""
        return self.lab.boot().version

    @property
    def warnings(self) -> str:
        return "\n".join(event.message for event in self.events.events if isinstance(event, Warned))


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    monkeypatch.setattr("treebuilder.app.device.BOOT_BLOCK", "grubenv")
    return Disk(tmp_path, monkeypatch)


FAULTS = [
    StateCorrupt("the partition COS_RECOVERY cannot be found", reason="no-partition"),
    TreebuildError("/run/x cannot be mounted for writing: Structure needs cleaning", reason="mount"),
    TreebuildError("/run/x cannot be mounted for writing: Permission denied", reason="permission"),
    OSError(117, "Structure needs cleaning"),
]


@pytest.mark.parametrize("fault", FAULTS)
def test_without_recovery_a_version_is_confirmed_and_upgraded(disk: Disk, fault: Exception) -> None:
    disk.lab.upgrade("3.0")
    assert disk.boot() == "3.0"
    disk.faults[RECOVERY], before = fault, (disk.lab.recovery / "state.yaml").read_bytes()
    with disk.opened() as site:
        found = confirm(site, 5)
        assert (found.state, found.again) == ("confirmed", False)
        assert past_deadline(site).good
    assert RECOVERY in disk.warnings
    assert PERSISTENT in disk.warnings
    with disk.opened() as site:
        assert status(site).device.recovery is None
        image = Image("4.0", Digest.of(disk.lab.file("4.0").read_bytes()))
        assert site.machine.room(Purpose.UPGRADE) > 0
        for ask in (
            lambda: site.machine.room(Purpose.RECOVERY),
            lambda: site.machine.upgrade(image, Source(disk.lab.file("4.0")), Purpose.RECOVERY),
        ):
            with pytest.raises(StateCorrupt) as caught:
                ask()
            assert (caught.value.reason, RECOVERY in caught.value.message) == ("no-partition", True)
        site.machine.upgrade(image, Source(disk.lab.file("4.0")))
    assert (disk.lab.recovery / "state.yaml").read_bytes() == before
    assert disk.boot() == "4.0"
    disk.faults.clear()
    with disk.opened() as site:
        assert confirm(site, 5).state == "confirmed"
        assert status(site).device.recovery is not None


def test_who_runs_from_recovery_needs_it(disk: Disk) -> None:
    disk.faults[RECOVERY], disk.slot = FAULTS[1], Slot.RECOVERY
    with pytest.raises(TreebuildError), disk.opened():
        pass


# the deadline ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("good", [True, False])
def test_the_deadline_is_off_as_soon_as_the_verdict_is_good(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, good: bool
) -> None:
    """Whatever goes wrong behind it: nothing of that is a reason to start the machine anew."""
    root = disk.lab.top / "root"
    for path, text in (
        ("etc/treebuild/health.d/10-check", f"exit {0 if good else 1}"),
        ("usr/lib/cos/deadline-off", f"echo > {root}/off"),
    ):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f"#!/bin/sh\n{text}\n")
        (root / path).chmod(0o755)
    disk.lab.upgrade("3.0")
    assert disk.boot() == "3.0"

    def full(site: Site, device: object) -> int:
        raise NoSpace("no space left")

    monkeypatch.setattr("treebuilder.app.device_health.report", full)
    with disk.opened() as site, pytest.raises(NoSpace):
        confirm(site, 5)
    assert (root / "off").exists() is good
