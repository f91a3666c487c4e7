"""What each operation changes, decided and not yet done (luet.md §7). Where luet does less, the docstring says so."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from operator import attrgetter
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.client.api import Change, InstallRequest, Planned, Record
from treebuilder.client.candidates import NothingOlder, stand_ins, without_needs
from treebuilder.client.choose import choose, in_order, planned, say_who_stays, solve
from treebuilder.client.installed import held, named, record_of
from treebuilder.client.names import checked
from treebuilder.client.needs import broken, clashes
from treebuilder.client.places import look
from treebuilder.errors import SpecError, TreebuildError, Unsatisfiable
from treebuilder.model.package import Package, PackageId, PackageRef
from treebuilder.model.packageset import MemoryPackages
from treebuilder.model.solution import Request
from treebuilder.records import record, replace
from treebuilder.solver.world import key_of

if TYPE_CHECKING:
    from treebuilder.client.database import SystemDatabase
    from treebuilder.repository import RepositoryPackages

_PKGNAME: Callable[[PackageId], str] = attrgetter("pkgname")


@record
class UpgradeRequest:
    """`clean`: what no repository has any more goes. `rebuilt`: also what was only built again. `missing`: also what
    has lost files. `force`: two packages may have one file; `over_installed`: a new and an installed one. `nodeps`:
    whatever packages need and exclude."""

    clean: bool = False
    rebuilt: bool = False
    missing: bool = False
    force: bool = False
    over_installed: bool = False
    nodeps: bool = False


# install --------------------------------------------------------------------------------------------------------------
def install(
    request: InstallRequest, repositories: RepositoryPackages, database: SystemDatabase,
    known: tuple[Package, ...] = (), *, force: bool = False,
) -> Change:  # fmt: skip
    """What is installed stays as it is. Raises Unsatisfiable, SpecError (reason "no-artifact")."""
    installed = (*known, *database.packages())
    return Change(add=choose(request, repositories, installed, database.holds()), force=force)


def without_installed(wanted: tuple[PackageRef, ...], installed: tuple[Package, ...]) -> tuple[PackageRef, ...]:
    """As luet: what has any version installed, or is provided by something installed, is not asked for again."""
    there = {package.id.pkgname for package in installed}
    there |= {given.pkgname for package in installed for given in package.provides}
    return tuple(ref for ref in wanted if ref.pkgname not in there)


# upgrade --------------------------------------------------------------------------------------------------------------
def upgrade(request: UpgradeRequest, repositories: RepositoryPackages, database: SystemDatabase, root: Path) -> Change:
    """Everything to the newest version that fits together; held names stay. An older version
    comes only where nothing else fits together.

    What no repository has any more is exchanged for a package that provides it, where one fits.

    Raises Unsatisfiable, SpecError (reason "no-artifact").
    """
    records = database.records()
    installed = tuple(found.package for found in records)
    holds = database.holds()
    again: dict[PackageId, tuple[Package, bool]] = {}
    for found in records if request.rebuilt or request.missing else ():
        id = found.package.id
        now = repositories.find(id)
        rebuilt = request.rebuilt and id.pkgname not in holds  # what has lost files keeps its version, held or not
        if now is not None and (
            (rebuilt and _rebuilt(found, repositories)) or (request.missing and missing(database, id, root))
        ):
            again[id] = now, found.requested
    known = tuple(again[p.id][0] if p.id in again else p for p in installed)  # a rebuild may need something else
    asked = frozenset(found.package.id.pkgname for found in records if found.requested)
    try:
        new, old = _Upgrade(request, repositories, known, holds, asked).decided()
    except Unsatisfiable:
        if request.clean:  # what would go stays, instead of what others have to become for it
            raise
        new, old = _Upgrade(request, repositories, known, holds, asked, older=True).decided()
    if request.nodeps:
        new = in_order(new, known)
    else:
        _refuse_clashes(installed, known, new, old)
    same = [planned(id, repositories, requested=asked_for) for id, (_, asked_for) in again.items() if id not in old]
    going = sorted({*old, *(item.package.id for item in same)})
    add = in_order((*new, *same), known) if same else new
    change = Change(tuple(record_of(database, id) for id in going), add, force=request.force)
    return change.over_installed() if request.over_installed else change


class _Upgrade:
    """The decision about everything that is `installed`. `asked` are the names that somebody asked for."""

    def __init__(
        self, request: UpgradeRequest, repositories: RepositoryPackages, installed: tuple[Package, ...],
        holds: frozenset[str], asked: frozenset[str], *, older: bool = False,
    ) -> None:  # fmt: skip
        self._clean = request.clean
        self._repositories = repositories
        self._installed = without_needs(installed) if request.nodeps else installed
        self._asked = asked
        self._among = NothingOlder(repositories, () if older else installed, nodeps=request.nodeps)
        self._free = sorted((p.id for p in installed if p.id.pkgname not in holds), key=_PKGNAME)
        self._stay = tuple(package.id.exact for package in installed if package.id.pkgname in holds)
        self._lost = {id for id in self._free if not repositories.versions(id.pkgname)}

    def decided(self) -> tuple[tuple[Planned, ...], tuple[PackageId, ...]]:
        """What comes, and what goes. Raises Unsatisfiable, SpecError (reason "no-artifact")."""
        renamed = self._renamed()
        try:
            return self._solved(renamed)
        except Unsatisfiable:
            if not renamed:
                raise
        fit: dict[PackageId, PackageRef | None] = {}
        for id, ref in renamed.items():  # those that can be: nobody asked for these, so none of them stops the others
            try:
                self._solved({**fit, id: ref})
            except Unsatisfiable:
                continue
            fit[id] = ref
        return self._solved(fit)

    def _renamed(self) -> dict[PackageId, PackageRef | None]:
        """What has a new name, and what to ask for in its place: nothing, where who stands in for it is there already.

        A repository that was left out may have the old name.
        """
        if not self._lost or not self._repositories.whole:
            return {}
        there = MemoryPackages(package for package in self._installed if package.id not in self._lost)
        return {
            id: None if stand_ins(id, there) else id.exact for id in sorted(self._lost) if stand_ins(id, self._among)
        }  # fmt: skip

    def _solved(
        self, renamed: Mapping[PackageId, PackageRef | None]
    ) -> tuple[tuple[Planned, ...], tuple[PackageId, ...]]:
        gone = self._lost if self._clean else renamed.keys()
        wanted = [renamed.get(id) if id in gone else PackageRef(id.category, id.name, "") for id in self._free]
        refs = tuple(ref for ref in wanted if ref is not None)
        if not refs and not gone:
            return (), ()
        request = Request(refs, self._stay, tuple(id.exact for id in sorted(gone)))
        try:
            return solve(request, self._repositories, self._installed, self._asked, among=self._among)
        except Unsatisfiable as err:
            kept = [id for id in sorted(gone) if any(f"{id.exact} is not wanted" in line for line in err.chain)]
            if kept:
                names = " ".join(id.pkgname.removeprefix("/") for id in kept)
                err.hint = err.hint or f"no repository has it any more: hold {names} keeps it"
            raise


def _refuse_clashes(
    installed: tuple[Package, ...], known: tuple[Package, ...], new: Iterable[Planned], old: Collection[PackageId]
) -> None:  # fmt: skip
    """`known` are the installed ones as they are built now; `new` come, `old` go."""
    found = clashes(installed, (*(p for p in known if p.id not in old), *(item.package for item in new)))
    if found:
        package, other = found[0]
        raise Unsatisfiable(
            f"{package.id} as it is built now conflicts with {other.id}", reason="unsatisfiable",
            hint=f"uninstall one of them; or hold {package.id.pkgname.removeprefix('/')}, which keeps the old build",
        )  # fmt: skip


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
    going = named(old, installed)
    rest = tuple(package for package in installed if package.id not in going)
    new = choose(request, repositories, rest, database.holds())
    if check:
        gone = going.keys() - {item.package.id for item in new}  # one of them may be needed by what comes
        hurt = broken(gone, (*installed, *(item.package for item in new)))
        if hurt:
            raise TreebuildError(
                f"{hurt[0][0].id} needs {hurt[0][1]}, which would be gone", reason="needed",
                hint="--nodeps leaves it broken",
            )  # fmt: skip
    return Change(tuple(record_of(database, id) for id in sorted(going)), new, force=force)


def reinstall(
    refs: tuple[PackageRef, ...], repositories: RepositoryPackages, database: SystemDatabase,
    *, force: bool, nodeps: bool = False,
) -> Change:  # fmt: skip
    """The same packages again; without `refs` all that repositories have. A version that is in none is exchanged for
    the newest that fits (with `nodeps` as luet: the newest), unless it is held; what is required now comes too.

    Raises TreebuildError (reasons "not-installed", "held"), SpecError (reason "no-artifact"), Unsatisfiable.
    """
    records, holds = database.records(), database.holds()
    installed = tuple(found.package for found in records)
    chosen = named(refs, installed)
    if not refs:
        chosen = {
            p.id: p for p in installed
            if repositories.versions(p.id.pkgname) and (p.id.pkgname not in holds or repositories.find(p.id))
        }  # fmt: skip
    known = {id: repositories.find(id) for id in chosen}
    for id in (id for id, package in known.items() if package is None):
        if not repositories.versions(id.pkgname):
            raise SpecError(f"no repository has {id}", reason="no-artifact", hint="repo update fetches what is new")
        if id.pkgname in holds:
            raise held(f"no repository has {id} any more, which is held: it would be another version", id)
    asked = frozenset(found.package.id.pkgname for found in records if found.requested)
    going, items = set(chosen), [known[id] or repositories.versions(id.pkgname)[0] for id in chosen]
    came = tuple(planned(package.id, repositories, requested=package.id.pkgname in asked) for package in items)
    new: tuple[Planned, ...] = ()
    old: tuple[PackageId, ...] = ()
    if not nodeps and any(package is None or _needs_more(chosen[id], package) for id, package in known.items()):
        new, old = _fitting(known, repositories, installed, asked, holds)
        going |= set(old)
        came = (*new, *(item for item in came if item.package.id in known))
    if not nodeps:
        _refuse_clashes(installed, tuple(known.get(package.id) or package for package in installed), new, old)
    return Change(
        tuple(record_of(database, id) for id in sorted(going)), in_order(came, installed), force=force
    )  # fmt: skip


def _needs_more(old: Package, new: Package) -> bool:
    return not {key_of(ref) for ref in new.requires} <= {key_of(ref) for ref in old.requires}


def _fitting(
    known: dict[PackageId, Package | None], repositories: RepositoryPackages, installed: tuple[Package, ...],
    asked: frozenset[str], holds: frozenset[str],
) -> tuple[tuple[Planned, ...], tuple[PackageId, ...]]:  # fmt: skip
    """What comes with packages as repositories have them now, and for those that none has; what goes for that."""
    lost = [id for id, package in known.items() if package is None]
    wanted = tuple(PackageRef(id.category, id.name, "" if id in lost else id.version) for id in known)
    stay = tuple(package.id.exact for package in installed if package.id not in lost)
    now = tuple(known.get(package.id) or package for package in installed)
    try:
        return solve(Request(wanted, stay, tuple(id.exact for id in lost)), repositories, now, asked)
    except Unsatisfiable as err:
        say_who_stays(err, holds)
        if lost:
            err.message = f"no repository has {lost[0]} any more, and nothing else fits: {err.message}"
        err.hint = err.hint or "upgrade exchanges whatever has to be; --nodeps looks at no dependencies"
        raise


def missing(database: SystemDatabase, id: PackageId, root: Path) -> tuple[str, ...]:
    """Files of an installed package that are not there, as paths."""
    return tuple(path for path, kind in record_of(database, id).entries if kind != "d" and look(root, path) is None)


def reclaim(repositories: RepositoryPackages, database: SystemDatabase, root: Path) -> Change:
    """Packages of repositories whose files lie in the root without a record, newest versions first.

    luet takes a package of which any file is there; so do we, and of several versions the one with most of its files.
    Files of installed packages tell nothing of others that have them too.

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
            share = sum(look(root, path) is not None and not database.owners(path) for path in listed) / len(listed)
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
        over=first.over | second.over,
    )
