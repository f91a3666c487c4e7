"""A root and operations on it, for tests of the client."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.services import need, privately
from tests.unit.repository_parts import Workshop, ref, workshop
from treebuilder.client import Change, ChangeReport, Client, InstallRequest, Manner, SystemDatabase, SystemRoot
from treebuilder.client import operations as ops
from treebuilder.client.uninstall import UninstallRequest, uninstall
from treebuilder.repository import RepositoryPackages
from treebuilder.system.process import Cancel

PLACE = "var/lib/treebuild"


def listing(root: Path) -> dict[str, bytes | str | None]:
    """Everything in a root: bytes of files, targets of links, None for folders; without the database."""
    found: dict[str, bytes | str | None] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if not name.startswith(PLACE) and name not in ("var", "var/lib"):
            found[name] = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
    return found


def owners(root: Path) -> dict[str, tuple[int, int, int]]:
    """Mode, user and group of everything in a root that `listing` lists."""
    found = {name: (root / name).lstat() for name in listing(root)}
    return {name: (info.st_mode, info.st_uid, info.st_gid) for name, info in found.items()}


@dataclass
class System:
    shop: Workshop
    root: Path

    def run(
        self, operation: str, plan: Callable[[RepositoryPackages, SystemDatabase], Change], manner: Manner | None = None
    ) -> ChangeReport:
        packages = self.shop.packages()
        client = Client(self.shop.events, Cancel())
        return client.run(
            operation, SystemRoot(self.root), lambda database: plan(packages, database), manner or Manner()
        )

    def install(self, *words: str, manner: Manner | None = None, force: bool = False, **more: Any) -> ChangeReport:
        request = InstallRequest(tuple(map(ref, words)), **more)
        return self.run("install", lambda p, d: ops.install(request, p, d, force=force), manner)

    def uninstall(self, *words: str, manner: Manner | None = None, **more: Any) -> ChangeReport:
        request = UninstallRequest(tuple(map(ref, words)), **more)
        return self.run("uninstall", lambda _, d: uninstall(request, d), manner)

    def upgrade(self, manner: Manner | None = None, **more: Any) -> ChangeReport:
        return self.run("upgrade", lambda p, d: ops.upgrade(ops.UpgradeRequest(**more), p, d, self.root), manner)

    def database(self) -> SystemDatabase:
        return SystemDatabase(self.root / PLACE / "system.db")

    def installed(self) -> list[str]:
        found = self.database()
        try:
            return [str(package.id) for package in found.packages()]
        finally:
            found.close()

    def listing(self) -> dict[str, bytes | str | None]:
        return listing(self.root)


def came(report: ChangeReport) -> list[str]:
    return [str(id) for id, _, _ in report.installed]


def went(report: ChangeReport) -> list[str]:
    return [str(id) for id in report.removed]


def first(shop: Workshop) -> None:
    """Two packages, one of which needs the other."""
    linked = {"v": None, "v/f": b"1", "cur": "v"}
    shop.package("t/a", {"usr": None, "usr/a": b"1", "usr/gone": b"1", "x": b"file", **linked})
    shop.package("t/b", {"usr": None, "usr/b": b"1", "usr/l": "b", "etc": None, "etc/b": b"1"}, requires=("t/a",))


def second(shop: Workshop) -> None:
    """The next versions: files are other ones, gone, new, and folders."""
    plain = {"cur": None, "cur/f": b"2"}
    shop.package("t/a", {"usr": None, "usr/a": b"2", "x": None, "x/y": b"now a folder", **plain}, version="2.0")
    shop.package(
        "t/b", {"usr": None, "usr/b": b"2", "usr/l": "a", "new": None, "new/b": b"2"}, version="2.0", requires=("t/a",)
    )


def in_private_mounts(
    shop: Workshop, mount: str, code: str, *, replaced: bool = True
) -> subprocess.CompletedProcess[str]:
    """Runs Python with the root on a file system of its own; in place of the shell, or below it."""
    need(os.geteuid() == 0, "mounts need root")
    head = (
        "import os, sys\nfrom pathlib import Path\nfrom tests.unit.repository_parts import workshop\n"
        "from tests.unit.system_parts import System\nfrom treebuilder.errors import *\n"
        f"top = Path({str(shop.top)!r})\n"
    )
    script = f'{mount} && {"exec " if replaced else ""}"$0" -c "$1"'
    return subprocess.run(privately(script, sys.executable, head + code), capture_output=True, text=True, check=False)


def box() -> dict[str, str | bytes | None]:
    """What finalizers need to run in a root."""
    return {"bin": None, "bin/busybox": Path("/bin/busybox").read_bytes(), "bin/sh": "busybox"}


# fixtures, for who names them -----------------------------------------------------------------------------------------
@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    with workshop(tmp_path) as made:
        yield made


@pytest.fixture
def system(shop: Workshop) -> System:
    """A root that is in use: somebody has a file in it."""
    root = shop.top / "root"
    root.mkdir()
    (root / "mine").write_bytes(b"m")
    return System(shop, root)
