"""The closure of a request as clauses. Variables 1..n are packages, in breadth-first order from the request.

Each clause that says something about packages carries its `Reason`. With `tagged` each reason gets a selector
variable that must be assumed for the clause to hold: that is how a contradiction is traced back to sentences.
"""

from __future__ import annotations

from typing import Literal

from treebuilder.model.package import NOWHERE, Package, PackageId, PackageRef
from treebuilder.model.solution import Request
from treebuilder.records import record
from treebuilder.solver.world import World

_PAIRS = 5  # up to this many versions, "at most one" is written as pairs


@record
class Reason:
    """Why a clause is there. `package` is None for what the request says."""

    kind: Literal["wanted", "held", "unwanted", "requires", "conflicts", "single"]
    package: Package | None
    ref: PackageRef


class Encoding:
    """`clauses` over the packages that the request and the installed packages can reach."""

    def __init__(self, world: World, request: Request, *, tagged: bool = False) -> None:
        self.world = world
        self.packages: list[Package] = []
        self.variable: dict[PackageId, int] = {}
        self.clauses: list[list[int]] = []
        self.selectors: dict[int, Reason] = {}
        self._tagged = tagged
        self._answers: dict[tuple[str, str, str], int] = {}
        self._refused: dict[tuple[str, str, str], int] = {}
        self._reach(request)
        self.top = len(self.packages)
        self._encode_request(request)
        for package in self.packages:
            self._encode_requires(package)
        for package in self.packages:
            self._encode_conflicts(package)
        self._encode_names()

    def fresh(self) -> int:
        """A new variable that means no package."""
        self.top += 1
        return self.top

    def _reach(self, request: Request) -> None:
        queue: list[Package] = []
        seen_refs: set[tuple[str, str, str]] = set()

        def add(packages: tuple[Package, ...]) -> None:
            for package in packages:
                if package.id not in self.variable:
                    queue.append(package)
                    self.variable[package.id] = len(queue)

        for ref in (*request.wanted, *request.held):
            add(self.world.matches(ref))
        for name in self.world.installed_names:
            add(self.world.versions(name))
        done = 0
        while done < len(queue):
            for ref in self.world.requires(queue[done]):
                key = (ref.category, ref.name, ref.version)
                if key not in seen_refs:
                    seen_refs.add(key)
                    add(self.world.matches(ref))
            done += 1
        self.packages = queue

    def _say(self, clauses: list[list[int]], reason: Reason) -> None:
        if self._tagged:
            selector = self.fresh()
            self.selectors[selector] = reason
            clauses = [[-selector, *clause] for clause in clauses]
        self.clauses += clauses

    def _encode_request(self, request: Request) -> None:
        for ref in request.wanted:
            self._say([[self._answer(ref)]], Reason("wanted", None, ref))
        for ref in request.held:
            kept = [self.variable[p.id] for p in self.world.matches(ref) if p.id in self.world.installed]
            self._say([kept or [self._never()]], Reason("held", None, ref))
        for ref in request.unwanted:
            barred = [[-self.variable[p.id]] for p in self.world.matches(ref) if p.id in self.variable]
            if barred:
                self._say(barred, Reason("unwanted", None, ref))

    def _never(self) -> int:
        """A literal that is never true."""
        literal = self.fresh()
        self.clauses.append([-literal])
        return literal

    def _answer(self, ref: PackageRef) -> int:
        """A literal that is true only if something answers `ref`."""
        key = (ref.category, ref.name, ref.version)
        literal = self._answers.get(key)
        if literal is None:
            found = [self.variable[p.id] for p in self.world.matches(ref)]
            if len(found) == 1:
                literal = found[0]
            else:
                literal = self.fresh()
                self.clauses.append([-literal, *found])
            self._answers[key] = literal
        return literal

    def _encode_requires(self, package: Package) -> None:
        variable = self.variable[package.id]
        for ref in self.world.requires(package):
            answer = self._answer(ref)
            if answer != variable:
                self._say([[-variable, answer]], Reason("requires", package, ref))

    def _encode_conflicts(self, package: Package) -> None:
        variable = self.variable[package.id]
        for ref in sorted(package.conflicts):
            matches = [p for p in self.world.matches(ref) if p.id in self.variable]
            bitten = [self.variable[p.id] for p in matches if self.world.bites(package, p)]
            if not bitten:
                continue
            if len(bitten) == len(matches) and len(bitten) > 1:
                clauses = [[-variable, -self._any_of(ref, bitten)]]
            else:
                clauses = [[-variable, -other] for other in bitten]
            self._say(clauses, Reason("conflicts", package, ref))

    def _any_of(self, ref: PackageRef, variables: list[int]) -> int:
        """A literal that is true if any match of `ref` is: conflicts of many with many stay linear."""
        key = (ref.category, ref.name, ref.version)
        literal = self._refused.get(key)
        if literal is None:
            literal = self._refused[key] = self.fresh()
            self.clauses += [[-variable, literal] for variable in variables]
        return literal

    def _encode_names(self) -> None:
        names: dict[str, list[int]] = {}
        for variable, package in enumerate(self.packages, 1):
            names.setdefault(package.id.pkgname, []).append(variable)
        for name, variables in names.items():
            if len(variables) < 2:
                continue
            first = self.packages[variables[0] - 1].id
            ref = PackageRef(first.category, first.name, where=NOWHERE)
            assert ref.pkgname == name
            self._say(self._at_most_one(variables), Reason("single", None, ref))

    def _at_most_one(self, variables: list[int]) -> list[list[int]]:
        if len(variables) <= _PAIRS:
            return [[-a, -b] for i, a in enumerate(variables) for b in variables[i + 1 :]]
        clauses: list[list[int]] = []
        before = 0  # true if any of the variables so far is
        for variable in variables:
            if before:
                clauses.append([-before, -variable])
            now = self.fresh()
            clauses.append([-variable, now])
            if before:
                clauses.append([-before, now])
            before = now
        return clauses
