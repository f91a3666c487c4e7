"""The least number of literals that must be true, made a fact. Exact, and cheap where few literals are in trouble.

Each refusal names a set of which at least one must be true. From then on that set is counted, and only a second one
of it is refused, and so on: the costs that remain are those that no refusal has named (core-guided, Morgado 2014).
"""

from __future__ import annotations

from collections.abc import Callable

from treebuilder.solver.oracle import Oracle


class Counter:
    """Counts true literals: `more()` is a literal that is true if one more of them is true than the last time."""

    def __init__(self, oracle: Oracle, fresh: Callable[[], int], literals: list[int]) -> None:
        self._oracle = oracle
        self._fresh = fresh
        self._literals = literals
        self._column: list[int] = []  # [i] is true if `_count` of the first i+1 literals are
        self._count = 0

    def more(self) -> int | None:
        """None if there are not so many."""
        if self._count == len(self._literals):
            return None
        column: list[int] = []
        for index, literal in enumerate(self._literals):
            now = self._fresh()
            clauses = [[-column[-1], now]] if column else []
            if self._count == 0:
                clauses.append([-literal, now])
            elif index:
                clauses.append([-literal, -self._column[index - 1], now])
            self._oracle.add(clauses)
            column.append(now)
        self._column = column
        self._count += 1
        return column[-1]


def settle(oracle: Oracle, fresh: Callable[[], int], literals: list[int]) -> None:
    """Makes as few of the literals true as there can be, for good. There must be a solution. Raises Undecided."""
    refused: dict[int, Counter | None] = dict.fromkeys(literals)  # those that shall be false, in order
    while not oracle.ask([-literal for literal in refused]):
        core = _trimmed(oracle, _named(oracle, list(refused)))
        assert core, "there is a solution"
        grown = [refused.pop(literal) for literal in core]
        if len(core) == 1:
            oracle.add([[core[0]]])
        else:
            counter = Counter(oracle, fresh, core)
            counter.more()  # one of them is true anyway
            grown.append(counter)
        for known in grown:
            more = known.more() if known is not None else None
            if more is not None:
                refused[more] = known
    oracle.add([[-literal] for literal in refused])


def _trimmed(oracle: Oracle, core: list[int]) -> list[int]:
    """A smaller set with the same trouble, if it is easily found."""
    for _ in range(3):
        if len(core) < 2 or oracle.ask([-literal for literal in reversed(core)]):
            break
        smaller = _named(oracle, core)
        if len(smaller) == len(core):
            break
        core = smaller
    return core


def _named(oracle: Oracle, literals: list[int]) -> list[int]:
    core = set(oracle.core)
    return [literal for literal in literals if -literal in core]
