"""Ordinary users for tests: made by root, with a range of ids or without, and gone afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import treebuilder
from tests.services import need, program

_REQUIRED = "import yaml, jinja2, pysat, zstandard"


@dataclass(frozen=True, slots=True)
class User:
    """A user of this machine. `home` is a folder that everybody may read; `packages` is where Python finds us."""

    name: str
    home: Path
    python: str
    packages: str

    def treebuild(
        self, *words: str, folder: Path, flags: tuple[str, ...] = (), **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs us as this user, as a process of its own. `flags` are Python's."""
        return self.run(self.python, *flags, "-m", "treebuilder", *words, folder=folder, **env)

    def run(self, *words: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
        """Runs a program as this user."""
        own = {
            "HOME": str(self.home), "PATH": os.environ["PATH"], "PYTHONPATH": self.packages, "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1", **env,
        }  # fmt: skip
        argv = [program("runuser", "util-linux"), "-u", self.name, "--", *words]
        return subprocess.run(argv, cwd=folder, env=own, capture_output=True, text=True, check=False)


@contextmanager
def ordinary_user(*, ids: bool) -> Iterator[User]:
    """A new user; with `ids` it has five million sub-ids, else none. Needs root."""
    need(os.geteuid() == 0, "only root makes users")
    done = subprocess.run([program("unshare", "util-linux"), "--user", "true"], capture_output=True, check=False)
    need(done.returncode == 0, "the kernel makes no user namespaces here, as in a chroot")
    name = f"tbtest{os.getpid()}{'i' if ids else 'n'}"
    home = Path(tempfile.mkdtemp(prefix="treebuild-user-"))
    home.chmod(0o755)
    ours = Path(treebuilder.__file__).parent
    for folder in (ours, Path(__file__).parent):
        shutil.copytree(folder, home / "lib" / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ours.parent / "pyproject.toml", home / "lib")
    subprocess.run([program("useradd", "passwd"), "-M", "-d", home, name], check=True, capture_output=True)
    try:
        _give_ids(name, ids=ids)
        python, packages = _python(name, home)
        shutil.chown(home, name, name)
        yield User(name, home, python, f"{home}/lib:{packages}")
    finally:
        subprocess.run([program("userdel", "passwd"), name], check=True, capture_output=True)
        shutil.rmtree(home, ignore_errors=True)


def _give_ids(name: str, *, ids: bool) -> None:
    """useradd gives ranges or not, as the machine is configured."""
    for kind in ("subuid", "subgid"):
        path = Path(f"/etc/{kind}")
        lines = path.read_text().splitlines() if path.exists() else []
        for line in lines:
            owner, first, count = line.split(":")
            if owner == name:
                span = f"{first}-{int(first) + int(count) - 1}"
                subprocess.run(["usermod", f"--del-{kind}s", span, name], check=True, capture_output=True)
        if ids:
            subprocess.run(
                ["usermod", f"--add-{kind}s", "1000000000-1004999999", name], check=True, capture_output=True
            )


def _python(name: str, home: Path) -> tuple[str, str]:
    """An interpreter of our version that the user may run, and the folder of what we require."""
    import yaml

    packages = Path(yaml.__file__).parent.parent
    minor = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for folder in (packages, home / "packages"):
        if folder != packages:  # the user may not look into ours, in root's home say: a copy
            shutil.copytree(packages, folder, ignore=shutil.ignore_patterns("__pycache__", "mypy*", "ruff*"))
        for python in (sys.executable, f"/usr/bin/{minor}", f"/usr/local/bin/{minor}"):
            words = [program("runuser", "util-linux"), "-u", name, "--", python, "-c", _REQUIRED]
            done = subprocess.run(words, cwd=home, env={"PYTHONPATH": str(folder)}, capture_output=True, check=False)
            if done.returncode == 0:
                return python, str(folder)
    need(False, f"an ordinary user can run no {minor} with our requirements")
    raise AssertionError
