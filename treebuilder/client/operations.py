"""What each operation changes, decided and not yet done (luet.md §7). Where luet does less, the docstring says so."""

from __future__ import annotations

from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.client.api import Change, InstallRequest, Planned, Record
from treebuilder.client.choose import choose, planned, solve
from treebuilder.client.names import checked
from treebuilder.client.needs import broken, needed, users
from treebuilder.client.places import look
from treebuilder.errors import SpecError, TreebuildError
from treebuilder.model.package import Package, PackageId, PackageRef
from treebuilder.model.packageset import MemoryPackages
from treebuilder.model.solution import Request
from treebuilder.records import record, replace
from treebuilder.solver.world import World

if TYPE_CHECKING:
    from treebuilder.client.database import SystemDatabase
    from treebuilder.repository import RepositoryPackages


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


@record
class UpgradeRequest:
    """`clean`: what no repository has any more goes. `rebuilt`: also what was only built again. `missing`: also what
    has lost files. `force`: two packages may have one file; `over_installed`: a new and an installed one."""

    clean: bool = False
    rebuilt: bool = False
    missing: bool = False
    force: bool = False
    over_installed: bool = False


def not_installed(ref: PackageRef) -> TreebuildError:
    said = str(replace(ref, version="") if ref.version == ">=0" else ref).removeprefix("/")  # no category, any version
    return TreebuildError(
        f"Package {said} not found in the system", reason="not-installed",
        hint="search --installed lists what is",
    )  # fmt: skip


def held(message: str, id: PackageId) -> TreebuildError:
    return TreebuildError(message, reason="held", hint=f"unhold {id.pkgname.removeprefix('/')} lets it be changed")


def matching(ref: PackageRef, installed: tuple[Package, ...]) -> tuple[Package, ...]:
    """Installed packages of the name and version that a reference names, newest first."""
    named = MemoryPackages(package for package in installed if package.id.pkgname == ref.pkgname)
    return World(named, ()).matches(ref)


def answering(refs: tuple[PackageRef, ...], installed: tuple[Package, ...]) -> tuple[PackageId, ...]:
    """Of each reference the installed package that answers it best: one of that name, or one that provides it."""
    world = World(MemoryPackages(installed), ())
    return tuple(found.id for ref in refs for found in world.matches(ref)[:1])


def record_of(database: SystemDatabase, id: PackageId) -> Record:
    found = database.record(id)
    assert found is not None, id
    return found


# install --------------------------------------------------------------------------------------------------------------
def install(
    request: InstallRequest, repositories: RepositoryPackages, database: SystemDatabase,
    known: tuple[Package, ...] = (), *, force: bool = False,
) -> Change:  # fmt: skip
    """What is installed stays as it is. Raises Unsatisfiable, SpecError (reason "no-artifact")."""
    return Change(add=choose(request, repositories, (*known, *database.packages())), force=force)


def without_installed(wanted: tuple[PackageRef, ...], installed: tuple[Package, ...]) -> tuple[PackageRef, ...]:
    """As luet: what has any version installed, or is provided by something installed, is not asked for again."""
    there = {package.id.pkgname for package in installed}
    there |= {given.pkgname for package in installed for given in package.provides}
    return tuple(ref for ref in wanted if ref.pkgname not in there)


# uninstall ------------------------------------------------------------------------------------------------------------
def uninstall(request: UninstallRequest, database: SystemDatabase) -> Change:
    """What is held goes when it is named, and not along. Raises TreebuildError (reasons "not-installed", "needed",
    "held")."""
    records, holds = database.records(), database.holds()
    installed = tuple(found.package for found in records)
    named = _named(request.packages, installed)
    going = dict(named)
    if request.users_too:
        going |= {package.id: package for package in users(going, installed)}
        for id in sorted(going):
            if id.pkgname in holds and id not in named:
                names = ", ".join(str(one) for one in sorted(named))
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


# upgrade --------------------------------------------------------------------------------------------------------------
def upgrade(request: UpgradeRequest, repositories: RepositoryPackages, database: SystemDatabase, root: Path) -> Change:
    """Everything to the newest version that fits together; held names stay. Nothing gets an older version.

    Raises Unsatisfiable, SpecError (reason "no-artifact").
    """
    records = database.records()
    installed = tuple(found.package for found in records)
    holds = database.holds()
    gone: set[PackageId] = set()
    if request.clean:
        gone = {p.id for p in installed if not repositories.versions(p.id.pkgname) and p.id.pkgname not in holds}
    names = sorted({p.id.pkgname for p in installed if p.id not in gone and p.id.pkgname not in holds})
    wanted = tuple(PackageRef(*_split(name), "") for name in names)
    held = tuple(PackageRef(p.id.category, p.id.name, p.id.version) for p in installed if p.id.pkgname in holds)
    unwanted = tuple(PackageRef(id.category, id.name, id.version) for id in sorted(gone))
    asked = frozenset(found.package.id.pkgname for found in records if found.requested)
    new, old = solve(Request(wanted, held, unwanted), repositories, installed, asked) if wanted else ((), tuple(gone))
    again: list[Planned] = []
    for found in records:
        id = found.package.id
        if id in old or id.pkgname in holds or repositories.find(id) is None:
            continue
        if (request.rebuilt and _rebuilt(found, repositories)) or (request.missing and missing(database, id, root)):
            again.append(planned(id, repositories, requested=found.requested))
    going = sorted({*old, *(item.package.id for item in again)})
    return Change(
        tuple(record_of(database, id) for id in going), (*new, *again), force=request.force,
        over_installed=request.over_installed,
    )  # fmt: skip


