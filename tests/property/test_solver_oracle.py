"""The solver against brute force: over thousands of small random worlds the optimum is the same.

The oracle knows nothing of the solver's parts: own matching over whole numbers, every assignment tried, and the
vector of the decisions written down from the rules in the issue.
"""

from __future__ import annotations

import itertools
import operator
import random
from collections.abc import Callable
from dataclasses import dataclass

from treebuilder.errors import Unsatisfiable
from treebuilder.model.package import Package, PackageId, PackageRef
from treebuilder.model.packageset import MemoryPackages
from treebuilder.model.solution import Request
from treebuilder.solver import PackageSolver

Key = tuple[str, int]
OPS: dict[str, Callable[[int, int], bool]] = {
    ">=": operator.ge,
    "<": operator.lt,
    "=": operator.eq,
    "": lambda a, b: True,
}


@dataclass(frozen=True)
class Ref:
    name: str
    op: str
    version: int

    def real(self) -> PackageRef:
        if self.op == "exact":
            return PackageRef("c", self.name, str(self.version))
        return PackageRef("c", self.name, f"{self.op}{self.version}" if self.op else "")


@dataclass(frozen=True)
class Pkg:
    name: str
    version: int
    requires: tuple[Ref, ...]
    conflicts: tuple[Ref, ...]
    provides: tuple[Ref, ...]

    @property
    def key(self) -> Key:
        return self.name, self.version

    def real(self) -> Package:
        return Package(
            PackageId("c", self.name, str(self.version)),
            requires=tuple(r.real() for r in self.requires),
            conflicts=tuple(r.real() for r in self.conflicts),
            provides=tuple(r.real() for r in self.provides),
        )


@dataclass(frozen=True)
class Case:
    world: tuple[Pkg, ...]
    wanted: tuple[Ref, ...]
    installed: tuple[Key, ...]
    held: tuple[str, ...]
    unwanted: tuple[Ref, ...]


def make(rng: random.Random) -> Case:
    names = "abcde"[: rng.randint(2, 5)]
    targets = [*names, *rng.choice(["", "v", "vz"])]

    def some_ref() -> Ref:
        op = rng.choice(["", "", "", ">=", ">=", "<", "=", "exact"])
        return Ref(rng.choice(targets), op, rng.randint(1, 3))

    world = []
    for name in names:
        for version in range(1, rng.randint(1, 3) + 1):
            provides = (Ref("v", rng.choice(["exact", ">="]), rng.randint(1, 2)),) if rng.random() < 0.2 else ()
            world.append(
                Pkg(
                    name, version,
                    tuple(some_ref() for _ in range(rng.choice([0, 0, 1, 1, 2]))),
                    tuple(some_ref() for _ in range(rng.choice([0, 0, 0, 1]))),
                    provides,
                )
            )  # fmt: skip
    wanted = tuple(some_ref() for _ in range(rng.randint(1, 2)))
    installed: list[Key] = []
    if rng.random() < 0.6:
        installed = [rng.choice([p.key for p in world if p.name == n]) for n in names if rng.random() < 0.6]
    held = tuple(n for n, _ in installed if rng.random() < 0.1)
    unwanted = (some_ref(),) if rng.random() < 0.1 else ()
    return Case(tuple(world), wanted, tuple(installed), held, unwanted)


def make_full(rng: random.Random) -> Case:
    """Everything is installed, and what is wanted makes some of it go or change."""
    names = "abcdef"

    def other(name: str) -> Ref:
        return Ref(rng.choice([n for n in names if n != name]), rng.choice(["exact", ">=", "<"]), rng.randint(1, 2))

    world = [
        Pkg(name, version, tuple(other(name) for _ in range(rng.choice([0, 0, 1]))),
            tuple(other(name) for _ in range(rng.choice([0, 1, 1]))), ())
        for name in names
        for version in range(1, rng.randint(1, 2) + 1)
    ]  # fmt: skip
    wanted = tuple(Ref(n, rng.choice(["", ">="]), rng.randint(1, 2)) for n in rng.sample(names, rng.randint(1, 2)))
    return Case(tuple(world), wanted, tuple((n, 1) for n in names if rng.random() < 0.9), (), ())


def candidates(world: tuple[Pkg, ...], ref: Ref) -> list[Key]:
    op = "=" if ref.op == "exact" else ref.op
    real = sorted((p.key for p in world if p.name == ref.name and OPS[op](p.version, ref.version)), key=lambda k: -k[1])
    given = [p.key for p in world if p.key not in real and any(stands_for(g, ref) for g in p.provides)]
    return real + sorted(given, key=lambda k: (k[0], -k[1]))


