"""The whole job with real parts: the tree becomes an ISO, booted every way it promises.

`TREEBUILD_TEST_ISO` names an ISO that is there already (`make demo` makes one); otherwise it is built here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest

from treebuilder.events import Recorder
from treebuilder.system.process import Cancel
from treebuilder.vm import BootRequest, boot

TOP = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("system/sampleOS", "live/systemd-boot", "live/boot", "live/syslinux", "offline/bundle")
pytestmark = [pytest.mark.vm, pytest.mark.engine, pytest.mark.network]


def treebuild(folder: Path, *words: str) -> Any:
    """Runs a verb in the project's folder with a cache and a lock in `folder`."""
    argv = [sys.executable, "-m", "treebuilder", *words, "--cache-dir", str(folder / "cache"), "--quiet", "--json"]
    lock = ["--lock", str(folder / "treebuild.lock")]
    done = subprocess.run([*argv, *lock], cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sampleos")


@pytest.fixture(scope="module")
def iso(folder: Path) -> Path:
    named = os.environ.get("TREEBUILD_TEST_ISO")
    if named:
        return Path(named)
    build = str(folder / "build")
    report = treebuild(folder, "build", "--tree", "packages", "--destination", build, *PACKAGES)
    assert report["counts"]["failed"] == report["counts"]["skipped"] == 0
    again = treebuild(folder, "build", "--tree", "packages", "--destination", build, *PACKAGES)
    assert again["counts"]["built"] == 0
    treebuild(folder, "create-repo", "--tree", "packages", "--packages", build, "--output", build, "--name", "sampleOS")
    made = treebuild(folder, "iso", "iso.yaml", "--local", build, "--output", str(folder / "sampleos.iso"))
    return Path(made["images"][0]["path"])


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
