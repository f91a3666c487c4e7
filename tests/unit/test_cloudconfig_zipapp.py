"""`yip.pyz`: the same bytes each time, and nothing needed but Python and PyYAML."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import yaml

from treebuilder.cloudconfig.zipapp import build_zipapp

# The site's folder holds more than PyYAML, so only that is let in: a finder in front refuses everything else there.
_ISOLATED = """
import sys
class OnlyYaml:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("jinja2", "pysat", "docker", "oras", "requests", "zstandard", "markupsafe"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, OnlyYaml())
sys.path.append(sys.argv.pop(1))
import runpy
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_the_same_bytes_each_time() -> None:
    first = build_zipapp()
    assert first == build_zipapp()
    assert first.startswith(b"#!/usr/bin/env python3\nPK")
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        names = archive.namelist()
        assert archive.testzip() is None
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert names == sorted(names)
    assert {"__main__.py", "treebuilder/cloudconfig/command.py", "treebuilder/template/engine.py"} <= set(names)


def run(app: Path, cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    site = str(Path(yaml.__file__).parent.parent)
    argv = [sys.executable, "-I", "-S", "-B", "-c", _ISOLATED, site, str(app), *words]
    env = {"PATH": os.environ["PATH"]}
    return subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, check=False)


def test_it_runs_alone(tmp_path: Path) -> None:
    app = tmp_path / "yip.pyz"
    app.write_bytes(build_zipapp())
    root = tmp_path / "root"
    oem = tmp_path / "oem"
    root.mkdir()
    oem.mkdir()
    (oem / "x.yaml").write_text("stages: {boot: [{hostname: box, files: [{path: /f, content: '{{ .Values.node }}'}]}]}")
    done = run(app, tmp_path, "--root", str(root), "-s", "boot", str(oem))
    assert done.returncode == 0, done.stderr
    assert (root / "etc/hostname").read_text() == "box\n"
    assert (root / "f").read_text() == "{{ .Values.node }}"  # no jinja2: kept as it stands, and said
    assert "templates need jinja2" in done.stderr


def test_it_is_a_program_of_its_own(tmp_path: Path) -> None:
    app = tmp_path / "yip.pyz"
    app.write_bytes(build_zipapp())
    done = run(app, tmp_path, "--version")
    assert done.returncode == 0
    assert done.stdout.startswith("yip ")
    assert run(app, tmp_path, "nofile").returncode == 1