def _split(pkgname: str) -> tuple[str, str]:
    category, _, name = pkgname.rpartition("/")
    return category, name


def _named(refs: tuple[PackageRef, ...], installed: tuple[Package, ...]) -> dict[PackageId, Package]:
    """The installed packages that are meant. Raises TreebuildError (reason "not-installed")."""
    named: dict[PackageId, Package] = {}
    for ref in refs:
        found = matching(ref, installed)
        if not found:
            raise not_installed(ref)
        named |= {package.id: package for package in found}
    return named


def _rebuilt(found: Record, repositories: RepositoryPackages) -> bool:
    artifact = repositories.homes[found.package.id].artifacts.get(found.package.id)
    return artifact is not None and bool(artifact.build_time) and artifact.build_time != found.build_time


# exchange -------------------------------------------------------------------------------------------------------------
def replace_packages(
    old: tuple[PackageRef, ...], request: InstallRequest, repositories: RepositoryPackages, database: SystemDatabase,
    *, check: bool, force: bool,
) -> Change:  # fmt: skip
    """`old` go, what is wanted comes, in one step. Raises TreebuildError (reason "not-installed"), Unsatisfiable."""
    installed = database.packages()
    going = _named(old, installed)
    rest = tuple(package for package in installed if package.id not in going)
    new = choose(request, repositories, rest)
    if check:
        hurt = broken(going, (*installed, *(item.package for item in new)))
        if hurt:
            raise TreebuildError(
                f"{hurt[0][0].id} needs {hurt[0][1]}, which would be gone", reason="needed",
                hint="--nodeps leaves it broken",
            )  # fmt: skip
    return Change(tuple(record_of(database, id) for id in sorted(going)), new, force=force)


def reinstall(
    refs: tuple[PackageRef, ...], repositories: RepositoryPackages, database: SystemDatabase, *, force: bool
) -> Change:
    """The same packages again; without `refs` all that repositories have. A version that is in none is exchanged for
    the newest that is. Raises TreebuildError (reason "not-installed"), Unsatisfiable."""
    installed = database.packages()
    chosen = _named(refs, installed)
    if not refs:
        chosen = {p.id: p for p in installed if repositories.versions(p.id.pkgname)}
    items = [_again(id, repositories, database) for id in chosen]
    return Change(tuple(record_of(database, id) for id in sorted(chosen)), tuple(items), force=force)


def _again(id: PackageId, repositories: RepositoryPackages, database: SystemDatabase) -> Planned:
    asked = record_of(database, id).requested
    if repositories.find(id) is not None:
        return planned(id, repositories, requested=asked)
    newest = repositories.versions(id.pkgname)
    if not newest:
        raise SpecError(f"no repository has {id}", reason="no-artifact", hint="repo update fetches what is new")
    return planned(newest[0].id, repositories, requested=asked)


def missing(database: SystemDatabase, id: PackageId, root: Path) -> tuple[str, ...]:
    """Files of an installed package that are not there, as paths."""
    return tuple(path for path, kind in record_of(database, id).entries if kind != "d" and look(root, path) is None)


def reclaim(repositories: RepositoryPackages, database: SystemDatabase, root: Path) -> Change:
    """Packages of repositories whose files lie in the root without a record, newest versions first.

    luet takes a package of which any file is there; so do we, and of several versions the one with most of its files.
    Raises UnsafeArchive for an index whose files are none of a root.
    """
    there = {package.id.pkgname for package in database.packages()}
    best: dict[str, tuple[float, Record]] = {}
    for name in repositories.names():
        for package in repositories.versions(name) if name not in there else ():
            home = repositories.homes[package.id]
            artifact = home.artifacts.get(package.id)
            if artifact is None or not artifact.files:
                continue
            listed = [checked(path, f"{package.id} in {home.source.name}") for path in artifact.files]
            share = sum(look(root, path) is not None for path in listed) / len(listed)
            if share > best.get(name, (0.0, None))[0]:
                entries = tuple((path, "f") for path in listed)
                found = Record(
                    package, home.source.name, artifact.sha256, artifact.build_time, entries, True,
                    home.finalizer(package.id),
                )  # fmt: skip
                best[name] = share, found
    return Change(adopt=tuple(found for _, found in best.values()))


def merged(first: Change, second: Change) -> Change:
    """Two changes, planned one after the other, as one: what came and goes again is left out."""
    came = {item.package.id for item in first.add}
    return replace(
        second,
        remove=(*first.remove, *(found for found in second.remove if found.package.id not in came)),
        add=(*first.add, *second.add),
        force=first.force or second.force,
        over_installed=first.over_installed or second.over_installed,
    )
