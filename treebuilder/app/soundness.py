"""Whether every package of a set can be had, without solving for each of them alone.

One version of each name is picked, the one that most others can live with. What of these picks hangs together (each
need answered by another of them, no conflict) is one big solution, so all of it can be had; and so can every other
version whose needs are answered in it. That costs a look at each need. Only the rest is solved for, one by one, and
what one solution holds can be had by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, KeysView, Sequence

from treebuilder.annotations import Literal, TypeVar
from treebuilder.errors import TreebuildError, Unsatisfiable
from treebuilder.model.package import Package, PackageId, PackageRef, Recipe
from treebuilder.model.packageset import MemoryPackages, PackageSet
from treebuilder.model.solution import Request
from treebuilder.model.version import fault
from treebuilder.records import replace
from treebuilder.solver import PackageSolver
from treebuilder.solver.world import World

Node = TypeVar("Node", str, int)

_NEAR = (3, 24)  # packages: a short reason first
_ROUNDS = 3  # of voting: what is picked decides who has a vote


def troubles(
    packages: Sequence[Package], universe: PackageSet, order: Literal["build", "runtime"]
) -> dict[PackageId, TreebuildError]:
    """Those of the packages that cannot be had, and why. A circle is a fault in a build order only."""
    solver = PackageSolver()
    world = solver.world(universe)
    asked = {package.id: world.matches(package.id.exact)[:1] for package in packages}
    names = _Names(world, [best for found in asked.values() for best in found])
    circular = names.circular() if order == "build" else set()
    sound = _together(world, names)
    found: dict[PackageId, TreebuildError] = {}
    for id_ in sorted(asked, key=lambda id_: names.rank.get(id_.pkgname, 0), reverse=True):  # a solution holds others
        best = asked[id_]
        if best and best[0].id == id_ and id(best[0]) in sound and id(best[0]) not in circular:
            continue
        why = next((err for most in _NEAR if (err := _nearby(world, id_, order, most)) is not None), None)
        if why is not None:
            found[id_] = why
            continue
        try:
            done = solver.solve(Request((id_.exact,)), universe, (), order=order)
        except TreebuildError as err:
            found[id_] = err
        else:
            sound.update(map(id, done.packages))
    return {package.id: found[package.id] for package in packages if package.id in found}


def _nearby(
    world: World, wanted: PackageId, order: Literal["build", "runtime"], most: int
) -> Unsatisfiable | None:  # fmt: skip
    """Why a package cannot be had, when what it needs, and further until there are `most`, says so already.

    What is left out are needs of packages at the edge, so a refusal here is one of the whole too. It costs little, and
    the whole much where many packages conflict: each of them would be asked about all others.
    """
    queue = list(world.matches(wanted.exact))
    near = {id(package): package for package in queue}
    for found in queue:  # grows on the way
        needs = [candidates for _, _, candidates in world.needs(found)]
        if not all(needs):
            return None  # what is missing is told with the names that are like it, of all there are
        others = [other for candidates in needs for other in candidates]
        new = {id(other): other for other in others if id(other) not in near}
        if len(near) + len(new) > most:
            near[id(found)] = replace(found, requires=())
            continue
        near.update(new)
        queue += new.values()
    if not near:
        return None
    members = [replace(package, conflicts=_against(world, package, near.keys())) for package in near.values()]
    try:
        PackageSolver().solve(Request((wanted.exact,)), MemoryPackages(members), (), order=order)
    except Unsatisfiable as err:
        return err
    except TreebuildError:
        return None  # a circle may be one of this part alone
    return None


def _against(world: World, package: Package, near: KeysView[int]) -> tuple[PackageRef, ...]:
    """Conflicts with some that are near. One with a version that is not near would hit another of equal rank."""
    return tuple(ref for ref in package.conflicts if any(id(other) in near for other in world.matches(ref)))


def unanswered(package: Package, world: World) -> Iterator[PackageRef]:
    """The requires that nothing answers, whether or not anybody asks for the package."""
    return (ref for ref in package.requires if not world.matches(ref))


def nonsense(packages: Iterable[Package | Recipe]) -> Iterator[tuple[PackageRef, str]]:
    """What they provide, or conflict with, in versions that mean nothing, and why they do: nobody would ever notice."""
    for package in packages:
        for ref in (*package.provides, *package.conflicts):
            why = fault(ref.version)
            if why is not None:
                yield ref, why


class _Names:
    """All names that some packages may lead to, with all their versions.

    `below` are the names that a name leads to in any version, `circles` those that lead back to themselves. `rank` is
    higher than that of all names below, except in a circle.
    """

    def __init__(self, world: World, packages: Iterable[Package]) -> None:
        self._world = world
        self.versions: dict[str, tuple[Package, ...]] = {}
        self.below: dict[str, list[str]] = {}
        self.rank: dict[str, int] = {}
        self.circles: set[str] = set()
        self._answering: dict[int, list[str]] = {}  # by the candidates, which the world remembers
        todo = dict.fromkeys(package.id.pkgname for package in packages)
        queue = list(todo)
        for name in queue:  # grows on the way
            below = self.below[name] = self._reach(name)
            queue += [other for other in below if other not in todo]
            todo.update(dict.fromkeys(below))
        for circle in _circles(self.below, self.below.__getitem__):
            self.rank.update((name, len(self.rank)) for name in circle)
            if len(circle) > 1 or circle[0] in self.below[circle[0]]:
                self.circles.update(circle)

    def circular(self) -> set[int]:
        """The packages, by identity, from which a circle can be reached, whichever answers are taken."""
        packages = {id(package): package for versions in self.versions.values() for package in versions}

        def answers(number: int) -> list[int]:
            package = packages[number]
            own = package.id.pkgname  # of one name there is only one: another version is no answer
            others = (other for _, _, candidates in self._world.needs(package) for other in candidates)
            return [id(other) for other in others if other is package or other.id.pkgname != own]

        found: set[int] = set()
        for circle in _circles(packages if self.circles else (), answers):
            below = answers(circle[0])
            if len(circle) > 1 or circle[0] in below or not found.isdisjoint(below):
                found.update(circle)
        return found

    def _reach(self, name: str) -> list[str]:
        found: dict[str, None] = {}
        versions = self.versions[name] = self._world.versions(name)
        for package in versions:
            for _, _, candidates in self._world.needs(package):
                names = self._answering.get(id(candidates))
                if names is None:
                    names = list(dict.fromkeys(p.id.pkgname for p in candidates))
                    self._answering[id(candidates)] = names
                found.update(dict.fromkeys(names))
        return list(found)


def _together(world: World, names: _Names) -> set[int]:
    """Packages, by identity, that can be had for sure."""
    picks = {name: versions[0] for name, versions in names.versions.items() if versions}
    for _ in range(_ROUNDS):
        votes: dict[int, int] = {}
        for package in picks.values():
            for _, _, candidates in world.needs(package):
                for other in candidates:
                    votes[id(other)] = votes.get(id(other), 0) + 1
        before = list(map(id, picks.values()))
        for name in picks:
            picks[name] = max(names.versions[name], key=lambda p: votes.get(id(p), 0))  # of equal ones the newest
        if before == list(map(id, picks.values())):
            break
    one = {id(package): package for package in picks.values()}
    _drop_broken(world, one)
    barred = {id(p) for package in one.values() for ref in package.conflicts for p in world.matches(ref)}
    sound = set(one)
    for name, versions in names.versions.items():
        for package in () if name in names.circles else versions:
            if id(package) not in barred and _stands_on(world, package, one):
                sound.add(id(package))
    return sound


def _stands_on(world: World, package: Package, one: dict[int, Package]) -> bool:
    """Whether a package fits on a solution that may hold another version of it."""
    if not all(any(id(other) in one for other in candidates) for _, _, candidates in world.needs(package)):
        return False
    return not any(id(other) in one for ref in package.conflicts for other in world.matches(ref))


def _drop_broken(world: World, one: dict[int, Package]) -> None:
    """Takes out what misses something, or conflicts with another, until the rest hangs together."""
    users: dict[int, list[Package]] = {}
    for package in one.values():
        for _, _, candidates in world.needs(package):
            for other in candidates:
                if id(other) in one:
                    users.setdefault(id(other), []).append(package)

    def check(todo: list[Package]) -> None:
        while todo:
            package = todo.pop()
            if id(package) in one and not all(
                any(id(other) in one for other in candidates) for _, _, candidates in world.needs(package)
            ):
                del one[id(package)]
                todo += users.get(id(package), ())

    check(list(one.values()))
    for package in list(one.values()):
        if id(package) in one and any(
            other is not package and id(other) in one for ref in package.conflicts for other in world.matches(ref)
        ):
            del one[id(package)]
            check(users.get(id(package), []))


def _circles(starts: Iterable[Node], edges: Callable[[Node], list[Node]]) -> Iterator[list[Node]]:
    """What can be reached, in sets that reach one another, each after all that it leads to (Tarjan's algorithm)."""
    low: dict[Node, int] = {}
    open_: list[Node] = []
    done: set[Node] = set()
    for start in starts:
        if start in low:
            continue
        low[start] = len(low)
        open_.append(start)
        stack = [(start, low[start], iter(edges(start)))]
        while stack:
            node, own, rest = stack[-1]
            step = next((other for other in rest if other not in done), None)
            if step is not None:
                if step not in low:
                    low[step] = len(low)
                    open_.append(step)
                    stack.append((step, low[step], iter(edges(step))))
                else:
                    low[node] = min(low[node], low[step])
                continue
            stack.pop()
            if stack:
                above = stack[-1][0]
                low[above] = min(low[above], low[node])
            if low[node] == own:
                circle = [open_.pop()]
                while circle[-1] != node:
                    circle.append(open_.pop())
                done.update(circle)
                yield circle
