"""The search: one SAT solver, asked again and again under assumptions; what is decided becomes a fact."""

from __future__ import annotations

from treebuilder.model.package import Package
from treebuilder.solver.encode import Encoding
from treebuilder.solver.least import settle
from treebuilder.solver.oracle import Oracle, Undecided
from treebuilder.solver.walk import Chosen

_WISHES = 4000  # refusals while looking for a good assignment to start from
_EASY = 200  # conflicts that one such refusal may take


class Infeasible(Exception):
    """No assignment satisfies the clauses and the demands."""


class SearchChooser:
    """Decides by asking whether the better choice still leads to a solution. Raises Infeasible at the start, Undecided
    at any time."""

    def __init__(self, encoding: Encoding, oracle: Oracle) -> None:
        self._encoding = encoding
        self._oracle = oracle
        oracle.add([demand] for demand in encoding.demands)
        self._start_near_the_best()

    def best(self, candidates: tuple[Package, ...], chosen: Chosen) -> Package:
        found = self._first(candidates, chosen)
        assert found is not None, "a requirement that holds in the model has an answer"
        return found

    def keep(self, pkgname: str, chosen: Chosen) -> Package | None:
        return self._first(self._encoding.world.versions(pkgname), chosen)

    def settle_installed(self, chosen: Chosen) -> None:
        encoding, world = self._encoding, self._encoding.world
        gone: list[int] = []
        changed: list[int] = []
        for name in world.installed_names:
            versions = world.versions(name)
            is_gone, is_changed = encoding.fresh(), encoding.fresh()
            self._oracle.add([[is_gone, *map(encoding.variable, versions)]])
            self._oracle.add([-encoding.variable(p), is_changed] for p in versions if not world.is_installed(p))
            gone.append(is_gone)
            changed.append(is_changed)
        settle(self._oracle, encoding.fresh, gone)
        settle(self._oracle, encoding.fresh, changed)

    def _start_near_the_best(self) -> None:
        """Finds an assignment in which most packages are what the walk would choose: then hardly any decision
        needs a question of its own.

        Only speed depends on this. Of wishes that cannot hold together the last one is taken back one version.
        """
        wishes = self._wishes()
        place = {versions[0]: index for index, versions in enumerate(wishes)}
        wanted = [versions[0] for versions in wishes]
        try:
            for _ in range(_WISHES):
                if self._oracle.ask(wanted, _EASY):
                    return
                if not self._oracle.core:
                    raise Infeasible
                last = max(self._oracle.core, key=place.__getitem__)
                index = place.pop(last)
                wishes[index].pop(0)
                if wishes[index]:
                    wanted[wanted.index(last)] = wishes[index][0]
                    place[wishes[index][0]] = index
                else:
                    wanted.remove(last)
        except Undecided:
            pass  # a wish may be hard to refuse; the question itself has all the effort that is left
        if not self._oracle.ask([]):
            raise Infeasible

    def _wishes(self) -> list[list[int]]:
        """The variables of each name's versions, best first, for all names that the best candidates lead to."""
        encoding, world = self._encoding, self._encoding.world
        queue: list[Package] = []
        names: set[str] = set()

        def reach(candidates: tuple[Package, ...]) -> None:
            if candidates and candidates[0].id.pkgname not in names:
                names.add(candidates[0].id.pkgname)
                queue.append(candidates[0])

        for ref in encoding.request.wanted:
            reach(world.matches(ref))
        for name in world.installed_names:
            reach(world.installed_of(name))
        for package in queue:  # grows on the way
            for _, _, candidates in world.needs(package):
                reach(candidates)
        wishes: list[list[int]] = []
        for package in queue:
            rest = [p for p in world.versions(package.id.pkgname) if p is not package]
            wishes.append([encoding.variable(p) for p in (package, *rest) if encoding.reaches(p)])
        return wishes

    def _first(self, candidates: tuple[Package, ...], chosen: Chosen) -> Package | None:
        for package in candidates:
            if id(package) in chosen.there:
                return package
            if package.id.pkgname in chosen.by_name:
                continue
            variable = self._encoding.variable(package)
            if self._oracle.says(variable) or self._oracle.ask([variable]):
                self._oracle.add([[variable]])
                return package
        return None
