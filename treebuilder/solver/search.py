"""The search: one SAT solver, asked again and again under assumptions; what is decided becomes a fact."""

from __future__ import annotations

from typing import Protocol

from treebuilder.model.package import Package
from treebuilder.solver.encode import Encoding
from treebuilder.solver.walk import Chosen

_WISHES = 500  # attempts at a good first model


class Sat(Protocol):
    """The few methods of a PySAT solver that are used."""

    def solve(self, assumptions: list[int] = ...) -> bool | None: ...
    def solve_limited(self, assumptions: list[int] = ...) -> bool | None: ...
    def conf_budget(self, budget: int = ...) -> None: ...
    def get_model(self) -> list[int] | None: ...
    def get_core(self) -> list[int] | None: ...
    def add_clause(self, clause: list[int]) -> object: ...
    def set_phases(self, literals: list[int] = ...) -> None: ...
    def delete(self) -> None: ...


class Infeasible(Exception):
    """No assignment satisfies the clauses."""


def open_sat(engine: str, clauses: list[list[int]]) -> Sat:
    """A PySAT solver by its name ("glucose4", "cadical195"). Imported here: most runs never need it."""
    from pysat.solvers import Solver

    sat: Sat = Solver(name=engine, bootstrap_with=clauses)
    return sat


class SearchChooser:
    """Decides by asking whether the better choice still leads to a solution. Raises Infeasible at the start."""

    def __init__(self, encoding: Encoding, sat: Sat) -> None:
        self._encoding = encoding
        self._sat = sat
        self._model: list[int] = []
        if not self._ask([]):
            raise Infeasible
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
            self._sat.add_clause([is_gone, *(encoding.variable[p.id] for p in versions)])
            for package in versions:
                if package.id not in world.installed:
                    self._sat.add_clause([-encoding.variable[package.id], is_changed])
            gone.append(is_gone)
            changed.append(is_changed)
        self._minimise(gone)
        self._minimise(changed)

    def _start_near_the_best(self) -> None:
        """Finds a first model in which most packages are the newest: then few decisions need a question of their own.

        Only speed depends on this. Of each set of wishes that cannot hold together the last one is given up.
        """
        encoding, world = self._encoding, self._encoding.world
        wishes: dict[str, int] = {}
        for variable, package in enumerate(encoding.packages, 1):
            name = package.id.pkgname
            if name not in wishes:
                own = world.installed_of(name) or world.versions(name)
                wishes[name] = encoding.variable.get(own[0].id, variable)
        literals = list(wishes.values())
        for _ in range(_WISHES):
            if self._ask(literals):
                return
            core = set(self._sat.get_core() or ())
            dropped = next(literal for literal in reversed(literals) if literal in core)
            literals.remove(dropped)

    def _ask(self, assumptions: list[int]) -> bool:
        if not self._sat.solve(assumptions=assumptions):
            return False
        model = self._sat.get_model()
        assert model is not None
        self._model = model
        return True

    def _first(self, candidates: tuple[Package, ...], chosen: Chosen) -> Package | None:
        for package in candidates:
            there = chosen.by_name.get(package.id.pkgname)
            if there is not None and there.id != package.id:
                continue
            variable = self._encoding.variable[package.id]
            if self._model[variable - 1] > 0 or self._ask([variable]):
                self._sat.add_clause([variable])
                return package
        return None

    def _minimise(self, literals: list[int]) -> None:
        """Makes the number of true literals the least possible, for good. Exact: each refusal raises the bound by one.

        Only literals that some refusal named are counted, so a world of thousands with few troubles stays small.
        """
        if not literals:
            return
        counted: set[int] = set()
        bound = 0
        limit: list[int] = []
        while not self._ask([*(-x for x in literals if x not in counted), *limit]):
            core = self._sat.get_core() or []
            counted |= {-x for x in core} & set(literals)
            bound += 1
            limit = [-self._more_than(sorted(counted), bound)] if len(counted) > bound else []
        if bound == 0:
            for literal in literals:
                self._sat.add_clause([-literal])
        elif bound < len(literals):
            self._sat.add_clause([-self._more_than(literals, bound)])

    def _more_than(self, literals: list[int], bound: int) -> int:
        """A literal that is true if more than `bound` of the literals are (a sequential counter)."""
        row: list[int] = []
        for literal in literals:
            now = [self._encoding.fresh() for _ in range(min(len(row) + 1, bound + 1))]
            self._sat.add_clause([-literal, now[0]])
            for index, count in enumerate(row):
                self._sat.add_clause([-count, now[index]])
                if index + 1 < len(now):
                    self._sat.add_clause([-count, -literal, now[index + 1]])
            row = now
        return row[bound]
