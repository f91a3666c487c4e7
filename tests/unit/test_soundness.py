"""Validating many packages at once says of each what solving for it alone says."""

from __future__ import annotations

from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from treebuilder.app.soundness import troubles
from treebuilder.errors import TreebuildError, Unsatisfiable
from treebuilder.model.package import Package, PackageId, PackageRef
from treebuilder.model.packageset import MemoryPackages
from treebuilder.model.solution import Request
from treebuilder.plan.overlay import WithPackage
from treebuilder.solver import PackageSolver

NAMES = ("a", "b", "d", "e", "f")
REFS = st.builds(
    PackageRef, st.just("c"), st.sampled_from((*NAMES, "ghost")), st.sampled_from((">=0", ">=2", "<2", "2", "02"))
)


@st.composite
def worlds(draw: st.DrawFn) -> list[Package]:
    id = st.tuples(st.sampled_from(NAMES), st.sampled_from(("1", "2", "3", "02")))
    ids = draw(st.lists(id, min_size=1, max_size=9, unique=True))
    some = st.lists(REFS, max_size=2).map(tuple)
    rare = st.one_of(st.just(()), some)
    return [
        Package(PackageId("c", name, version), draw(some), draw(rare), draw(rare) if draw(st.booleans()) else ())
        for name, version in ids
    ]


@settings(max_examples=300, deadline=None)
@given(packages=worlds(), order=st.sampled_from(("build", "runtime")))
def test_troubles_are_those_of_each_alone(packages: list[Package], order: Literal["build", "runtime"]) -> None:
    universe = MemoryPackages(packages)
    alone: dict[PackageId, str] = {}  # why not
    for package in packages:
        try:
            PackageSolver().solve(
                Request((PackageRef("c", package.id.name, package.id.version),)), universe, (), order=order
            )
        except TreebuildError as err:
            alone[package.id] = err.message
    found = troubles(packages, universe, order)
    assert found.keys() == alone.keys()
    for id, fault in found.items():  # of several reasons, a conflict that is near is told first
        assert fault.reason == "unsatisfiable" or fault.message == alone[id]


@settings(max_examples=100, deadline=None)
@given(packages=worlds())
def test_a_solver_with_a_memory_answers_as_one_without(packages: list[Package]) -> None:
    universe = MemoryPackages(packages)
    solver = PackageSolver()
    for package in packages:
        request = Request((PackageRef("c", package.id.name, ">=0"),))
        said = []
        for one in (solver, PackageSolver()):
            try:
                said.append(str(one.solve(request, universe, (), order="runtime").order))
            except TreebuildError as err:
                said.append(err.message)
        assert said[0] == said[1]


def test_one_broken_package_does_not_hide_another() -> None:
    packages = [
        Package(PackageId("c", "a", "1"), (PackageRef("c", "ghost", ">=0"),)),
        Package(PackageId("c", "b", "1"), (PackageRef("c", "a", ">=0"),)),
        Package(PackageId("c", "d", "1"), (PackageRef("c", "e", ">=0"),)),
        Package(PackageId("c", "e", "1"), (PackageRef("c", "d", ">=0"),)),
        Package(PackageId("c", "f", "1")),
        Package(PackageId("c", "g", "1"), (PackageRef("c", "g", ">=0"),)),
    ]
    found = troubles(packages, MemoryPackages(packages), "build")
    assert [(id.name, err.reason) for id, err in found.items()] == [
        ("a", "unknown-package"), ("b", "unknown-package"), ("d", "cycle"), ("e", "cycle"), ("g", "cycle")
    ]  # fmt: skip
    assert [id.name for id in troubles(packages, MemoryPackages(packages), "runtime")] == ["a", "b"]


@settings(max_examples=100, deadline=None)
@given(packages=worlds(), instead=worlds())
def test_one_package_in_the_place_of_another(packages: list[Package], instead: list[Package]) -> None:
    other = instead[0]
    plain = MemoryPackages([other, *(p for p in packages if p.id != other.id)])
    laid = WithPackage(MemoryPackages(packages), other)
    assert laid.names() == plain.names()
    for name in (*plain.names(), "c/ghost"):
        assert laid.versions(name) == plain.versions(name)
        assert laid.providers(name) == plain.providers(name)
    assert all(laid.find(p.id) == plain.find(p.id) for p in (*packages, *instead))


def test_a_tree_of_missing_names_has_hints_for_some() -> None:
    """Names are compared with all others for the first packages only: the square of a tree takes minutes."""
    count = 1500
    packages = [
        Package(PackageId("c", f"name-{at}", "1"), requires=(PackageRef("c", f"nome-{at}", ">=0"),))
        for at in range(count)
    ]
    packages.append(Package(PackageId("c", "last", "1"), requires=(PackageRef("d", "name-7", ">=0"),)))
    found = troubles(packages, MemoryPackages(packages), "runtime")
    assert len(found) == count + 1
    hinted = [id for id, err in found.items() if isinstance(err, Unsatisfiable) and err.hint]
    assert 20 < len(hinted) < 500
    assert PackageId("c", "last", "1") in hinted  # another category is told of always


def test_a_ring_in_which_everything_conflicts_is_told_by_what_is_near() -> None:
    """Each is asked about some others, and not about the clauses of all: the cube of a tree takes minutes."""
    count = 150
    every = tuple(PackageRef("c", f"n{at}", ">=0") for at in range(count))
    packages = [
        Package(
            PackageId("c", f"n{at}", "1"), requires=(every[(at + 1) % count],),
            conflicts=(*every[:at], *every[at + 1 :]),
        )
        for at in range(count)
    ]  # fmt: skip
    found = troubles(packages, MemoryPackages(packages), "runtime")
    assert len(found) == count
    for at, package in enumerate(packages):
        err = found[package.id]
        assert isinstance(err, Unsatisfiable)
        assert f"c/n{at}-1 requires c/n{(at + 1) % count} >=0" in err.chain[1]
        assert 3 <= len(err.chain) <= 4
        assert " conflicts with " in err.chain[-1]
