"""What goes, decided and not yet done (luet.md §7). It needs no repository."""

from __future__ import annotations

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.client.api import Change, Record
from treebuilder.client.installed import held, named, record_of
from treebuilder.client.needs import broken, needed, users
from treebuilder.errors import TreebuildError
from treebuilder.model.package import Package, PackageId, PackageRef
from treebuilder.records import record

if TYPE_CHECKING:
    from treebuilder.client.database import SystemDatabase


@record
class UninstallRequest:
    """`check` refuses what others need. `full`: what only they needed goes too. `users_too`: what needs them as well.

    `keep_protected`: protected configuration stays. `every_need`: what was asked for by name counts like the rest.
    """

    packages: tuple[PackageRef, ...]
    check: bool = True
    full: bool = False
    users_too: bool = False
    keep_protected: bool = False
    every_need: bool = False


def uninstall(request: UninstallRequest, database: SystemDatabase) -> Change:
    """What is held goes when it is named, and not along. Raises TreebuildError (reasons "not-installed", "needed",
    "held")."""
    records, holds = database.records(), database.holds()
    installed = tuple(found.package for found in records)
    asked = named(request.packages, installed)
    going = dict(asked)
    if request.users_too:
        going |= {package.id: package for package in users(going, installed)}
        for id in sorted(going):
            if id.pkgname in holds and id not in asked:
                names = ", ".join(str(one) for one in sorted(asked))
                raise held(f"{names} cannot be removed: {id} needs that, and is held", id)
    if request.full or request.users_too:
        going |= _unneeded(going, records, holds, every=request.every_need)
    if request.check:
        _refuse_needed(going, installed)
    records_gone = tuple(record_of(database, id) for id in sorted(going))
    return Change(remove=records_gone, keep_protected=request.keep_protected)


def _refuse_needed(going: dict[PackageId, Package], installed: tuple[Package, ...]) -> None:
    hurt = broken(going, installed)
    if hurt:
        lines = ", ".join(f"{package.id} needs {ref}" for package, ref in hurt[:8])
        names = ", ".join(str(id) for id in sorted(going))
        raise TreebuildError(
            f"{names} cannot be removed: {lines}", reason="needed",
            hint="--full-clean removes them too; --force leaves them broken",
        )  # fmt: skip


def _unneeded(
    going: dict[PackageId, Package], records: tuple[Record, ...], holds: frozenset[str], *, every: bool
) -> dict[PackageId, Package]:
    """What was needed by the packages that go and is by nobody else. What is held stays, and what somebody asked for,
    unless `every`."""
    installed = tuple(found.package for found in records)
    stay = {f.package.id for f in records if (f.requested and not every) or f.package.id.pkgname in holds}
    reached = needed(going, installed)
    rest = {p.id: p for p in installed if (p.id not in reached or p.id in stay) and p.id not in going}
    kept = needed(rest, installed)
    return {id: package for id, package in reached.items() if id not in kept and id not in rest}


def autoremove(database: SystemDatabase) -> Change:
    """What nobody asked for and nothing needs any more; what is held stays."""
    records = database.records()
    holds = database.holds()
    installed = tuple(found.package for found in records)
    roots = {f.package.id: f.package for f in records if f.requested or f.package.id.pkgname in holds}
    kept = roots | needed(roots, installed)
    gone = sorted(package.id for package in installed if package.id not in kept)
    return Change(remove=tuple(record_of(database, id) for id in gone))
