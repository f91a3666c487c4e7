"""What is installed where, as values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from treebuilder.errors import TreebuildError
from treebuilder.model.digest import Digest
from treebuilder.model.package import Finalizer, Package, PackageId, PackageRef
from treebuilder.records import record
from treebuilder.repository import Artifact, SyncedRepository

SCHEMA = "treebuild.install/1"
DATABASE_NAME = "system.db"


class FinalizerFailed(TreebuildError):
    """Packages are installed, and what should have run after them failed. `tail` are its last lines."""

    reason = "finalizer-failed"

    def __init__(self, message: str, *, tail: tuple[str, ...] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.tail = tail

    def detail(self) -> tuple[str, ...]:
        return self.tail


@record
class SystemRoot:
    """A root and where inside it the database lies (a folder, absolute as the system sees it).

    `record` False leaves no trace of what was installed.
    """

    folder: Path
    database_path: str = "/var/lib/treebuild"
    record: bool = True


@record
class InstallRequest:
    """`nodeps` installs exactly what is named. `epoch_s` is handed to finalizers as SOURCE_DATE_EPOCH; 0 for none."""

    wanted: tuple[PackageRef, ...]
    nodeps: bool = False
    epoch_s: int = 0


@record
class Planned:
    """One package to install, and where it comes from."""

    package: Package
    repository: SyncedRepository
    artifact: Artifact
    finalizer: Finalizer | None


@record
class Record:
    """An installed package: its entries as (path, kind), kinds as in `archive.entry`, in archive order."""

    package: Package
    repository: str
    sha256: Digest
    build_time: str
    entries: tuple[tuple[str, str], ...]


@record
class InstallReport:
    """What an installation came to: new packages in the order of installation, with counts of their files."""

    installed: tuple[tuple[PackageId, str, int], ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "installed": [
                {"category": id.category, "name": id.name, "version": id.version, "repository": where, "files": files}
                for id, where, files in self.installed
            ],
        }
