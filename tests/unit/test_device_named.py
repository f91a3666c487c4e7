"""What is said beside a source, or without one, counts or is refused; it is not passed over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.device_fleet import Capture, Fleet, asked, device, lay, says
from treebuilder.app import client_settings, device_install
from treebuilder.app.cloudlint import lint
from treebuilder.app.device_install import InstallWish
from treebuilder.app.device_sources import Context
from treebuilder.device.states import Slot
from treebuilder.events import Silent
from treebuilder.system.process import Cancel

__all__ = ["device"]  # a fixture


def reason(device: Fleet, capsys: Capture, *words: str) -> str:
    capsys.readouterr()
    assert device.run(*words) == 1
    return str(json.loads(capsys.readouterr().out.strip().splitlines()[-1])["error"]["reason"])


def test_who_says_what_the_source_is_does_not_mean_the_channel(device: Fleet, capsys: Capture) -> None:
    device.package("2.0")
    device.publish("2.0")
    folder = lay(device.top / "new", "5.0")
    says(device, CHANNEL="stable", UPGRADE_IMAGE=str(folder))
    assert asked(device, capsys, "check")["version"] == "2.0"
    assert asked(device, capsys, "check", "--as", "directory")["version"] == "5.0"  # --directory of cos-upgrade
    assert reason(device, capsys, "check", "--as", "directory", "--channel", "stable") == "usage"


def test_a_reset_to_a_version_of_what_the_file_names(device: Fleet, capsys: Capture) -> None:
    device.package("1.5")
    device.package("2.0")
    device.slot, device.boots = Slot.RECOVERY, device.boots + 1
    assert reason(device, capsys, "reset", "--version", "1.5") == "no-source"
    says(device, UPGRADE_IMAGE="system/os")
    assert asked(device, capsys, "reset", "--version", "1.5")["version"] == "1.5"
    assert device.versions() == ["1.5", "1.5", "1.0"]
    assert asked(device, capsys, "reset")["version"] == "1.0"


@pytest.mark.parametrize(
    "words",
    [
        ("reset", "--recovery-slot"), ("apply", "--channel", "stable"), ("upgrade", "--wipe-persistent"),
        ("stage", "--wipe-oem"), ("status", "--deadline"),
    ],
)  # fmt: skip
def test_flags_of_another_command(device: Fleet, capsys: Capture, words: tuple[str, ...]) -> None:
    assert reason(device, capsys, *words) == "usage"


@pytest.mark.parametrize(("words", "version"), [(("system/os", "1.5"), "1.5"), (("system/os", ""), "2.0")])
def test_the_version_of_a_package_that_is_installed_to_a_disk(
    device: Fleet, words: tuple[str, str], version: str
) -> None:
    device.package("1.5")
    device.package("2.0")
    settings = client_settings.load(str(device.top / "luet.yaml"), {}, Silent(), luet=False)
    folder = device.top / "work"
    folder.mkdir()
    context = Context(settings, Silent(), Cancel())
    found = device_install._obtained(InstallWish("/dev/none", *words), context, folder)
    assert found.version == version
    assert found.path.is_file()


def test_a_step_to_run_after_one_that_is_not_there_has_its_own_line(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "stages:\n  boot:\n  - name: one\n    commands:\n    - a\n    after:\n    - name: none\n"
    )
    _, found = lint([str(tmp_path / "a.yaml")])
    assert [(each.rule, each.line) for each in found] == [("after", 7)]


def test_what_is_wrong_with_a_file_is_said_once(device: Fleet, capsys: Capture) -> None:
    says(device, UPGRADE_IMAGE=str(device.top / "first-1.0"), WHAT="ever")
    capsys.readouterr()
    assert device.run("upgrade") == 0
    assert capsys.readouterr().err.count("nobody knows WHAT") == 1
