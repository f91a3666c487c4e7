"""Laws of the solver: the order of the input and what is beside the point change nothing; minima are exact."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.solver_worlds import Distribution, ref
from tests.property.test_solver_oracle import make
from treebuilder.errors import Unsatisfiable
from treebuilder.model.package import Package, PackageId, PackageRef
from treebuilder.model.packageset import MemoryPackages
from treebuilder.model.solution import Request, Solution
from treebuilder.records import replace
from treebuilder.solver import PackageSolver
from treebuilder.solver.least import settle
from treebuilder.solver.oracle import Oracle
from treebuilder.solver.solver import EFFORT, ENGINE

Answer = Solution | tuple[str, ...]


def answer(request: Request, packages: list[Package], installed: list[Package]) -> Answer:
    """The solution, or the whole error."""
    try:
        return PackageSolver().solve(request, MemoryPackages(packages), tuple(installed), order="runtime")
    except Unsatisfiable as err:
        return (err.reason, err.message, *err.chain)


def shuffled(rng: random.Random, packages: list[Package]) -> list[Package]:
    """The packages in another order, and what each says in another order."""
    out = [
        replace(
            p,
            requires=tuple(rng.sample(p.requires, len(p.requires))),
            conflicts=tuple(rng.sample(p.conflicts, len(p.conflicts))),
            provides=tuple(rng.sample(p.provides, len(p.provides))),
        )
        for p in packages
    ]
    rng.shuffle(out)
    return out


def as_written(found: Answer) -> object:
    """An answer without the order in which its packages write down what they say."""
    if isinstance(found, tuple):
        return found
    return (
        tuple(p.id for p in found.packages), tuple((p.id, tuple(t.id for t in targets)) for p, targets in found.edges),
        tuple(p.id for p in found.order), tuple((ref, p.id) for ref, p in found.answers),
    )  # fmt: skip


@pytest.mark.parametrize("first", range(0, 30, 10))
def test_fifty_shuffles_one_answer(first: int) -> None:
    kinds = set()
    for seed in range(first, first + 10):
        rng = random.Random(seed)
        case = make(rng)
        world = [p.real() for p in case.world]
        installed = [p.real() for p in case.world if p.key in case.installed]
        request = Request(tuple(r.real() for r in case.wanted), unwanted=tuple(r.real() for r in case.unwanted))
        answers = [as_written(answer(request, shuffled(rng, world), shuffled(rng, installed))) for _ in range(50)]
        assert all(found == answers[0] for found in answers), seed
        kinds.add(isinstance(answer(request, world, installed), Solution))
    assert kinds == {True, False}


def test_shuffling_a_distribution_changes_nothing() -> None:
    world = Distribution(800)
    wanted = tuple(random.Random(2).sample(world.applications(), 40))
    found = {
        str(as_written(answer(Request(wanted), shuffled(random.Random(seed), world.packages), [])))
        for seed in range(12)
    }
    assert len(found) == 1


def test_unrelated_packages_change_nothing() -> None:
    more = [
        Package(PackageId("c", "zoo", "1"), (PackageRef("c", "a"),), (PackageRef("c", "b", ">=0"),)),
        Package(PackageId("c", "aa", "9"), (PackageRef("c", "missing"), PackageRef("c", "d"))),
        Package(PackageId("b", "a", "9"), (), (PackageRef("c", "a"), PackageRef("c", "c"))),
    ]
    for seed in range(300):
        case = make(random.Random(seed))
        world = [p.real() for p in case.world]
        installed = [p.real() for p in case.world if p.key in case.installed]
        request = Request(tuple(r.real() for r in case.wanted))
        assert answer(request, world, installed) == answer(request, world + more, installed), seed


def test_the_least_number_is_exact_and_leaves_every_optimum() -> None:
    """Against all assignments: those that remain are those with the fewest true literals."""
    size = 8
    for seed in range(150):
        rng = random.Random(seed)
        clauses = [
            [v if rng.random() < 0.75 else -v for v in rng.sample(range(1, size + 1), rng.randint(1, 3))]
            for _ in range(rng.randint(4, 12))
        ]
        counted = sorted(rng.sample(range(1, size + 1), rng.randint(2, 6)))
        models = [
            bits for bits in itertools.product((False, True), repeat=size)
            if all(any(bits[abs(x) - 1] == (x > 0) for x in clause) for clause in clauses)
        ]  # fmt: skip
        if not models:
            continue
        costs = [sum(bits[v - 1] for v in counted) for bits in models]
        best = {bits for bits, cost in zip(models, costs, strict=True) if cost == min(costs)}
        oracle = Oracle(ENGINE, clauses, EFFORT)
        fresh = itertools.count(size + 1)
        settle(oracle, lambda fresh=fresh: next(fresh), counted)  # type: ignore[misc]
        for bits in models:
            assert oracle.ask([v if bit else -v for v, bit in enumerate(bits, 1)]) == (bits in best), (seed, bits)
        oracle.close()


def test_a_request_for_everything_is_the_newest_of_everything_where_nothing_bars_it() -> None:
    world = Distribution(400)
    newest = {p.id.pkgname: p.id.version for p in world.packages}
    names = [ref(name, category=name.rstrip("0123456789")) for name in world.names]
    free = [Package(p.id) for p in world.packages]
    found = PackageSolver().solve(Request(tuple(names)), MemoryPackages(free), ())
    assert {p.id.pkgname: p.id.version for p in found.packages} == newest


ODD = st.sampled_from(
    ["", "1", "2", "1.0", ">=1", "<2", "!=1", "!1", ">=", "=>", ">=1,<2", "abc", ">=abc", "~1", "1:", "*"]
)
REFS = st.lists(st.builds(PackageRef, st.sampled_from(["", "c"]), st.sampled_from("abv"), ODD), max_size=2).map(tuple)
ODD_PACKAGES = st.lists(
    st.builds(
        lambda name, version, requires, conflicts, provides: Package(
            PackageId("c", name, version), requires, conflicts, provides
        ),
        st.sampled_from("ab"), ODD, REFS, REFS, REFS,
    ),
    max_size=5, unique_by=lambda p: p.id,
)  # fmt: skip


@settings(max_examples=250, deadline=None)
@given(ODD_PACKAGES, REFS, REFS, st.data())
def test_odd_worlds_have_an_answer_or_a_reason(
    packages: list[Package], wanted: tuple[PackageRef, ...], unwanted: tuple[PackageRef, ...], data: st.DataObject
) -> None:
    installed = data.draw(st.lists(st.sampled_from(packages), unique_by=lambda p: p.id)) if packages else []
    found = answer(Request(wanted, unwanted=unwanted), packages, installed)
    if isinstance(found, Solution):
        assert [ref for ref, _ in found.answers] == list(wanted)
        assert len({p.id.pkgname for p in found.packages}) == len(found.packages)
    else:
        assert found[0] in ("unknown-package", "no-version", "unsatisfiable")
        assert len(found) > 2
    assert as_written(found) == as_written(answer(Request(wanted, unwanted=unwanted), packages[::-1], installed[::-1]))
