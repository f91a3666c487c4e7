"""The solver: a walk that is greedy where it can be, and searched by SAT where it must."""

from __future__ import annotations

from typing import Literal

from treebuilder.model.package import Package
from treebuilder.model.packageset import PackageSet
from treebuilder.model.solution import Request, Solution
from treebuilder.solver.graph import edges_of, order_of
from treebuilder.solver.greedy import GreedyChooser, Stuck
from treebuilder.solver.walk import Chosen, walk
from treebuilder.solver.world import World

ENGINE = "glucose4"
EFFORT = 100_000  # conflicts for all questions about one request: seconds, on a world of thousands of packages


class PackageSolver:
    """Implements `model.solution.Solver`. The answer depends only on the request, on what it reaches and on what is
    installed: not on the order in which packages were loaded, and not on the SAT engine.

    `engine` is a PySAT solver's name (`oracle.ENGINES`); PySAT is imported only when the best candidates do not fit
    together. `effort` bounds the search, in conflicts; real trees need some hundreds. What answers what in the first
    universe that is asked, with nothing installed, is remembered: universes do not change.
    """

    def __init__(self, engine: str = ENGINE, effort: int = EFFORT) -> None:
        self._engine = engine
        self._effort = effort
        self._world: World | None = None

    def solve(
        self,
        request: Request,
        universe: PackageSet,
        installed: tuple[Package, ...],
        *,
        order: Literal["build", "runtime"] = "build",
    ) -> Solution:
        """The optimum of `solver.walk`'s order of decisions.

        Raises Unsatisfiable (reason "too-hard" where the effort did not suffice); SpecError for a build cycle.
        """
        world = World(universe, installed) if installed else self.world(universe)
        return solution(world, decide(world, request, self._engine, self._effort), order)

    def world(self, universe: PackageSet) -> World:
        """The universe with nothing installed, and what is remembered of it."""
        if self._world is None:
            self._world = World(universe, ())
        return self._world if self._world.universe is universe else World(universe, ())


def decide(world: World, request: Request, engine: str = ENGINE, effort: int = EFFORT) -> Chosen:
    """Every decision, greedily or by search. Raises Unsatisfiable (reason "too-hard" beyond the effort)."""
    try:
        return walk(world, request, GreedyChooser(world, request))
    except Stuck:
        from treebuilder.solver.hard import search  # most runs never need it

        return search(world, request, engine, effort)


def solution(world: World, chosen: Chosen, order: Literal["build", "runtime"]) -> Solution:
    """The decisions as a Solution. Raises SpecError (reason "cycle") for a circle in a build order."""
    packages = tuple(sorted(chosen.by_name.values(), key=lambda p: (p.id.category, p.id.name)))
    edges = edges_of(world, packages)
    answers = tuple((d.ref, d.package) for d in chosen.decisions if d.what == "wanted" and d.package is not None)
    return Solution(
        packages=packages,
        edges=tuple((package, edges[package.id]) for package in packages),
        order=order_of([package for _, package in answers], edges, order),
        answers=answers,
    )
