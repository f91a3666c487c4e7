"""The closure of a request as clauses. Variables 1..n are packages, in breadth-first order from the request.

Each clause that says something about packages carries its `Reason`. With `tagged` each reason gets a selector
variable that must be assumed for the clause to hold: that is how a contradiction is traced back to sentences.
"""

from __future__ import annotations

from treebuilder.annotations import Literal
from treebuilder.model.package import NOWHERE, Package, PackageRef
from treebuilder.model.solution import Request
from treebuilder.records import record
from treebuilder.solver.world import Key, World, key_of

_PAIRS = 5  # up to this many versions, "at most one" is written as pairs


Kind = Literal["wanted", "held", "unwanted", "requires", "conflicts", "single"]


@record
class Reason:
    """Why a clause is there. `package` is None for what the request says."""

    kind: Kind
    package: Package | None
    ref: PackageRef


class Crowd:
    """What a conflict names, as few literals for everyone but the one who asks: conflicts of many with many, also of
    the providers of one name with each other, stay linear."""

    def __init__(self, encoding: Encoding, members: list[int]) -> None:
        self._encoding = encoding
        self._members = members
        self._places = {member: place for place, member in enumerate(members)}
        self._any = 0
        self._before: list[int] = []
        self._after: list[int] = []

    def others(self, variable: int) -> list[int]:
        """Literals of which one is true if any member but `variable` is."""
        place = self._places.get(variable)
        if len(self._members) <= 2:
            return [member for member in self._members if member != variable]
        if place is None:
            if not self._any:
                self._any = self._encoding.fresh()
                self._encoding.clauses += [[-member, self._any] for member in self._members]
            return [self._any]
        if not self._before:
            self._before = self._encoding.so_far(self._members)
            self._after = self._encoding.so_far(self._members[::-1])[::-1]
        before = self._before[place - 1 : place] if place else []
        return before + self._after[place + 1 : place + 2]


class Encoding:
    """`clauses` over the packages that the request and the installed packages can reach.

    `demands` are the literals of what is wanted, to be assumed: so a refusal names the few that cannot be had.
    """

    def __init__(self, world: World, request: Request, *, tagged: bool = False) -> None:
        self.world = world
        self.packages: list[Package] = []
        self._variables: dict[int, int] = {}  # by the world's own objects
        self.clauses: list[list[int]] = []
        self.selectors: dict[int, Reason] = {}
        self.request = request
        self.demands: dict[int, PackageRef] = {}
        self._tagged = tagged
        self._answers: dict[Key, int] = {}
        self._crowds: dict[tuple[Key, bool], Crowd] = {}
        self._reach(request)
        self.top = len(self.packages)
        self._encode_request(request)
        for package in self.packages:
            self._encode_requires(package)
        for package in self.packages:
            self._encode_conflicts(package)
        self._encode_names()

    def variable(self, package: Package) -> int:
        """The variable of a package of the closure; raises KeyError for another."""
        return self._variables[id(package)]

    def reaches(self, package: Package) -> bool:
        return id(package) in self._variables

    def fresh(self) -> int:
        """A new variable that means no package."""
        self.top += 1
        return self.top

    def _reach(self, request: Request) -> None:
        queue: list[Package] = []
        seen_refs: set[Key] = set()
        variables = self._variables

        def add(packages: tuple[Package, ...]) -> None:
            for package in packages:
                if id(package) not in variables:
                    queue.append(package)
                    variables[id(package)] = len(queue)

        for ref in (*request.wanted, *request.held):
            add(self.world.matches(ref))
        for name in self.world.installed_names:
            add(self.world.versions(name))
        for package in queue:  # grows on the way
            for key, _, candidates in self.world.needs(package):
                if key not in seen_refs:
                    seen_refs.add(key)
                    add(candidates)
        self.packages = queue

    def _say(self, clauses: list[list[int]], kind: Kind, package: Package | None, ref: PackageRef) -> None:
        if self._tagged:
            selector = self.fresh()
            self.selectors[selector] = Reason(kind, package, ref)
            clauses = [[-selector, *clause] for clause in clauses]
        self.clauses += clauses

    def _encode_request(self, request: Request) -> None:
        for ref in request.wanted:
            answer = self._answer(key_of(ref), self.world.matches(ref))
            self.demands.setdefault(answer, ref)
            if self._tagged:
                self._say([[answer]], "wanted", None, ref)
        for ref in request.held:
            kept = [self.variable(p) for p in self.world.held(ref)]
            self._say([kept or [self._never()]], "held", None, ref)
        for ref in request.unwanted:
            barred = [[-self.variable(p)] for p in self.world.barred(ref) if id(p) in self._variables]
            if barred:
                self._say(barred, "unwanted", None, ref)

    def _never(self) -> int:
        """A literal that is never true."""
        literal = self.fresh()
        self.clauses.append([-literal])
        return literal

    def _answer(self, key: Key, candidates: tuple[Package, ...]) -> int:
        """A literal that is true only if something answers the reference of this key."""
        literal = self._answers.get(key)
        if literal is None:
            found = [self._variables[id(p)] for p in candidates]
            if len(found) == 1:
                literal = found[0]
            else:
                literal = self.fresh()
                self.clauses.append([-literal, *found])
            self._answers[key] = literal
        return literal

    def _encode_requires(self, package: Package) -> None:
        variable = self._variables[id(package)]
        for key, ref, candidates in self.world.needs(package):
            answer = self._answer(key, candidates)
            if answer != variable:
                self._say([[-variable, answer]], "requires", package, ref)

    def _encode_conflicts(self, package: Package) -> None:
        if not package.conflicts:
            return
        variable = self._variables[id(package)]
        fresh_only = self.world.is_installed(package)  # what is broken among the installed is left as it is
        for ref in sorted(package.conflicts, key=key_of):
            key = (key_of(ref), fresh_only)
            crowd = self._crowds.get(key)
            if crowd is None:
                found = [p for p in self.world.matches(ref) if id(p) in self._variables]
                members = [self._variables[id(p)] for p in found if not (fresh_only and self.world.is_installed(p))]
                crowd = self._crowds[key] = Crowd(self, members)
            clauses = [[-variable, -other] for other in crowd.others(variable)]
            if clauses:
                self._say(clauses, "conflicts", package, ref)

    def _encode_names(self) -> None:
        names: dict[str, list[int]] = {}
        for variable, package in enumerate(self.packages, 1):
            names.setdefault(package.id.pkgname, []).append(variable)
        for variables in names.values():
            if len(variables) < 2:
                continue
            first = self.packages[variables[0] - 1].id
            ref = PackageRef(first.category, first.name, where=NOWHERE)
            self._say(self._at_most_one(variables), "single", None, ref)

    def _at_most_one(self, variables: list[int]) -> list[list[int]]:
        if len(variables) <= _PAIRS:
            return [[-a, -b] for i, a in enumerate(variables) for b in variables[i + 1 :]]
        return [[-before, -variable] for before, variable in zip(self.so_far(variables), variables[1:], strict=False)]

    def so_far(self, variables: list[int]) -> list[int]:
        """For each variable a literal that is true if it or one before it is."""
        literals: list[int] = []
        for variable in variables:
            literal = self.fresh()
            self.clauses.append([-variable, literal])
            if literals:
                self.clauses.append([-literals[-1], literal])
            literals.append(literal)
        return literals
