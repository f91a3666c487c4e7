"""Generated package worlds: one like a distribution, and small ones that are hard on purpose. They never vary."""

from __future__ import annotations

import random
from collections.abc import Callable

from treebuilder.errors import Place
from treebuilder.model.package import Package, PackageId, PackageRef

_CORE, _LIBS = 0.05, 0.35  # shares of all names; the rest are applications
_VERSIONS = ((1, 2, 3, 4, 6), (35, 30, 20, 10, 5))


def ref(name: str, version: str = ">=0", category: str = "hard") -> PackageRef:
    return PackageRef(category, name, version)


def package(
    name: str,
    version: str,
    requires: list[PackageRef] | None = None,
    conflicts: list[PackageRef] | None = None,
    category: str = "hard",
) -> Package:
    place = Place(f"{category}/{name}/{version}/definition.yaml", 4)

    def said(refs: list[PackageRef] | None) -> tuple[PackageRef, ...]:
        return tuple(PackageRef(r.category, r.name, r.version, place) for r in refs or ())

    return Package(PackageId(category, name, version), said(requires), said(conflicts), where=place)


class Distribution:
    """`count` packages of layered names: core, libraries and applications, each on what lies below it.

    Up to six versions a name; selectors are mostly `>=X`, some `<X`, some exact; three in a hundred applications
    conflict with another one or with an old library; one library in a hundred provides a virtual name.
    Each application alone can be installed: bounds leave at least one version of everything.
    """

    def __init__(self, count: int, seed: int = 1) -> None:
        self._rng = random.Random(f"{count}/{seed}")
        sizes: list[int] = []
        while (left := count - sum(sizes)) > 0:
            sizes += [min(n, left) for n in self._rng.choices(*_VERSIONS, k=1)]
        self._core = max(3, int(len(sizes) * _CORE))
        self._libs = self._core + max(5, int(len(sizes) * _LIBS))
        self.names = [f"{self._layer(i)}{i:05d}" for i in range(len(sizes))]
        self._versions = [self._numbers(size) for size in sizes]
        virtuals = max(1, (self._libs - self._core) // 100)
        self._virtuals = [f"virtual{i:03d}" for i in range(virtuals)]
        self._provides = {self._rng.randrange(self._core, self._libs): name for name in self._virtuals}
        self.quarrels = self._enemies()
        self.packages = [p for i in range(len(sizes)) for p in self._package(i)]

    def applications(self) -> list[PackageRef]:
        """Every application that can be there together with all others."""
        barred = {*self.quarrels, *self.quarrels.values()}
        return [self._any(i) for i in range(self._libs, len(self.names)) if i not in barred]

    def everything(self) -> list[PackageRef]:
        """Every name that can be there together with all others."""
        barred = {*self.quarrels, *self.quarrels.values()}
        return [self._any(i) for i in range(len(self.names)) if i not in barred]

    def _layer(self, index: int) -> str:
        return "core" if index < self._core else "lib" if index < self._libs else "app"

    def _any(self, index: int) -> PackageRef:
        return ref(self.names[index], category=self._layer(index))

    def _numbers(self, size: int) -> list[str]:
        major, minor, out = self._rng.randint(0, 4), self._rng.randint(0, 9), []
        for _ in range(size):
            out.append(f"{major}.{minor}.{self._rng.randint(0, 9)}")
            if self._rng.random() < 0.25:
                major, minor = major + 1, 0
            else:
                minor += self._rng.randint(1, 3)
        return out

    def _enemies(self) -> dict[int, int]:
        apps = range(self._libs, len(self.names))
        pairs = {i: self._rng.choice(apps) for i in apps if self._rng.random() < 0.03}
        return {i: j for i, j in pairs.items() if i != j}

    def _below(self, index: int) -> int:
        if index < self._core or self._rng.random() < 0.35:
            return int(min(index, self._core) * self._rng.random() ** 2)
        high = min(index, self._libs)
        return self._core + int((high - self._core) * self._rng.random() ** 2.5)

    def _selector(self, versions: list[str]) -> str:
        dice = self._rng.random()
        if len(versions) == 1:
            return ">=0" if dice < 0.3 else f">={versions[0]}"
        if dice < 0.20:
            return ">=0"
        if dice < 0.92:
            return f">={self._rng.choice(versions[:-1])}"
        return f"<{versions[-1]}" if dice < 0.97 else versions[-2]

    def _package(self, index: int) -> list[Package]:
        layer = self._layer(index)
        low, high = {"core": (0, 2), "lib": (0, 4), "app": (1, 6)}[layer]
        base = sorted({self._below(index) for _ in range(self._rng.randint(low, high))} - {index}) if index else []
        versions = self._versions[index]
        return [self._one(index, layer, base, version == versions[-1], version) for version in versions]

    def _one(self, index: int, layer: str, base: list[int], newest: bool, version: str) -> Package:
        needs = [i for i in base if newest or self._rng.random() > 0.1]
        requires = [ref(self.names[i], self._selector(self._versions[i]), self._layer(i)) for i in needs]
        if layer == "app" and self._rng.random() < 0.02:
            requires.append(ref(self._rng.choice(self._virtuals), category="virtual"))
        conflicts: list[PackageRef] = []
        if index in self.quarrels:
            conflicts.append(self._any(self.quarrels[index]))
        elif needs and self._rng.random() < 0.03:
            other = self._rng.choice(needs)
            if len(self._versions[other]) > 2:
                conflicts.append(ref(self.names[other], f"<={self._versions[other][0]}", self._layer(other)))
        made = package(self.names[index], version, requires, conflicts, layer)
        given = self._provides.get(index)
        if given is None:
            return made
        return Package(made.id, made.requires, made.conflicts, (ref(given, category="virtual"),), where=made.where)


# hard worlds, each asked for as hard/root --------------------------------------------------------------------------
def _root(names: list[str]) -> Package:
    return package("root", "1", [ref(name) for name in names])


def queens(size: int) -> list[Package]:
    """A package is a row, a version a column, an attack a conflict. Can be had from 4 on."""
    out = [_root([f"q{row}" for row in range(size)])]
    for row in range(size):
        for column in range(size):
            attacks = [
                ref(f"q{other}", str(hit + 1))
                for other in range(row + 1, size)
                for hit in sorted({column, column + other - row, column - other + row})
                if 0 <= hit < size
            ]
            out.append(package(f"q{row}", str(column + 1), conflicts=attacks))
    return out


def pigeons(holes: int, birds: int = 0) -> list[Package]:
    """One bird more than holes (or `birds`): cannot be had, and resolution needs exponential effort to see it."""
    birds = birds or holes + 1
    out = [_root([f"p{i}" for i in range(birds)])]
    for i in range(birds):
        for hole in range(1, holes + 1):
            out.append(package(f"p{i}", str(hole), conflicts=[ref(f"p{j}", str(hole)) for j in range(i + 1, birds)]))
    return out


def permutation(size: int) -> list[Package]:
    """As many birds as holes: can be had."""
    return pigeons(size, size)


def clauses(size: int, ratio: float = 4.2, planted: bool = True) -> list[Package]:
    """Random 3-SAT: a variable is a package with versions 1 and 2, a clause one with three alternatives."""
    rng = random.Random(f"{size}/{ratio}/{planted}")
    truth = [rng.random() < 0.5 for _ in range(size)]
    out = [package(f"x{i}", version) for i in range(size) for version in ("1", "2")]
    names: list[str] = []
    while len(names) < int(size * ratio):
        literals = [(i, rng.random() < 0.5) for i in rng.sample(range(size), 3)]
        if planted and all(truth[i] != positive for i, positive in literals):
            continue
        names.append(f"c{len(names)}")
        for rank, (i, positive) in enumerate(literals, 1):
            out.append(package(names[-1], str(rank), [ref(f"x{i}", "2" if positive else "1")]))
    return [_root(names), *out]


def tight(size: int) -> list[Package]:
    """Random 3-SAT with too many clauses: cannot be had."""
    return clauses(size, 5.5, planted=False)


def diamonds(size: int, depth: int = 6) -> list[Package]:
    """Pairs of arms that agree on their oldest version only, and are met far apart: backtracking is exponential."""
    out = [_root([*(f"left{i}" for i in range(size)), "late"])]
    out.append(package("late", "1", [ref(f"right{i}") for i in range(size)]))
    for i in range(size):
        for k in range(1, depth + 1):
            far = k if k == 1 else depth + k
            out.append(package(f"left{i}", str(k), [ref(f"shared{i}", str(k))]))
            out.append(package(f"right{i}", str(k), [ref(f"shared{i}", str(far))]))
            out += [package(f"shared{i}", str(v)) for v in sorted({k, far})]
    return out


def chain(size: int, versions: int = 10) -> list[Package]:
    """Each version needs at least the same of the next name."""
    out = [_root(["p0"])]
    for i in range(size):
        for k in range(1, versions + 1):
            out.append(package(f"p{i}", str(k), [ref(f"p{i + 1}", f">={k}")] if i + 1 < size else []))
    return out


def hidden(size: int) -> list[Package]:
    """One contradiction of seven reasons behind `size` innocent names: cannot be had."""
    out = [_root([*(f"ok{i}" for i in range(size)), "appa", "appb"])]
    for i in range(size):
        out += [package(f"ok{i}", v, [ref(f"ok{i + 1}")] if i + 1 < size else []) for v in ("1", "2")]
    out += [package("appa", "1", [ref("liba", ">=2")]), package("appb", "1", [ref("libb", "<2")])]
    out += [package(lib, v, [ref("base", v)]) for lib in ("liba", "libb") for v in ("1", "2")]
    return [*out, package("base", "1"), package("base", "2")]


def enemies(size: int) -> list[Package]:
    """Everything conflicts with everything else, and two are wanted: cannot be had."""
    names = [f"e{i}" for i in range(size)]
    out = [package(n, "1", conflicts=[ref(o) for o in names if o != n]) for n in names]
    return [_root([names[0], names[-1]]), *out]


HARD: dict[str, Callable[[int], list[Package]]] = {
    "queens": queens, "pigeons": pigeons, "permutation": permutation, "clauses": clauses, "tight": tight,
    "diamonds": diamonds, "chain": chain, "hidden": hidden, "enemies": enemies,
}  # fmt: skip
