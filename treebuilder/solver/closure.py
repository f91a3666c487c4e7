"""What stands below a package by the best answers alone, for thousands of packages of one world.

Where that closure has one version of each name, no conflict and no circle in it, it is what a greedy walk chooses: each
reference is answered by its best candidate, or by the same package that is there already. Its order is made from the
orders of what it stands on, which costs next to nothing where those have been asked for before.

Everything else is left to the walk: also references that packages of several names answer, because there the one that
is chosen first decides.
"""

from __future__ import annotations

from collections.abc import Iterator

from treebuilder.model.package import Package, PackageRef
from treebuilder.model.solution import Solution
from treebuilder.solver.world import World

_KEPT = 4_000_000  # numbers in all orders that are remembered: a chain of n packages has n²/2
_Order = tuple[int, ...]


class Closures:
    """Orders of packages by number. The world has nothing installed."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._numbers: dict[int, int] = {}  # by the world's own objects
        self._packages: list[Package] = []
        self._places: list[tuple[str, str]] = []  # category and name: where a solution lists a package
        self._below: dict[int, _Order | None] = {}
        self._refused: dict[int, frozenset[int]] = {}
        self._orders: dict[int, _Order | None] = {}
        self._room = _KEPT

    def solution(self, ref: PackageRef) -> Solution | None:
        """The answer to a request for this alone; None where it takes more than the best answers."""
        found = self._world.matches(ref)
        order = self._order(self._number(found[0])) if found else None
        if order is None:
            return None
        packages, below = self._packages, self._below
        answers = {n: tuple([packages[m] for m in below[n] or ()]) for n in order}
        listed = sorted(order, key=self._places.__getitem__)
        return Solution(
            packages=tuple([packages[n] for n in listed]),
            edges=tuple([(packages[n], answers[n]) for n in listed]),
            order=tuple([packages[n] for n in order]),
            answers=((ref, found[0]),),
        )

    def _number(self, package: Package) -> int:
        number = self._numbers.get(id(package))
        if number is None:
            number = self._numbers[id(package)] = len(self._packages)
            self._packages.append(package)
            self._places.append((package.id.category, package.id.name))
        return number

    def _direct(self, number: int) -> _Order | None:
        """The best answers to a package's requires, by ascending fingerprint; None where there is a choice to make."""
        if number in self._below:
            return self._below[number]
        package = self._packages[number]
        best = self._world.best(package)
        if best is None or not all(c and _of_one_name(c) for _, _, c in self._world.needs(package)):
            self._below[number] = None
            return None
        below = self._below[number] = tuple([self._number(p) for p in best])
        others = [p for ref in package.conflicts for p in self._world.matches(ref) if p is not package]
        if others:
            self._refused[number] = frozenset([self._number(p) for p in others])
        return below

    def _order(self, root: int) -> _Order | None:
        """What a package stands on, itself last; None if the best answers do not fit together."""
        if root in self._orders:
            return self._orders[root]
        order = self._walked(root)
        if order is not None and not self._fits(order):
            order = self._orders[root] = None
        elif order is not None and len(order) <= self._room:
            self._room -= len(order)
            self._orders[root] = order
        return order

    def _walked(self, root: int) -> _Order | None:
        """Depth first. What reaches a circle, or what is known to fit with nothing, does so itself."""
        orders = self._orders
        found: dict[int, None] = {}
        below = self._direct(root)
        path: dict[int, None] = {root: None}
        stack: list[tuple[int, Iterator[int]]] = [(root, iter(below or ()))]
        while stack and below is not None:
            number, rest = stack[-1]
            for step in rest:
                if step in found:
                    continue
                known = orders.get(step, ())
                if known:
                    found.update(dict.fromkeys(known))
                    continue
                below = None if known is None or step in path else self._direct(step)
                if below is not None:
                    path[step] = None
                    stack.append((step, iter(below)))
                break
            else:
                stack.pop()
                del path[number]
                found[number] = None
        if below is None:
            orders.update(dict.fromkeys(path))
            return None
        return tuple(found)

    def _fits(self, order: _Order) -> bool:
        places = self._places
        if len({places[n] for n in order}) < len(order):
            return False
        refused = self._refused
        return not refused or all(refused[n].isdisjoint(order) for n in order if n in refused)


def _of_one_name(candidates: tuple[Package, ...]) -> bool:
    first = candidates[0].id
    return len(candidates) == 1 or all(p.id.name == first.name and p.id.category == first.category for p in candidates)
