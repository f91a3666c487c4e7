"""Answers to two questions: why is this version here, and why not another one."""

from __future__ import annotations

import itertools

from treebuilder.errors import Unsatisfiable
from treebuilder.model.package import Package, PackageId, PackageRef
from treebuilder.model.packageset import PackageSet
from treebuilder.model.solution import Request, Solution
from treebuilder.solver.solver import decide
from treebuilder.solver.unsat import core, sentences
from treebuilder.solver.walk import Chosen
from treebuilder.solver.world import World

_ENGINE = "glucose4"


def why(solution: Solution, universe: PackageSet, package: Package) -> tuple[str, ...]:
    """The shortest way from the request to `package`, everything else that needs it, and what bars newer versions.

    The first sentence is the most general. A package that is not in the solution gets one sentence that says so.
    """
    world = World(universe, solution.packages)
    inside = {p.id: p for p in solution.packages}
    if package.id not in inside:
        return (f"{package.id} is not in the solution",)
    path = _path(solution, package)
    out: list[str] = []
    if not path:
        out.append(f"{package.id} is installed, and nothing that is wanted needs it")
    else:
        refs = [_said(ref) for ref, answer in solution.answers if answer.id == path[0].id]
        out.append(f"{' and '.join(refs)} {'is' if len(refs) == 1 else 'are'} wanted: {path[0].id}")
        out += [s for a, b in itertools.pairwise(path) for s in _requires(world, a, b)]
    for other, targets in solution.edges:
        if any(t.id == package.id for t in targets) and (not path or len(path) < 2 or other.id != path[-2].id):
            out += _requires(world, other, package)
    out += _newer(world, solution, package)
    return tuple(dict.fromkeys(out))


def why_not(request: Request, universe: PackageSet, installed: tuple[Package, ...], wanted: Package) -> tuple[str, ...]:
    """Why `wanted` is not in the solution: a contradiction as a chain, or what would be worse with it.

    Raises Unsatisfiable if the request has no solution even without it.
    """
    world = World(universe, installed)
    chosen = decide(world, request, _ENGINE)
    there = chosen.by_name.get(wanted.id.pkgname)
    if there is not None and there.id == wanted.id:
        return (f"{wanted.id} is in the solution",)
    exact = PackageRef(wanted.id.category, wanted.id.name, wanted.id.version)
    forced = Request((*request.wanted, exact), request.held, request.unwanted)
    try:
        other = decide(world, forced, _ENGINE)
    except Unsatisfiable:
        return sentences(world, core(world, forced, _ENGINE))
    worse = _worse(chosen, other, world)
    if worse:
        return worse
    return (f"nothing that is chosen needs {wanted.id.pkgname}",)


def _path(solution: Solution, package: Package) -> list[Package]:
    """The shortest way from an answer of the request, first by the request's order; empty if there is none."""
    edges = {p.id: targets for p, targets in solution.edges}
    before: dict[PackageId, Package | None] = {}
    level = []
    for _, answer in solution.answers:
        if answer.id not in before:
            before[answer.id] = None
            level.append(answer)
    while level and package.id not in before:
        found: list[Package] = []
        for parent in level:
            for child in edges.get(parent.id, ()):
                if child.id not in before:
                    before[child.id] = parent
                    found.append(child)
        level = found
    if package.id not in before:
        return []
    path = [package]
    while (parent_of := before[path[-1].id]) is not None:
        path.append(parent_of)
    return path[::-1]


def _requires(world: World, package: Package, answer: Package) -> list[str]:
    out = []
    for ref in sorted(package.requires):
        if any(p.id == answer.id for p in world.matches(ref)):
            how = "" if ref.pkgname == answer.id.pkgname else f", provided by {answer.id}"
            out.append(f"{package.id} requires {_said(ref)}{how}{_at(ref)}")
    return out


def _newer(world: World, solution: Solution, package: Package) -> list[str]:
    """What in the solution bars each version newer than the chosen one, as far as it is said directly."""
    out = []
    for newer in world.versions(package.id.pkgname):
        if newer.id == package.id:
            break
        bars = [
            f"{p.id} requires {_said(ref)}{_at(ref)}"
            for p in solution.packages
            for ref in sorted(p.requires)
            if ref.pkgname == package.id.pkgname and newer.id not in {m.id for m in world.matches(ref)}
        ]
        bars += [f"{ref} is wanted{_at(ref)}" for ref, answer in solution.answers
                 if answer.id == package.id and newer.id not in {m.id for m in world.matches(ref)}]  # fmt: skip
        for p in solution.packages:
            if p.id == package.id:
                continue
            bars += [f"{p.id} conflicts with {ref}{_at(ref)}" for ref in sorted(p.conflicts)
                     if newer.id in {m.id for m in world.matches(ref)}]  # fmt: skip
            bars += [f"it conflicts with {p.id}{_at(ref)}" for ref in sorted(newer.conflicts)
                     if p.id in {m.id for m in world.matches(ref)}]  # fmt: skip
        bars += [f"it requires {_said(ref)}, which nothing answers{_at(ref)}" for ref in sorted(newer.requires)
                 if not world.matches(ref)]  # fmt: skip
        told = "; ".join(bars) if bars else "with it a decision that comes earlier would be worse"
        out.append(f"not {newer.id}: {told}")
    return out


def _worse(chosen: Chosen, other: Chosen, world: World) -> tuple[str, ...]:
    """The first thing the optimum has and the forced solution has not."""
    for decision in chosen.decisions:
        package = decision.package
        if package is None or decision.what != "wanted":
            continue
        instead = other.by_name.get(package.id.pkgname)
        if instead is None or instead.id != package.id:
            return (_instead(package, instead, "it is wanted and comes first"),)
    for what, count in (("removed", _removed), ("changed", _changed)):
        before, after = count(chosen, world), count(other, world)
        if len(after) > len(before):
            return (f"then more installed packages would be {what}: {', '.join(sorted(after - before))}",)
    for decision in chosen.decisions:
        package = decision.package
        if package is None or decision.what == "wanted":
            continue
        instead = other.by_name.get(package.id.pkgname)
        if instead is not None and instead.id != package.id:
            why = "it is installed" if package.id in world.installed else "its decision comes first"
            return (_instead(package, instead, why),)
    return ()


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


def _at(ref: PackageRef) -> str:
    return f" ({ref.where})" if ref.where.file else ""
