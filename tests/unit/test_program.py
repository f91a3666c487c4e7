"""The whole program as one archive, for packages of a tree."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from treebuilder import __version__
from treebuilder.app.program import build_program


def test_the_archive_runs_and_is_the_same_each_time(tmp_path: Path) -> None:
    data = build_program()
    assert data == build_program()
    program = tmp_path / "treebuild.pyz"
    program.write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-I", program, "--version"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (0, f"treebuild {__version__}\n")


def test_every_module_is_inside(tmp_path: Path) -> None:
    program = tmp_path / "treebuild.pyz"
    program.write_bytes(build_program())
    names = set(zipfile.ZipFile(program).namelist())
    assert {"__main__.py", "treebuilder/cli/main.py"} < names
    package = Path(__file__).parents[2] / "treebuilder"
    assert {f"treebuilder/{path.relative_to(package)}" for path in package.rglob("*.py")} < names
