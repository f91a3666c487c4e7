"""The solver's fast paths say what the search says: greedy walks with lessons, and closures of the best answers."""

from __future__ import annotations

import itertools
import random
from contextlib import suppress
from typing import Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.solver_worlds import Distribution
from tests.property.test_solver_oracle import make
from treebuilder.errors import SpecError, TreebuildError, Unsatisfiable
from treebuilder.model.package import Package, PackageId, PackageRef
from treebuilder.model.packageset import MemoryPackages
from treebuilder.model.solution import Request
from treebuilder.solver import PackageSolver
from treebuilder.solver.closure import Closures
from treebuilder.solver.greedy import DeadEnd, GreedyChooser, Lessons, Stuck
from treebuilder.solver.hard import search
from treebuilder.solver.oracle import ENGINES
from treebuilder.solver.solver import EFFORT, ENGINE, decide, solution
from treebuilder.solver.walk import walk
from treebuilder.solver.world import World

NAMES = "abcdef"
SELECTORS = (">=0", ">=2", "<2", "<3", "1", "2", "")
SEEDS = st.integers(0, 10**9)


def tangled(rng: random.Random, *, circles: bool = True) -> list[Package]:
    """A world in which a first choice is often regretted later, or wrong from the start."""
    out = []
    for at, name in enumerate(NAMES):
        below = NAMES if circles and rng.random() < 0.3 else NAMES[at + 1 :]
        others = [n for n in below if n != name or rng.random() < 0.2]

        def said(most: int, others: list[str] = others) -> tuple[PackageRef, ...]:
            found = rng.sample(others, min(len(others), rng.randint(0, most)))
            ghost = ["ghost"] if rng.random() < 0.03 else []
            return tuple(PackageRef("c", n, rng.choice(SELECTORS)) for n in [*found, *ghost])

        for version in range(1, rng.randint(1, 3) + 1):
            conflicts = said(1) if rng.random() < 0.15 else ()
            provides = (PackageRef("c", rng.choice(NAMES), "2"),) if rng.random() < 0.1 else ()
            out.append(Package(PackageId("c", name, str(version)), said(3), conflicts, provides))
    return out


def requests(rng: random.Random) -> list[Request]:
    def ref() -> PackageRef:
        return PackageRef("c", rng.choice(NAMES), rng.choice(SELECTORS))

    return [Request(tuple(ref() for _ in range(rng.choice((1, 1, 2, 3))))) for _ in range(6)]


def decisions(world: World, request: Request, lessons: Lessons | None) -> object:
    """What is decided, with `lessons` or by the search alone; or the error, whole."""
    try:
        made = search(world, request, ENGINE, EFFORT) if lessons is None else decide(world, request, lessons=lessons)
    except Unsatisfiable as err:
        return err.reason, err.message, err.chain
    return [(d.what, d.ref, d.package) for d in made.decisions]


@settings(max_examples=150, deadline=None)
@given(SEEDS)
def test_lessons_change_no_answer(seed: int) -> None:
    """Also those that were learned from other requests."""
    rng = random.Random(seed)
    world = World(MemoryPackages(tangled(rng)), ())
    lessons = Lessons(world)
    for request in requests(rng):
        assert decisions(world, request, lessons) == decisions(world, request, None), request


