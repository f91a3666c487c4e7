"""What is installed where, as values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING, Any
from treebuilder.errors import TreebuildError
from treebuilder.model.digest import Digest
from treebuilder.model.package import Finalizer, Package, PackageId, PackageRef
from treebuilder.records import record, replace

if TYPE_CHECKING:
    from treebuilder.repository import Artifact, SyncedRepository

DATABASE_NAME = "system.db"


class AfterChange(TreebuildError):
    """A change is done, and what should have run for it, or for an earlier one, has not. `report` is of the change.

    Of several that failed `failures` has each.
    """

    report: ChangeReport | None = None
    failures: tuple[AfterChange, ...] = ()

    def document(self) -> Mapping[str, object]:
        return self.report.to_json() if self.report is not None else {}


class FinalizerWaits(AfterChange):
    """What should run cannot be started now: the next change tries again."""

    reason = "finalizer-waits"


class FinalizerFailed(AfterChange):
    """What should run failed. `tail` are its last lines; of several that failed, what is said of each."""

    reason = "finalizer-failed"

    def __init__(self, message: str, *, tail: tuple[str, ...] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.tail = tail

    def detail(self) -> tuple[str, ...]:
        return self.tail


class NotConfirmed(TreebuildError):
    """Somebody was asked and did not say yes."""

    reason = "not-confirmed"


@record
class SystemRoot:
    """A root and where inside it the database lies (a folder, absolute as the system sees it).

    `record` False leaves no trace of what was installed. Without `same_owner` all files belong to whoever installs.
    `cache` is where in the root packages are kept, through no links; empty where that is elsewhere.
    """

    folder: Path
    database_path: str = "/var/lib/treebuild"
    record: bool = True
    same_owner: bool = True
    cache: str = ""


@record
class InstallRequest:
    """`nodeps` installs exactly what is named. `epoch_s` is handed to finalizers as SOURCE_DATE_EPOCH; 0 for none.

    `onlydeps` leaves out what is named; what it requires is what somebody asked for then.
    """

    wanted: tuple[PackageRef, ...]
    nodeps: bool = False
    epoch_s: int = 0
    onlydeps: bool = False


@record
class Planned:
    """One package to install, and where it comes from. `requested`: somebody named it."""

    package: Package
    repository: SyncedRepository
    artifact: Artifact
    finalizer: Finalizer | None
    requested: bool = True


@record
class Record:
    """An installed package: its entries as (path, kind), kinds as in `archive.entry`, in archive order.

    `sha256` is None for what was taken over from elsewhere. `finalizer` is kept when it has something to uninstall.
    """

    package: Package
    repository: str
    sha256: Digest | None
    build_time: str
    entries: tuple[tuple[str, str], ...]
    requested: bool = True
    finalizer: Finalizer | None = None


@record
class Change:
    """What a transaction does: packages go, packages come, and `adopt` are recorded as they already lie there.

    `force`: a file may be in two packages, with a warning; `over` are new ones that may have one of an installed one.
    `keep_protected`: protected files of what goes stay.
    """

    remove: tuple[Record, ...] = ()
    add: tuple[Planned, ...] = ()
    adopt: tuple[Record, ...] = ()
    force: bool = False
    keep_protected: bool = True
    over: frozenset[PackageId] = frozenset()

    def over_installed(self) -> Change:
        """The same, where what comes may have files of what is installed: luet looks among new packages only."""
        return replace(self, over=frozenset(item.package.id for item in self.add))

    def __bool__(self) -> bool:
        return bool(self.remove or self.add or self.adopt)


@record
class ChangeReport:
    """What a change came to, or, with `dry_run`, would come to.

    `installed` with repository and count of files, in the order of installation; `removed` sorted. A name in both was
    exchanged. `adopted` were recorded as they lie there. `diverted` are new forms of protected files. `fetched_bytes`
    came for it from repositories: of archives, and of patches that stand for them.
    """

    operation: str
    installed: tuple[tuple[PackageId, str, int], ...] = ()
    removed: tuple[PackageId, ...] = ()
    adopted: tuple[tuple[PackageId, str, int], ...] = ()
    diverted: tuple[str, ...] = ()
    fetched_bytes: int = 0
    state: str = "done"  # nothing, planned, downloaded, done

    @property
    def exchanged(self) -> tuple[tuple[PackageId, PackageId], ...]:
        """Old and new, by name."""
        old = {id.pkgname: id for id in self.removed}
        return tuple((old[id.pkgname], id) for id, _, _ in self.installed if id.pkgname in old)

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": f"treebuild.{self.operation}/1",
            "state": self.state,
            "installed": [_came(*item) for item in self.installed],
            "removed": [_named(id) for id in self.removed],
            "exchanged": [
                {"category": new.category, "name": new.name, "from": old.version, "to": new.version}
                for old, new in self.exchanged
            ],
            "adopted": [_came(*item) for item in self.adopted],
            "diverted": list(self.diverted),
            "fetched_bytes": self.fetched_bytes,
        }


def _came(id: PackageId, repository: str, files: int) -> dict[str, Any]:
    return _named(id) | {"repository": repository, "files": files}


def _named(id: PackageId) -> dict[str, Any]:
    return {"category": id.category, "name": id.name, "version": id.version}
