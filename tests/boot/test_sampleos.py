"""The whole job with real parts: the tree becomes an ISO (tests/isos.py), booted every way it promises."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from treebuilder.events import Recorder
from treebuilder.system.process import Cancel
from treebuilder.vm import BootRequest, boot

pytestmark = [pytest.mark.vm, pytest.mark.engine, pytest.mark.network]


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("as_disk", [False, True], ids=["cd", "usb"])
@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_it_boots_lets_root_in_and_tells_fortunes(iso: Path, firmware: Literal["bios", "uefi"], as_disk: bool) -> None:
    wishes = BootRequest(
        iso, firmware, as_disk, login=("root", "sampleos", "root@sampleos"), http=(8090, "/fortuneteller"),
        timeout_s=600,
    )  # fmt: skip
    report = boot(wishes, events=Recorder(), cancel=Cancel())
    assert report.http_status == 200
    assert "||-----w |" in report.http_body  # the cow stands
    assert report.seconds_to_login is not None
