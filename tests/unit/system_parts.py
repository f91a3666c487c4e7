"""A root and operations on it, for tests of the client."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.unit.repository_parts import Workshop, ref, workshop
from treebuilder.client import Change, ChangeReport, Client, InstallRequest, Manner, SystemDatabase, SystemRoot
from treebuilder.client import operations as ops
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
        request = ops.UninstallRequest(tuple(map(ref, words)), **more)
        return self.run("uninstall", lambda _, d: ops.uninstall(request, d), manner)

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
