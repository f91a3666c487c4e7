"""Whether every package of a set can be had, without solving for each of them alone.

Most packages can be had with the best answer to each of their requires. What stands below a package by these answers
is a set that grows from its requires' sets; if it has one version of each name and no conflict in it, it is a solution.
The sets are bits of a number, so 20,000 of them are made in a second. Only the others are solved for, one by one, and
what one solution holds can be had by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Literal

from treebuilder.errors import TreebuildError
from treebuilder.model.package import Package, PackageId, PackageRef
from treebuilder.model.packageset import PackageSet
from treebuilder.model.solution import Request
from treebuilder.plan.planner import exact
from treebuilder.solver import PackageSolver
from treebuilder.solver.greedy import GreedyChooser, Stuck
from treebuilder.solver.walk import Chosen, walk
from treebuilder.solver.world import World

_ROUNDS = 3


def troubles(
    packages: Sequence[Package], universe: PackageSet, order: Literal["build", "runtime"]
) -> dict[PackageId, TreebuildError]:
    """Those of the packages that cannot be had, and why. A circle is a fault in a build order only."""
    solver = PackageSolver()
    world = solver.world(universe)
    found: dict[PackageId, TreebuildError] = {}
    circular = _circular(world, packages) if order == "build" else set()
    mixed: dict[str, Package] = {}  # of each name the one that was last found to fit
    sound: set[PackageId] = set()
    hard = list(packages)
    for _ in range(_ROUNDS):
        easy, hard, first = _sorted(world, [package for package in hard if package.id not in sound], mixed)
        sound |= easy
        for package in first:  # the trouble of all others comes from these
            with suppress(TreebuildError):
                done = solver.solve(Request((exact(package.id),)), universe, (), order="runtime")
                sound.update(p.id for p in done.packages)
                mixed.update((p.id.pkgname, p) for p in done.packages)
        if not first:
            break
    hard += [package for package in packages if package.id in sound & circular]
    sound -= circular
    asked = {package.id for package in packages}
    for package in reversed(hard):  # what others stand on comes last
        if package.id in sound or package.id not in asked:
            continue
        request = Request((exact(package.id),))
        try:
            chosen = None if package.id in circular else walk(world, request, _Again(world, request, mixed))
        except Stuck:
            chosen = None
        if chosen is not None:
            sound.update(p.id for p in chosen.by_name.values())
            continue
        try:
            done = solver.solve(Request((exact(package.id),)), universe, (), order=order)
        except TreebuildError as err:
            found[package.id] = err
        else:
            sound.update(p.id for p in done.packages)
            mixed.update((p.id.pkgname, p) for p in done.packages)
    return {package.id: found[package.id] for package in packages if package.id in found}


def unanswered(package: Package, world: World) -> Iterator[PackageRef]:
    """The requires that nothing answers, whether or not anybody asks for the package."""
    return (ref for ref in package.requires if not world.matches(ref))


class _Again(GreedyChooser):
    """Takes what has been seen to fit, where it answers: not the best solution, but one."""

    def __init__(self, world: World, request: Request, mixed: Mapping[str, Package]) -> None:
        super().__init__(world, request)
        self._mixed = mixed

    def best(self, candidates: tuple[Package, ...], chosen: Chosen) -> Package:
        if len(candidates) > 1:
            known = self._mixed.get(candidates[0].id.pkgname)
            if known is not None and any(known is candidate for candidate in candidates):
                candidates = (known,)
        return super().best(candidates, chosen)


def _sorted(
    world: World, packages: Iterable[Package], mixed: Mapping[str, Package]
) -> tuple[set[PackageId], list[Package], list[Package]]:
    """The packages that can be had with the first answers alone, all others that they reach, lowest first, and those
    of the others that have trouble of their own.

    The first answer is the one that was seen to fit, or else the best.
    """
    number: dict[PackageId, int] = {}
    names: dict[str, int] = {}
    below: dict[PackageId, tuple[int, int, int]] = {}  # as bits: packages, names, refused packages
    hopeless: set[PackageId] = set()
    easy: set[PackageId] = set()
    hard: list[Package] = []
    first: list[Package] = []

    def bit(id: PackageId) -> int:
        return 1 << number.setdefault(id, len(number))

    def answers(package: Package) -> list[Package]:
        return _first_answers(world, package, mixed)

    for circle in _circles(packages, answers):
        inside = {package.id for package in circle}
        there = named = refused = 0
        for package in circle:
            there |= bit(package.id)
            named |= 1 << names.setdefault(package.id.pkgname, len(names))
            for ref in package.conflicts:
                for other in world.matches(ref):
                    refused |= bit(other.id) if other.id != package.id else 0
            for other in answers(package):
                if other.id not in inside and other.id in below:
                    more = below[other.id]
                    there, named, refused = there | more[0], named | more[1], refused | more[2]
                elif other.id in hopeless:
                    hopeless |= inside
            if not all(map(world.matches, package.requires)):
                hopeless |= inside
        if inside & hopeless or there & refused or there.bit_count() != named.bit_count():
            if not inside & hopeless and all(world.matches(ref) for package in circle for ref in package.requires):
                first += circle[:1]
            hopeless |= inside  # a conflict below stays one above
            hard += circle
            continue
        easy |= inside
        below.update(dict.fromkeys(inside, (there, named, refused)))
    return easy, hard, first


def _first_answers(world: World, package: Package, mixed: Mapping[str, Package]) -> list[Package]:
    """What answers a package's requires, except the package itself: what was seen to fit, or else the best."""
    found = []
    for candidates in map(world.matches, package.requires):
        if candidates:
            known = mixed.get(candidates[0].id.pkgname)
            found.append(known if known is not None and any(known is c for c in candidates) else candidates[0])
    return [other for other in found if other.id != package.id]


def _circular(world: World, packages: Iterable[Package]) -> set[PackageId]:
    """The packages from which a circle can be reached, whichever answers are taken."""

    def answers(package: Package) -> list[Package]:
        own = package.id  # of one name there is only one: another version is no answer
        others = (other for ref in package.requires for other in world.matches(ref))
        return [other for other in others if other.id.pkgname != own.pkgname or other.id == own]

    found: set[PackageId] = set()
    for circle in _circles(packages, answers):
        below = answers(circle[0])
        if len(circle) > 1 or circle[0] in below or any(other.id in found for other in below):
            found.update(package.id for package in circle)
    return found


def _circles(starts: Iterable[Package], edges: Callable[[Package], list[Package]]) -> Iterator[list[Package]]:
    """What can be reached, in sets that reach one another, each after all that it leads to (Tarjan's algorithm)."""
    low: dict[PackageId, int] = {}
    open_: list[Package] = []
    done: set[PackageId] = set()
    for start in starts:
        if start.id in low:
            continue
        low[start.id] = len(low)
        open_.append(start)
        stack = [(start, low[start.id], iter(edges(start)))]
        while stack:
            package, own, rest = stack[-1]
            step = next(rest, None)
            if step is not None:
                if step.id not in low:
                    low[step.id] = len(low)
                    open_.append(step)
                    stack.append((step, low[step.id], iter(edges(step))))
                elif step.id not in done:
                    low[package.id] = min(low[package.id], low[step.id])
                continue
            stack.pop()
            if stack:
                above = stack[-1][0].id
                low[above] = min(low[above], low[package.id])
            if low[package.id] == own:
                circle = [open_.pop()]
                while circle[-1].id != package.id:
                    circle.append(open_.pop())
                done.update(member.id for member in circle)
                yield circle
