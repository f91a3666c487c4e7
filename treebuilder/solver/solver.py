"""The solver: a walk that is greedy where it can be, and searched by SAT where it must."""

from __future__ import annotations

from treebuilder.annotations import Literal
from treebuilder.model.package import Package
from treebuilder.model.packageset import PackageSet
from treebuilder.model.solution import Request, Solution
from treebuilder.records import record
from treebuilder.solver.closure import Closures
from treebuilder.solver.graph import edges_of, order_of
from treebuilder.solver.greedy import DeadEnd, GreedyChooser, Lessons, Stuck
from treebuilder.solver.walk import Chosen, walk
from treebuilder.solver.world import World

ENGINE = "glucose4"
EFFORT = 100_000  # conflicts for all questions about one request: seconds, on a world of thousands of packages
_RETRIES = 3_000  # candidates that walks look at after the first dead end: milliseconds, as a small search takes
_WORLDS = 4  # universes that are remembered


@record(frozen=False)
class _Known:
    """What has been found out about a universe with nothing installed."""

    world: World
    lessons: Lessons
    closures: Closures

    @staticmethod
    def of(universe: PackageSet) -> _Known:
        world = World(universe, ())
        return _Known(world, Lessons(world), Closures(world))


class PackageSolver:
    """Implements `model.solution.Solver`. The answer depends only on the request, on what it reaches and on what is
    installed: not on the order in which packages were loaded, and not on the SAT engine.

    `engine` is a PySAT solver's name (`oracle.ENGINES`); PySAT is imported only when the best candidates do not fit
    together. `effort` bounds the search, in conflicts; real trees need some hundreds. What answers what in the
    universes that were asked last, with nothing installed, is remembered: universes do not change.
    """

    def __init__(self, engine: str = ENGINE, effort: int = EFFORT) -> None:
        self._engine = engine
        self._effort = effort
        self._known: list[_Known] = []  # the one asked last is the last

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
        if installed:
            world = World(universe, installed)
            return solution(world, decide(world, request, self._engine, self._effort), order)
        known = self._about(universe)
        if len(request.wanted) == 1 and not (request.held or request.unwanted):
            found = known.closures.solution(request.wanted[0])
            if found is not None:
                return found
        return solution(known.world, decide(known.world, request, self._engine, self._effort, known.lessons), order)

    def world(self, universe: PackageSet) -> World:
        """The universe with nothing installed, and what is remembered of it."""
        return self._about(universe).world

    def _about(self, universe: PackageSet) -> _Known:
        found = next((known for known in self._known if known.world.universe is universe), None) or _Known.of(universe)
        self._known = [*[known for known in self._known if known is not found][1 - _WORLDS :], found]
        return found


def decide(
    world: World, request: Request, engine: str = ENGINE, effort: int = EFFORT, lessons: Lessons | None = None
) -> Chosen:
    """Every decision, greedily or by search. Raises Unsatisfiable (reason "too-hard" beyond the effort).

    `lessons` are those of earlier requests to the same world.
    """
    lessons = lessons or Lessons(world)
    own = Lessons(world)
    left, wary = _RETRIES, False
    try:
        while left > 0:
            chooser = GreedyChooser(world, request, lessons, own, wary=wary)
            try:
                return walk(world, request, chooser)
            except DeadEnd:
                left -= chooser.tried if wary else 0
                wary = True
    except Stuck:
        pass
    from treebuilder.solver.hard import search  # most runs never need it

    return search(world, request, engine, effort)


def solution(world: World, chosen: Chosen, order: Literal["build", "runtime"]) -> Solution:
    """The decisions as a Solution. Raises SpecError (reason "cycle") for a circle in a build order."""
    packages = tuple(sorted(chosen.by_name.values(), key=lambda p: (p.id.category, p.id.name)))
    edges = edges_of(world, packages)
    answers = tuple((d.ref, d.package) for d in chosen.decisions if d.what == "wanted" and d.package is not None)
    return Solution(
        packages=packages,
        edges=tuple((package, edges[id(package)]) for package in packages),
        order=order_of([package for _, package in answers], edges, order),
        answers=answers,
    )
