"""A reset in recovery mends a device: it needs nothing that may be damaged; elsewhere nothing is given up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.device_fleet import Capture, Fleet, answer, device
from treebuilder.device.states import Slot

__all__ = ["device"]  # a fixture


def _file(folder: Path) -> None:
    (folder / "active.img").unlink()
    (folder / "active.img").write_bytes(b"an image that somebody copied here")


def _elsewhere(folder: Path) -> None:
    (folder / "passive.img").unlink()
    (folder / "passive.img").symlink_to("/dev/null")


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "memory.json").write_text('{"schema": '),
        lambda folder: (folder / "boot.env").write_bytes(b"# GRUB Environment"),
        _file,
        _elsewhere,
    ],
)  # fmt: skip
def test_what_is_damaged_stops_no_reset(device: Fleet, capsys: Capture, damage: Callable[[Path], object]) -> None:
    damage(device.state / "cOS")
    assert device.run("reset") == 2, "it runs from active"
    device.slot, device.boots = Slot.RECOVERY, device.boots + 1
    capsys.readouterr()
    assert device.run("rollback") == 2
    assert json.loads(capsys.readouterr().out)["error"]["reason"] in ("bad-memory", "bad-grubenv", "bad-slot")
    assert device.run("reset") == 0
    out, err = capsys.readouterr()
    assert answer(out, "reset")["state"] == "reset"
    assert "begins anew" in err
    assert device.versions() == ["1.0", "1.0", "1.0"]
    assert (device.boot(), device.slot) == ("1.0", Slot.ACTIVE)
    assert device.run("confirm") == 0
