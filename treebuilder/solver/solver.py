"""The solver: a walk that is greedy where it can be, and searched by SAT where it must."""

from __future__ import annotations

from typing import Literal

from treebuilder.model.package import Package
from treebuilder.model.packageset import PackageSet
from treebuilder.model.solution import Request, Solution
from treebuilder.solver.encode import Encoding
from treebuilder.solver.graph import edges_of, order_of
from treebuilder.solver.greedy import GreedyChooser, Stuck
from treebuilder.solver.search import Infeasible, SearchChooser, open_sat
from treebuilder.solver.unsat import unsatisfiable
from treebuilder.solver.walk import Chosen, walk
from treebuilder.solver.world import World


class PackageSolver:
    """Implements `model.solution.Solver`. The answer depends only on the request, on what it reaches and on what is
    installed: not on the order in which packages were loaded, and not on the SAT engine.

    `engine` is a PySAT solver's name; PySAT is imported only when the best candidates do not fit together.
    """

    def __init__(self, engine: str = "glucose4") -> None:
        self._engine = engine

    def solve(
        self,
        request: Request,
        universe: PackageSet,
        installed: tuple[Package, ...],
        *,
        order: Literal["build", "runtime"] = "build",
    ) -> Solution:
        """The optimum of `solver.walk`'s order of decisions. Raises Unsatisfiable; SpecError for a build cycle."""
        world = World(universe, installed)
        return solution(world, decide(world, request, self._engine), order)


def decide(world: World, request: Request, engine: str) -> Chosen:
    """Every decision, greedily or by search. Raises Unsatisfiable."""
    try:
        return walk(world, request, GreedyChooser(world, request))
    except Stuck:
        pass
    encoding = Encoding(world, request)
    sat = open_sat(engine, encoding.clauses)
    try:
        return walk(world, request, SearchChooser(encoding, sat))
    except Infeasible:
        raise unsatisfiable(world, request, engine) from None
    finally:
        sat.delete()


def solution(world: World, chosen: Chosen, order: Literal["build", "runtime"]) -> Solution:
    """The decisions as a Solution. Raises SpecError (reason "cycle") for a circle in a build order."""
    packages = tuple(sorted(chosen.by_name.values(), key=lambda p: p.id))
    edges = edges_of(world, packages)
    answers = tuple((d.ref, d.package) for d in chosen.decisions if d.what == "wanted" and d.package is not None)
    return Solution(
        packages=packages,
        edges=tuple((package, edges[package.id]) for package in packages),
        order=order_of([package for _, package in answers], edges, order),
        answers=answers,
    )
