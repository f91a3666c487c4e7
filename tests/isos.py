"""The sample system's ISO: `TREEBUILD_TEST_ISO` names one that is there (`make demo` makes one), else built once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TOP = Path(__file__).resolve().parent.parent
PACKAGES = ("system/sampleOS", "live/systemd-boot", "live/boot", "live/syslinux", "offline/bundle")


def treebuild(folder: Path, *words: str) -> Any:
    """Runs a verb in the project's folder with a cache and a lock in `folder`."""
    argv = [sys.executable, "-m", "treebuilder", *words, "--cache-dir", str(folder / "cache"), "--quiet", "--json"]
    lock = ["--lock", str(folder / "treebuild.lock")]
    done = subprocess.run([*argv, *lock], cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def sampleos_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sampleos")


@pytest.fixture(scope="session")
def iso(sampleos_folder: Path) -> Path:
    named = os.environ.get("TREEBUILD_TEST_ISO")
    if named:
        return Path(named)
    folder = sampleos_folder
    build = str(folder / "build")
    report = treebuild(folder, "build", "--tree", "packages", "--destination", build, *PACKAGES)
    assert report["counts"]["failed"] == report["counts"]["skipped"] == 0
    again = treebuild(folder, "build", "--tree", "packages", "--destination", build, *PACKAGES)
    assert again["counts"]["built"] == 0
    treebuild(folder, "create-repo", "--tree", "packages", "--packages", build, "--output", build, "--name", "sampleOS")
    made = treebuild(folder, "iso", "iso.yaml", "--local", build, "--output", str(folder / "sampleos.iso"))
    return Path(made["images"][0]["path"])