@settings(max_examples=150, deadline=None)
@example(756)  # an installed package provides the name that is held
@given(SEEDS)
def test_dead_ends_among_installed_packages_change_no_answer(seed: int) -> None:
    """Nor where some are held or unwanted: what is learned then is true for this request only."""
    rng = random.Random(seed)
    packages = tangled(rng)
    installed: tuple[Package, ...] = ()
    with suppress(TreebuildError):
        some = MemoryPackages(rng.sample(packages, len(packages) * 2 // 3))
        installed = PackageSolver().solve(requests(rng)[0], some, (), order="runtime").packages
    world = World(MemoryPackages(packages), installed)
    for request in requests(rng):
        unwanted = (PackageRef("c", rng.choice(NAMES), rng.choice(SELECTORS)),) if rng.random() < 0.3 else ()
        held = (PackageRef("c", rng.choice(installed).id.name),) if installed and rng.random() < 0.3 else ()
        asked = Request(request.wanted, held, unwanted)
        assert decisions(world, asked, Lessons(world)) == decisions(world, asked, None), asked


def test_most_dead_ends_are_left_by_lessons() -> None:
    """Otherwise the laws above say nothing of them."""
    left = searched = 0
    for seed in range(200):
        rng = random.Random(seed)
        world = World(MemoryPackages(tangled(rng)), ())
        lessons = Lessons(world)
        for request in requests(rng):
            ends, own = 0, Lessons(world)
            while True:
                try:
                    walk(world, request, GreedyChooser(world, request, lessons, own))
                    left += ends > 0
                except DeadEnd:
                    ends += 1
                    continue
                except Stuck:
                    try:
                        search(world, request, ENGINE, EFFORT)
                        searched += 1
                    except Unsatisfiable:
                        pass
                break
    assert left > 100
    assert searched < left / 2  # where a reference that is wanted has no answer left


@settings(max_examples=100, deadline=None)
@given(SEEDS)
@example(562244960)  # what was learned of one request counted for all
def test_every_lesson_is_true(seed: int) -> None:
    """Against all sets of versions: none that hangs together holds all members of a lesson."""
    rng = random.Random(seed)
    packages = tangled(rng)
    world = World(MemoryPackages(packages), ())
    learned: list[frozenset[int]] = []

    class Noted(Lessons):
        def learn(self, members: frozenset[int]) -> bool:
            learned.append(members)
            return super().learn(members)

    lessons = Noted(world)
    for request in requests(rng):
        decisions(world, request, lessons)
    versions = [[None, *world.versions(f"c/{name}")] for name in NAMES]
    for picked in itertools.product(*versions) if learned else ():
        there = {id(p): p for p in picked if p is not None}
        met = [lesson for lesson in learned if lesson <= there.keys()]
        if met and all(
            all(any(id(q) in there for q in world.matches(ref)) for ref in p.requires)
            and not any(q is not p and id(q) in there for ref in p.conflicts for q in world.matches(ref))
            for p in there.values()
        ):
            raise AssertionError((list(there.values()), met))


@settings(max_examples=200, deadline=None)
@given(SEEDS, st.sampled_from(("build", "runtime")), st.booleans())
def test_closures_are_the_walk(seed: int, order: Literal["build", "runtime"], circles: bool) -> None:
    """Where a closure answers, the whole solution is the search's; asked in any order."""
    rng = random.Random(seed)
    packages = tangled(rng, circles=circles)
    world = World(MemoryPackages(packages), ())
    closures = Closures(world)
    for package in rng.sample(packages, len(packages)):
        ref = PackageRef("c", package.id.name, rng.choice((*SELECTORS, package.id.version)))
        found = closures.solution(ref)
        if found is not None:
            assert found == solution(world, search(world, Request((ref,)), ENGINE, EFFORT), order)


def test_closures_answer_where_nothing_bars_the_best() -> None:
    world = Distribution(400)
    free = [
        Package(p.id, tuple(PackageRef(r.category, r.name, ">=0") for r in p.requires if r.category != "virtual"))
        for p in world.packages
    ]
    closures = Closures(World(MemoryPackages(free), ()))
    refs = [PackageRef(p.id.category, p.id.name, p.id.version) for p in free]
    assert all(closures.solution(ref) is not None for ref in refs)


@pytest.mark.parametrize("length", [1, 2, 3000])
def test_a_long_chain_is_no_deep_recursion(length: int) -> None:
    packages = [
        Package(PackageId("c", f"n{at}", "1"), (PackageRef("c", f"n{at + 1}", ">=0"),) if at + 1 < length else ())
        for at in range(length)
    ]
    solver = PackageSolver()
    universe = MemoryPackages(packages)
    for package in (packages[0], packages[length // 2], packages[0]):
        found = solver.solve(Request((PackageRef("c", package.id.name, "1"),)), universe, ())
        assert found.order == tuple(packages[packages.index(package) :][::-1])


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_a_circle_is_told_alike_whoever_was_asked_before(seed: int) -> None:
    rng = random.Random(seed)
    packages = tangled(rng)
    universe = MemoryPackages(packages)
    solver = PackageSolver()
    for package in rng.sample(packages, len(packages)):
        request = Request((PackageRef("c", package.id.name, package.id.version),))
        said = []
        for one in (solver, PackageSolver()):
            try:
                said.append(str(one.solve(request, universe, ()).order))
            except (Unsatisfiable, SpecError) as err:
                said.append(f"{err.reason} {err.message}")
        assert said[0] == said[1]


def test_twelve_shuffles_of_a_distribution_asked_for_each_package() -> None:
    """One solver for all of the requests, in another order of loading and asking each time, on each engine."""
    world = Distribution(600)
    answers = set()
    for run in range(12):
        rng = random.Random(run)
        packages = rng.sample(world.packages, len(world.packages))
        universe, solver = MemoryPackages(packages), PackageSolver(ENGINES[run % len(ENGINES)])
        said = {}
        for package in packages:
            id = package.id
            try:
                done = solver.solve(Request((PackageRef(id.category, id.name, id.version),)), universe, ())
                said[id] = [str(p.id) for p in done.order]
            except TreebuildError as err:
                said[id] = [err.message]
        answers.add(str(sorted(said.items())))
    assert len(answers) == 1


def test_universes_are_remembered_apart() -> None:
    """One solver asked about many, in turn, answers as a fresh one for each."""
    worlds = [[p.real() for p in make(random.Random(seed)).world] for seed in range(9)]
    universes = [MemoryPackages(packages) for packages in worlds]
    solver = PackageSolver()
    for turn in range(4):
        for packages, universe in zip(worlds, universes, strict=True):
            ref = PackageRef("c", packages[turn % len(packages)].id.name)
            said = []
            for one in (solver, PackageSolver()):
                try:
                    said.append(str(one.solve(Request((ref,)), universe, (), order="runtime").packages))
                except TreebuildError as err:
                    said.append(err.message)
            assert said[0] == said[1]
