"""Which packages an installation takes, from which repository, and whether their files fit together."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.client.api import InstallRequest, Planned
from treebuilder.client.names import checked
from treebuilder.errors import ConflictError, SpecError, Unsatisfiable
from treebuilder.model.package import Package, PackageId, PackageRef
from treebuilder.model.packageset import MemoryPackages, PackageSet
from treebuilder.model.solution import Request
from treebuilder.records import replace
from treebuilder.solver.world import World

if TYPE_CHECKING:
    from treebuilder.repository import RepositoryPackages


_STAYS = "installing leaves what is installed as it is: upgrade, replace or uninstall it"


def choose(
    request: InstallRequest, repositories: RepositoryPackages, installed: tuple[Package, ...],
    holds: frozenset[str] = frozenset(),
) -> tuple[Planned, ...]:  # fmt: skip
    """New packages in the order of installation: what a package requires comes before it.

    What is installed stays exactly as it is; of that `holds` are the names that somebody holds.

    Raises Unsatisfiable, SpecError (reason "no-artifact").
    """
    there = {package.id for package in installed}
    order, named = _solved(request, repositories, installed, holds)
    return tuple(
        planned(package.id, repositories, requested=request.onlydeps or package.id in named) for package in order
        if package.id not in there and not (request.onlydeps and package.id in named)
    )  # fmt: skip


def dependencies(
    request: InstallRequest, repositories: RepositoryPackages, installed: tuple[Package, ...],
    holds: frozenset[str] = frozenset(),
) -> tuple[PackageId, ...]:  # fmt: skip
    """What a request needs and does not name, whether it is there or comes. Raises Unsatisfiable."""
    order, named = _solved(request, repositories, installed, holds)
    return tuple(package.id for package in order if package.id not in named)


def _solved(
    request: InstallRequest, repositories: RepositoryPackages, installed: tuple[Package, ...], holds: frozenset[str]
) -> tuple[tuple[Package, ...], set[PackageId]]:
    """All that a request needs, in order, and which of it answers what was asked."""
    from treebuilder.solver import PackageSolver

    _refuse_unknown(request.wanted, repositories, installed)
    if request.nodeps:
        with _names_as_given(request.wanted):
            answers = PackageSolver().solve(Request(request.wanted), _alone(request.wanted, repositories), ()).answers
        named = {package.id for _, package in answers}
        order = tuple({package.id: package for _, package in answers}.values())
        _refuse_second(order, installed)
    else:
        held = tuple(id.exact for id in sorted(package.id for package in installed))
        try:
            with _names_as_given(request.wanted):
                solution = PackageSolver().solve(
                    Request(request.wanted, held), repositories, installed, order="runtime"
                )
        except Unsatisfiable as err:
            say_who_stays(err, holds)
            if held and err.reason == "unsatisfiable" and err.hint is None:
                err.hint = _STAYS
            raise
        named = {package.id for _, package in solution.answers}
        order = solution.order
    return order, named


def choose_some(
    request: InstallRequest, repositories: RepositoryPackages, installed: tuple[Package, ...],
    holds: frozenset[str] = frozenset(),
) -> tuple[tuple[Planned, ...], tuple[tuple[PackageRef, Unsatisfiable], ...]]:  # fmt: skip
    """The same without what cannot be had, and why it cannot: of what does not go together, what is named first counts.

    That is what luet's `qlearning` tries to find. Raises Unsatisfiable where nothing is left.
    """
    try:
        return choose(request, repositories, installed, holds), ()
    except Unsatisfiable as err:
        whole = err
    found: tuple[Planned, ...] = ()
    kept: tuple[PackageRef, ...] = ()
    left: list[tuple[PackageRef, Unsatisfiable]] = []
    for ref in request.wanted:
        try:
            found = choose(replace(request, wanted=(*kept, ref)), repositories, installed, holds)
        except Unsatisfiable as err:
            left.append((ref, err))
        else:
            kept = (*kept, ref)
    if not kept:
        raise whole
    return found, tuple(left)


def say_who_stays(err: Unsatisfiable, holds: frozenset[str]) -> None:
    """What the solver was told to hold is what is installed, and only of some of that somebody has said so."""
    kept = [name for name in sorted(holds) if any(_is_held(name, line) for line in (err.message, *err.chain))]

    def said(line: str) -> str:
        return line if any(_is_held(name, line) for name in kept) else line.replace(" is held", " stays installed")

    err.message, err.chain = said(err.message), tuple(map(said, err.chain))
    if kept:
        err.hint = f"unhold {' '.join(name.removeprefix('/') for name in kept)} lets an upgrade change it"


def _is_held(name: str, line: str) -> bool:
    return " is held" in line and f" {name} " in f" {line}"


def solve(
    request: Request, repositories: RepositoryPackages, installed: tuple[Package, ...], asked: frozenset[str],
    among: PackageSet | None = None,
) -> tuple[tuple[Planned, ...], tuple[PackageId, ...]]:  # fmt: skip
    """New packages in the order of installation, and installed ones that go; what is installed may change.

    `asked` are the names that somebody asked for: what comes for one of them, also under another name that provides
    it, is asked for. `among` are those packages of the repositories that may come, where not all may.

    Raises Unsatisfiable, SpecError (reason "no-artifact").
    """
    from treebuilder.solver import PackageSolver

    there = {package.id for package in installed}
    solution = PackageSolver().solve(request, among or repositories, installed, order="runtime")
    stay = {package.id: package for package in solution.packages}
    left = asked - {id.pkgname for id in stay}
    ordered = dict.fromkeys(package.id for package in (*solution.order, *solution.packages))
    new = tuple(
        planned(
            id, repositories,
            requested=id.pkgname in asked or any(given.pkgname in left for given in stay[id].provides),
        ) for id in ordered if id not in there
    )  # fmt: skip
    return new, tuple(sorted(there - stay.keys()))


def in_order(items: Iterable[Planned], installed: Iterable[Package]) -> tuple[Planned, ...]:
    """What a package requires comes before it, also what it requires through others. `installed` may stay or go."""
    from treebuilder.solver.graph import edges_of, order_of

    chosen = {item.package.id: item for item in items}
    names = {id.pkgname for id in chosen}
    there = [*(p for p in installed if p.id.pkgname not in names), *(item.package for item in chosen.values())]
    edges = edges_of(World(MemoryPackages(there), ()), there)
    order = order_of([item.package for item in chosen.values()], edges, "runtime")
    return tuple(chosen[package.id] for package in order if package.id in chosen)


def _refuse_unknown(
    wanted: tuple[PackageRef, ...], repositories: RepositoryPackages, installed: tuple[Package, ...]
) -> None:  # fmt: skip
    """Names all that nobody has, where they are several; of one the solver knows more. Raises Unsatisfiable."""
    unknown = {
        ref.pkgname for ref in wanted
        if not repositories.versions(ref.pkgname) and not repositories.providers(ref.pkgname)
    }  # fmt: skip
    if len(unknown) > 1:
        unknown -= {name for p in installed for name in (p.id.pkgname, *(given.pkgname for given in p.provides))}
    if len(unknown) > 1:
        names = ", ".join(f"'{name.removeprefix('/')}'" for name in sorted(unknown))
        raise Unsatisfiable(
            f"packages {names} not found", reason="unknown-package",
            hint="packages are named CATEGORY/NAME: search says which there are",
        )  # fmt: skip


def _refuse_second(chosen: tuple[Package, ...], installed: tuple[Package, ...]) -> None:
    """Of one name one version is there, whatever is needed of it. Raises Unsatisfiable."""
    there = {package.id.pkgname: package.id for package in installed}
    for package in chosen:
        old = there.get(package.id.pkgname, package.id)
        if old != package.id:
            raise Unsatisfiable(
                f"{package.id} cannot be had while {old} stays installed", hint=_STAYS,
                chain=(f"only one version of {old.pkgname} can be there",),
            )  # fmt: skip


@contextmanager
def _names_as_given(wanted: tuple[PackageRef, ...]) -> Iterator[None]:
    """A name without a category is told as it was given: `/x` would be a file."""
    try:
        yield
    except (SpecError, Unsatisfiable) as err:
        for ref in wanted if err.reason in ("unknown-package", "no-version") else ():
            if not ref.category:
                before = re.compile(rf"(?<![\w/])/(?={re.escape(ref.name)}(?![\w/.-]))")
                err.message = before.sub("", err.message)
                if isinstance(err, Unsatisfiable):
                    err.chain = tuple(before.sub("", line) for line in err.chain)
                err.hint = err.hint or f"packages are named CATEGORY/NAME: search {ref.name} says where one is"
        raise


def _alone(wanted: tuple[PackageRef, ...], universe: PackageSet) -> PackageSet:
    names = [ref.pkgname for ref in wanted]
    found = [p for name in names for p in (*universe.versions(name), *universe.providers(name))]
    return MemoryPackages([replace(package, requires=(), conflicts=()) for package in found])


def planned(id: PackageId, repositories: RepositoryPackages, *, requested: bool = True) -> Planned:
    """Where a package comes from. Raises SpecError (reason "no-artifact") when the repository has no file of it."""
    home = repositories.homes[id]
    package = repositories.find(id)
    assert package is not None
    artifact = home.artifacts.get(id)
    if artifact is None:
        raise SpecError(
            f"the repository {home.source.name} knows {id} and has no file of it", reason="no-artifact",
            hint="build the package and run treebuild create-repo again",
        )  # fmt: skip
    return Planned(package, home, artifact, home.finalizer(id), requested)


def _silent(message: str) -> None:
    return


class Claims:
    """Which package brings which file. `owners` tells whose a file of the system is, `going` which of them go.

    With `force` a file may be in two packages: it is told by `warn` instead of refused. So it is for a file that one of
    `over`, which are new, and an installed package have.
    """

    def __init__(
        self, owners: Callable[[str], tuple[PackageId, ...]], going: Iterable[PackageId] = (),
        warn: Callable[[str], None] = _silent, *, force: bool = False, over: frozenset[PackageId] = frozenset(),
    ) -> None:  # fmt: skip
        self._owners = owners
        self._going = frozenset(going)
        self._warn, self._force, self._over = warn, force, over
        self._taken: dict[str, PackageId] = {}

    def claim(self, id: PackageId, path: str) -> None:
        """No two packages may bring one file, nor one bring what an installed package owns. Raises ConflictError."""
        before = self._taken.get(path)
        if before == id:
            return
        self._taken[path] = id
        others = [before] if before is not None else [o for o in self._owners(path) if o not in self._going]
        for other in others:
            if other != id:
                self.meet(other, id, path, new=before is not None)

    def meet(self, other: PackageId, id: PackageId, path: str, *, new: bool = False) -> None:
        """Two packages have one file; `new`: neither is installed. Raises ConflictError."""
        which = "packages to be installed" if new else f"'{other}' and '{id}' ( file: {path} )"
        message = f"file conflict found: file conflict between {which}: /{path} is in {other} and in {id}"
        hint = "a file can belong to one package only: install one of them, or use --force"
        if not new and id in self._over:
            self._warn(message)
        else:
            self.doubt(message, hint)

    def doubt(self, message: str, hint: str) -> None:
        """What is refused, unless somebody forces it. Raises ConflictError."""
        if not self._force:
            raise ConflictError(message, hint=hint)
        self._warn(message)


def check_files(plan: tuple[Planned, ...], blobs: tuple[Path, ...], claims: Claims) -> None:
    """Claims what the indexes list, before anything is unpacked. Raises ConflictError."""
    for item, blob in zip(plan, blobs, strict=True):
        for path in item.artifact.files or _names(blob, item):
            claims.claim(item.package.id, checked(path, f"the index of {item.repository.source.name}"))


def _names(blob: Path, item: Planned) -> list[str]:
    """What a package brings when its index does not say: that of a hidden package never does."""
    from treebuilder.archive.compress import decompressed
    from treebuilder.archive.reading import entries

    with blob.open("rb") as source:
        what, bound = str(item.package.id), item.repository.bound(item.artifact)
        found = entries(decompressed(source, bound, what), what, bound)
        return [entry.path for entry, _ in found if entry.kind != "d"]
