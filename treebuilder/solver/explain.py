"""Answers to two questions: why is this version here, and why not another one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from treebuilder.errors import Unsatisfiable
from treebuilder.model.package import Package, PackageId, PackageRef
from treebuilder.model.packageset import PackageSet
from treebuilder.model.solution import Request, Solution
from treebuilder.model.version import compare
from treebuilder.solver.solver import decide
from treebuilder.solver.unsat import said_at
from treebuilder.solver.walk import Chosen
from treebuilder.solver.world import World


def why(solution: Solution, universe: PackageSet, package: Package) -> tuple[str, ...]:
    """What `Explainer.why` says, for one package."""
    return Explainer(solution, universe).why(package)


class Explainer:
    """Explains the packages of one solution; what all explanations need is looked up once."""

    def __init__(self, solution: Solution, universe: PackageSet) -> None:
        self._solution = solution
        self._world = World(universe, solution.packages)
        self._inside = {p.id: p for p in solution.packages}
        self._users: dict[PackageId, list[Package]] = {}
        for user, targets in solution.edges:
            for target in targets:
                self._users.setdefault(target.id, []).append(user)
        self._requires: dict[str, list[tuple[Package, PackageRef]]] = {}
        self._conflicts: dict[str, list[tuple[Package, PackageRef]]] = {}
        for p in solution.packages:
            for said, refs in ((self._requires, p.requires), (self._conflicts, p.conflicts)):
                for ref in sorted(refs):
                    said.setdefault(ref.pkgname, []).append((p, ref))
        self._before = _ways(solution)
        self._said_of: dict[PackageId, dict[PackageId, list[str]]] = {}

    def why(self, package: Package) -> tuple[str, ...]:
        """The shortest way from the request to `package`, what else needs it, and what bars each newer version.

        The first sentence is the most general. A package that is not in the solution gets one sentence that says so.
        """
        return tuple(dict.fromkeys(self._sentences(package, set())))

    def everything(self) -> tuple[str, ...]:
        """What `why` says of each package of the solution in turn, each sentence once.

        The way from the request to a package is mostly that to another: it is gone along once.
        """
        told: set[PackageId] = set()
        return tuple(dict.fromkeys(said for p in self._solution.packages for said in self._sentences(p, told)))

    def _sentences(self, package: Package, told: set[PackageId]) -> Iterator[str]:
        """What there is to say of a package; `told` are those to which the way has been said, and grows."""
        if package.id not in self._inside:
            yield f"{package.id} is not in the solution"
            return
        if package.id not in self._before:
            yield f"{package.id} is installed, and nothing that is wanted needs it"
        else:
            yield from self._way(package, told)
        for user in self._users.get(package.id, ()):
            yield from self._needs(user, package)
        yield from self._newer(package)

    def _way(self, package: Package, told: set[PackageId]) -> Iterator[str]:
        """The shortest way from the request, as far as it has not been told."""
        step: Package | None = self._inside[package.id]
        way: list[Package] = []
        while step is not None and step.id not in told:
            way.append(step)
            step = self._before[step.id]
        told.update(p.id for p in way)
        if step is not None:
            way.append(step)
        elif way:
            refs = [_said(ref) for ref, answer in self._solution.answers if answer.id == way[-1].id]
            yield f"{' and '.join(refs)} {'is' if len(refs) == 1 else 'are'} wanted: {way[-1].id}"
        for user, used in itertools.pairwise(reversed(way)):
            yield from self._needs(user, used)

    def _needs(self, user: Package, used: Package) -> list[str]:
        """The requires of one package that another answers; looked up once for each that has some."""
        said = self._said_of.get(user.id)
        if said is None:
            said = self._said_of[user.id] = {}
            for ref in sorted(user.requires):
                for answer in self._world.matches(ref):
                    if answer.id in self._inside:
                        how = "" if ref.pkgname == answer.id.pkgname else f", provided by {answer.id}"
                        sentence = f"{user.id} requires {_said(ref)}{how}{said_at(ref)}"
                        said.setdefault(answer.id, []).append(sentence)
        return said.get(used.id, [])

    def _newer(self, package: Package) -> list[str]:
        """What in the solution bars each version newer than the chosen one, as far as it is said directly."""
        out = []
        for newer in self._world.versions(package.id.pkgname):
            if newer.id == package.id:
                break
            told = "; ".join(self._bars(package, newer)) or "with it a decision that comes earlier would be worse"
            out.append(f"not {newer.id}: {told}")
        return out

    def _bars(self, package: Package, newer: Package) -> list[str]:
        def meant(ref: PackageRef, one: Package) -> bool:
            return any(match.id == one.id for match in self._world.matches(ref))

        name = package.id.pkgname
        bars = [f"{p.id} requires {_said(ref)}{said_at(ref)}" for p, ref in self._requires.get(name, ())
                if not meant(ref, newer)]  # fmt: skip
        bars += [f"{ref} is wanted{said_at(ref)}" for ref, answer in self._solution.answers
                 if answer.id == package.id and not meant(ref, newer)]  # fmt: skip
        for called in dict.fromkeys((name, *(ref.pkgname for ref in newer.provides))):
            bars += [f"{p.id} conflicts with {ref}{said_at(ref)}" for p, ref in self._conflicts.get(called, ())
                     if p.id != package.id and meant(ref, newer)]  # fmt: skip
        for ref in sorted(newer.conflicts):
            bitten = [p.id for p in self._world.matches(ref) if p.id in self._inside and p.id != package.id]
            bars += [f"it conflicts with {id}{said_at(ref)}" for id in bitten]
        for ref in sorted(newer.requires):
            found = self._world.matches(ref)
            if not found:
                bars.append(f"it requires {_said(ref)}, which nothing answers{said_at(ref)}")
            elif not any(p.id in self._inside or p.id == newer.id for p in found):
                there = next((p.id for p in self._world.versions(ref.pkgname) if p.id in self._inside), None)
                if there is not None:
                    bars.append(f"it requires {_said(ref)}, and {there} is there{said_at(ref)}")
        return bars


def why_not(request: Request, universe: PackageSet, installed: tuple[Package, ...], wanted: Package) -> tuple[str, ...]:
    """Why `wanted` is not in the solution: a contradiction as a chain, or what would be worse with it.

    Raises Unsatisfiable if the request has no solution even without it.
    """
    world = World(universe, installed)
    chosen = decide(world, request)
    there = chosen.by_name.get(wanted.id.pkgname)
    if there is not None and there.id == wanted.id:
        return (f"{wanted.id} is in the solution",)
    exact = wanted.id.exact
    forced = Request((*request.wanted, exact), request.held, request.unwanted)
    try:
        other = decide(world, forced)
    except Unsatisfiable as err:
        return (err.message,) if err.reason == "too-hard" else err.chain
    worse = _worse(chosen, other, world, wanted)
    if worse:
        return worse
    return (f"nothing that is chosen needs {wanted.id.pkgname}",)


def _ways(solution: Solution) -> dict[PackageId, Package | None]:
    """For each package that a request reaches the one before it on a shortest way; None for an answer itself."""
    edges = {p.id: targets for p, targets in solution.edges}
    before: dict[PackageId, Package | None] = {}
    level = []
    for _, answer in solution.answers:
        if answer.id not in before:
            before[answer.id] = None
            level.append(answer)
    while level:
        found: list[Package] = []
        for parent in level:
            for child in edges.get(parent.id, ()):
                if child.id not in before:
                    before[child.id] = parent
                    found.append(child)
        level = found
    return before


def _worse(chosen: Chosen, other: Chosen, world: World, asked: Package) -> tuple[str, ...]:
    """The first thing the optimum has and the forced solution has not."""
    for decision in chosen.decisions:
        package = decision.package
        if package is None or decision.what != "wanted":
            continue
        instead = other.by_name.get(package.id.pkgname)
        if instead is None or instead.id != package.id:
            if instead is not None and _is_older(asked, instead, package):
                return (_older(instead, package),)
            return (_instead(package, instead, "it is wanted and comes first"),)
    for what, count in (("removed", _removed), ("changed", _changed)):
        before, after = count(chosen, world), count(other, world)
        if len(after) > len(before):
            return (f"then more installed packages would be {what}: {', '.join(sorted(after - before))}",)
    for decision in chosen.decisions:
        package = decision.package
        if package is None or decision.what == "wanted":
            continue
        instead = next((p for p in world.matches(decision.ref) if id(p) in other.there), None)
        if instead is not None and instead is not package:
            if not world.is_installed(package) and _is_older(asked, instead, package):
                return (_older(instead, package),)
            why = "it is installed" if world.is_installed(package) else "its decision comes first"
            return (_instead(package, instead, why),)
    return ()


def _is_older(asked: Package, instead: Package, package: Package) -> bool:
    """Whether all that is to say of what was asked for is that there is a newer version."""
    same = instead.id == asked.id and instead.id.pkgname == package.id.pkgname
    return same and compare(instead.id.version, package.id.version) < 0


def _older(instead: Package, package: Package) -> str:
    return f"{package.id} is newer than {instead.id}, and nothing bars it"


def _instead(package: Package, instead: Package | None, because: str) -> str:
    other = f"{instead.id} would be there instead of {package.id}" if instead else f"{package.id} could not be there"
    return f"then {other}, and {because}"


def _removed(chosen: Chosen, world: World) -> set[str]:
    return {name for name in world.installed_names if name not in chosen.by_name}


def _changed(chosen: Chosen, world: World) -> set[str]:
    return {
        name
        for name in world.installed_names
        if name in chosen.by_name and chosen.by_name[name].id not in world.installed
    }


def _said(ref: PackageRef) -> str:
    return str(ref) if ref.version else f"{ref.pkgname} (any version)"
