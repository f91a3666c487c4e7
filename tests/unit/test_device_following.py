"""A device that is looked after by itself: what its files name, where it runs, and how far it has come already."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services import program
from tests.unit.device_fleet import Fleet, answer, fleet
from treebuilder.cli.main import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Iterator[Fleet]:
    program("mksquashfs", "squashfs-tools")
    monkeypatch.chdir(tmp_path)
    with fleet(tmp_path) as made:
        made.installed("1.0")
        capsys.readouterr()
        yield made


@pytest.fixture
def signed(device: Fleet, capsys: Capture) -> Fleet:
    """A channel `stable` at 2.0, signed by team.key, which the device trusts and follows."""
    assert main(["key", "new", "team.key", "--quiet"]) == 0
    device.configure(keys=("team.key.pub",))
    device.package("2.0")
    device.publish("2.0", sign="team.key")
    says(device, CHANNEL="stable")
    capsys.readouterr()
    return device


def says(device: Fleet, **values: str) -> None:
    """Writes /etc/cos-upgrade-image."""
    (device.root / "etc/cos-upgrade-image").write_text("".join(f"{key}={value}\n" for key, value in values.items()))


def asked(device: Fleet, capsys: Capture, *words: str) -> dict[str, object]:
    capsys.readouterr()
    assert device.run(*words) == 0
    return answer(capsys.readouterr().out, words[0])


def refused(device: Fleet, capsys: Capture, *words: str) -> str:
    """The reason of a refusal, which leaves the slots as they were."""
    before = device.written()
    capsys.readouterr()
    assert device.run(*words) in (1, 2)
    after = device.written()
    assert [after.active, after.passive, after.recovery] == [before.active, before.passive, before.recovery]
    assert after.pointer == before.pointer
    return str(json.loads(capsys.readouterr().out.strip().splitlines()[-1])["error"]["reason"])


# whose word counts ----------------------------------------------------------------------------------------------------
def test_verify_of_cos_turns_no_signature_off(signed: Fleet, capsys: Capture) -> None:
    (signed.shop.build / "channel-stable.json").unlink()
    signed.publish("2.0")
    says(signed, CHANNEL="stable", VERIFY="false")
    assert refused(signed, capsys, "upgrade") == "unsigned"
    says(signed, CHANNEL="stable", NO_VERIFY="true")
    assert asked(signed, capsys, "upgrade")["state"] == "upgraded"
