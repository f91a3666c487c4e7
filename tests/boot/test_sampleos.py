"""The ISO of the tree, booted every way it promises. `TREEBUILD_TEST_ISO` names it (`make demo` makes it)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import pytest

from treebuilder.events import Recorder
from treebuilder.system.process import Cancel
from treebuilder.vm import BootRequest, boot

ISO = os.environ.get("TREEBUILD_TEST_ISO", "")
pytestmark = [pytest.mark.vm, pytest.mark.skipif(not ISO, reason="TREEBUILD_TEST_ISO names no ISO")]


@pytest.mark.timeout(700)
@pytest.mark.parametrize("as_disk", [False, True], ids=["cd", "usb"])
@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_it_boots_lets_root_in_and_tells_fortunes(firmware: Literal["bios", "uefi"], as_disk: bool) -> None:
    wishes = BootRequest(
        Path(ISO), firmware, as_disk, login=("root", "sampleos", "root@sampleos"), http=(8090, "/fortuneteller"),
        timeout_s=600,
    )  # fmt: skip
    report = boot(wishes, events=Recorder(), cancel=Cancel())
    assert report.http_status == 200
    assert "(__)" in report.http_body
    assert report.seconds_to_login is not None