def stands_for(given: Ref, ref: Ref) -> bool:
    if given.name != ref.name:
        return False
    if given == ref or ref.op == "":
        return True
    if ref.op == "exact":
        return OPS["=" if given.op == "exact" else given.op](ref.version, given.version)
    return given.op == "exact" and OPS[ref.op](given.version, ref.version)


def optimum(case: Case) -> tuple[list[int], frozenset[Key]] | None:
    by_name: dict[str, list[int]] = {}
    for p in case.world:
        by_name.setdefault(p.name, []).append(p.version)
    names = sorted(by_name)
    packages = {p.key: p for p in case.world}
    installed = dict(case.installed)
    answers = {r: candidates(case.world, r) for p in case.world for r in (*p.requires, *p.conflicts)}
    for r in (*case.wanted, *case.unwanted):
        answers[r] = candidates(case.world, r)

    def was(key: Key) -> bool:
        return installed.get(key[0]) == key[1]

    def needs(key: Key) -> list[Ref]:
        return [r for r in packages[key].requires if answers[r] or not was(key)]

    def allowed(model: frozenset[Key]) -> bool:
        if any(not model & set(answers[r]) for r in case.wanted):
            return False
        if any((n, installed[n]) not in model for n in case.held) or any(
            any(key[0] == r.name for key in model & set(answers[r])) for r in case.unwanted
        ):
            return False
        for key in model:
            if any(not model & set(answers[r]) for r in needs(key)):
                return False
            for r in packages[key].conflicts:
                if any(k != key and k in model and not (was(k) and was(key)) for k in answers[r]):
                    return False
        return True

    def vector(model: frozenset[Key]) -> tuple[list[int], frozenset[Key]]:
        first = [next(i for i, k in enumerate(answers[r]) if k in model) for r in case.wanted]
        roots = [answers[r][i] for r, i in zip(case.wanted, first, strict=True)]
        present = dict(model)
        out = [*first, sum(n not in present for n in installed),
               sum(present.get(n, v) != v for n, v in installed.items())]  # fmt: skip
        for n in sorted(installed):
            out.append(9 if n not in present else -present[n])
            if n in present:
                roots.append((n, present[n]))
        reached = set(roots)
        level = set(roots)
        while level:
            refs = {(r.name, r.real().version, r) for k in level for r in needs(k)}
            level = set()
            for _, _, r in sorted(refs, key=lambda item: item[:2]):
                if not reached & set(answers[r]):
                    rank = next(i for i, k in enumerate(answers[r]) if k in model)
                    out.append(rank)
                    reached.add(answers[r][rank])
                    level.add(answers[r][rank])
        return out, frozenset(reached)

    best: tuple[list[int], frozenset[Key]] | None = None
    for versions in itertools.product(*([0, *by_name[n]] for n in names)):
        model = frozenset((n, v) for n, v in zip(names, versions, strict=True) if v)
        if allowed(model):
            found = vector(model)
            if best is None or found[0] < best[0]:
                best = found
    return best


def solve(case: Case, rng: random.Random) -> frozenset[Key] | None:
    world = [p.real() for p in case.world]
    rng.shuffle(world)
    installed = [p.real() for p in case.world if p.key in case.installed]
    rng.shuffle(installed)
    request = Request(
        tuple(r.real() for r in case.wanted),
        held=tuple(PackageRef("c", n) for n in case.held),
        unwanted=tuple(r.real() for r in case.unwanted),
    )
    try:
        found = PackageSolver().solve(request, MemoryPackages(world), tuple(installed), order="runtime")
    except Unsatisfiable as err:
        return None if err.chain else frozenset()
    return frozenset((p.id.name, int(p.id.version)) for p in found.packages)


def check(makes: Callable[[random.Random], Case], seeds: range) -> tuple[int, int, int]:
    """Counts worlds that have no solution, in which the best was not free, and in which something installed went."""
    unsolvable = searched = lost = 0
    for seed in seeds:
        rng = random.Random(seed)
        case = makes(rng)
        best = optimum(case)
        found = solve(case, rng)
        assert found == (None if best is None else best[1]), (seed, case, best)
        unsolvable += best is None
        searched += best is not None and any(best[0][: len(case.wanted)])
        lost += best is not None and best[0][len(case.wanted)] > 0
    return unsolvable, searched, lost


def test_brute_force_finds_nothing_better() -> None:
    unsolvable, searched, _ = check(make, range(4000))
    assert unsolvable > 300  # the worlds are no easy ones
    assert searched > 100


def test_brute_force_finds_no_cheaper_change_of_what_is_installed() -> None:
    _, _, lost = check(make_full, range(600))
    assert lost > 50
