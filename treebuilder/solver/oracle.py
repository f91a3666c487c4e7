"""One SAT solver, asked again and again under assumptions, with a bounded effort.

The bound is a number of conflicts, not seconds: the same request ends in the same way on every machine.
"""

from __future__ import annotations

from collections.abc import Iterable

from treebuilder.annotations import Protocol

ENGINES = ("glucose4", "glucose3", "minisat22")  # those of PySAT that can be stopped


class Sat(Protocol):
    """The few methods of a PySAT solver that are used."""

    def solve_limited(self, assumptions: list[int] = ...) -> bool | None: ...
    def conf_budget(self, budget: int = ...) -> None: ...
    def accum_stats(self) -> dict[str, int]: ...
    def get_model(self) -> list[int] | None: ...
    def get_core(self) -> list[int] | None: ...
    def add_clause(self, clause: list[int]) -> object: ...
    def delete(self) -> None: ...


class Undecided(Exception):
    """The effort is spent, and the question is open."""


class Oracle:
    """Answers "can all of these be true?". `model` is the last assignment that was found, `core` the last refusal.

    `engine` is one of `ENGINES`; PySAT is imported here, for most runs never need it. `close` frees the solver.
    """

    def __init__(self, engine: str, clauses: list[list[int]], effort: int) -> None:
        from pysat.solvers import Solver

        assert engine in ENGINES, engine
        self._sat: Sat = Solver(name=engine, bootstrap_with=clauses)
        self.left = effort
        self.model: list[int] = []
        self.core: list[int] = []

    def ask(self, assumptions: list[int], at_most: int | None = None) -> bool:
        """Raises Undecided when the effort, or `at_most` conflicts of it, did not suffice."""
        limit = self.left if at_most is None else min(at_most, self.left)
        if limit <= 0:
            raise Undecided
        before = self._sat.accum_stats()["conflicts"]
        self._sat.conf_budget(limit)
        answer = self._sat.solve_limited(assumptions=assumptions)
        self.left -= self._sat.accum_stats()["conflicts"] - before
        if answer is None:
            raise Undecided
        if answer:
            self.model = self._sat.get_model() or []
        else:
            self.core = self._sat.get_core() or []
        return answer

    def says(self, variable: int) -> bool:
        """Whether the variable is true in the last assignment."""
        return self.model[variable - 1] > 0

    def add(self, clauses: Iterable[list[int]]) -> None:
        """Adds facts. The last assignment need not satisfy them."""
        for clause in clauses:
            self._sat.add_clause(clause)

    def close(self) -> None:
        self._sat.delete()
