"""The sample system: its packages and its ISO, built once for all tests, and further versions of it.

`TREEBUILD_TEST_FOLDER` names a folder that is kept from one run of the tests to the next.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TOP = Path(__file__).resolve().parent.parent
VALUES = ("--values", "packages/values/demo.yaml")
TREE = ("--tree", "packages", *VALUES)
PACKAGES = ("system/sampleOS", "live/systemd-boot", "live/boot", "live/syslinux", "offline/bundle")


def treebuild(folder: Path, *words: str) -> Any:
    """Runs a verb in the project's folder with a cache and a lock in `folder`."""
    argv = [sys.executable, "-m", "treebuilder", *words, "--cache-dir", str(folder / "cache"), "--quiet", "--json"]
    lock = ["--lock", str(folder / "treebuild.lock")] if words[0] in ("build", "create-repo", "iso") else []
    done = subprocess.run([*argv, *lock], cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def sampleos_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get("TREEBUILD_TEST_FOLDER")
    folder = Path(named) if named else tmp_path_factory.mktemp("sampleos")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def iso(sampleos_folder: Path) -> Path:
    folder = sampleos_folder
    build = str(folder / "build")
    report = treebuild(folder, "build", *TREE, "--destination", build, *PACKAGES)
    assert report["counts"]["failed"] == report["counts"]["skipped"] == 0
    again = treebuild(folder, "build", *TREE, "--destination", build, *PACKAGES)
    assert again["counts"]["built"] == 0
    treebuild(folder, "create-repo", *TREE, "--packages", build, "--output", build, "--name", "sampleOS")
    made = treebuild(folder, "iso", "iso.yaml", "--local", build, "--output", str(folder / "sampleos.iso"))
    return Path(made["images"][0]["path"])


def newer(folder: Path, version: str) -> tuple[Path, Path]:
    """The tree and the packages of a further version of system/sampleOS; what did not change comes from the cache."""
    tree, build = folder / f"packages-{version}", folder / f"build-{version}"
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(TOP / "packages", tree, symlinks=True)
    definition = tree / "system" / "sampleOS" / "definition.yaml"
    text = definition.read_text()
    assert 'version: "0.5.0"' in text
    definition.write_text(text.replace('version: "0.5.0"', f'version: "{version}"'))
    report = treebuild(folder, "build", "--tree", str(tree), *VALUES, "--destination", str(build), "system/sampleOS")
    assert report["counts"]["failed"] == report["counts"]["skipped"] == 0
    return tree, build
