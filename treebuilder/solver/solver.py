"""The solver: a walk that is greedy where it can be, and searched by SAT where it must."""

from __future__ import annotations

from typing import Literal

from treebuilder.model.package import Package
from treebuilder.model.packageset import PackageSet
from treebuilder.model.solution import Request, Solution
from treebuilder.solver.encode import Encoding
from treebuilder.solver.graph import edges_of, order_of
from treebuilder.solver.greedy import GreedyChooser, Stuck
from treebuilder.solver.oracle import EFFORT, Oracle, Undecided
from treebuilder.solver.search import Infeasible, SearchChooser
from treebuilder.solver.unsat import blamed, too_hard, unsatisfiable
from treebuilder.solver.walk import Chosen, walk
from treebuilder.solver.world import World


class PackageSolver:
    """Implements `model.solution.Solver`. The answer depends only on the request, on what it reaches and on what is
    installed: not on the order in which packages were loaded, and not on the SAT engine.

    `engine` is a PySAT solver's name (`oracle.ENGINES`); PySAT is imported only when the best candidates do not fit
    together. `effort` bounds the search, in conflicts; real trees need some hundreds.
    """

    def __init__(self, engine: str = "glucose4", effort: int = EFFORT) -> None:
        self._engine = engine
        self._effort = effort

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
        world = World(universe, installed)
        return solution(world, decide(world, request, self._engine, self._effort), order)


def decide(world: World, request: Request, engine: str = "glucose4", effort: int = EFFORT) -> Chosen:
    """Every decision, greedily or by search. Raises Unsatisfiable (reason "too-hard" beyond the effort)."""
    try:
        return walk(world, request, GreedyChooser(world, request))
    except Stuck:
        pass
    encoding = Encoding(world, request)
    oracle = Oracle(engine, encoding.clauses, effort)
    try:
        return walk(world, request, SearchChooser(encoding, oracle))
    except Infeasible:
        pass
    except Undecided:
        raise too_hard(request, effort) from None
    finally:
        oracle.close()
    raise unsatisfiable(world, blamed(encoding, engine), engine)


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
