"""The fast path: always the best candidate that nothing chosen before rules out. If that ends well it is the optimum.

For each decision in its turn: what was passed over cannot stand with what was chosen earlier, and the end proves that
all of the choices can stand together, with nothing that is installed removed, and changed only what is wanted so. A
dead end proves but one fact: the packages that led to it cannot all be in one solution. That is a lesson (a "nogood"),
mostly one for every request to the same world, and the walk begins again without running into it.

Most plans need no lesson at all: a tree with one version of each package, or several without conflicts.
"""

from __future__ import annotations

from collections.abc import Iterable

from treebuilder.model.package import Package, PackageRef
from treebuilder.model.solution import Request
from treebuilder.solver.walk import Chosen
from treebuilder.solver.world import Key, World, key_of

_LONGEST = 64  # packages in a lesson: a longer one is hardly met again
_MOST = 20_000  # lessons of a world
_NOTHING: tuple[frozenset[int], ...] = ()
_NOBODY: dict[int, tuple[Package, tuple[Package, ...]]] = {}


class Stuck(Exception):
    """The best candidates cannot be had, and nothing is learned from it; a search has to decide."""


class DeadEnd(Exception):
    """Nothing answers a requirement beside what was chosen before; a lesson has been learned from it."""


class Lessons:
    """What is known of one world: which packages cannot all be in one solution."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.count = 0
        self._others: dict[int, list[frozenset[int]]] = {}
        self._crowds: dict[Key, frozenset[int]] = {}
        self._names: dict[int, str] = {}

    def learn(self, members: frozenset[int]) -> bool:
        """Notes that these cannot all be chosen; False if that is too much to remember."""
        if len(members) > _LONGEST or self.count == _MOST:
            return False
        self.count += 1
        for member in members:
            self._others.setdefault(member, []).append(members - {member})
        return True

    def against(self, package: Package, there: set[int]) -> frozenset[int] | None:
        """Chosen packages with which this one cannot be chosen any more, as far as it is known."""
        for others in self._others.get(id(package), _NOTHING):
            if others <= there:
                return others
        return None

    def crowd(self, ref: PackageRef) -> frozenset[int]:
        """What answers a reference, for quick questions."""
        key = key_of(ref)
        found = self._crowds.get(key)
        if found is None:
            found = self._crowds[key] = frozenset([id(p) for p in self._world.matches(ref)])
        return found

    def only_name(self, candidates: tuple[Package, ...]) -> str:
        """The name of all of these, "" if they have several. The world remembers them."""
        found = self._names.get(id(candidates))
        if found is None:
            names = {package.id.pkgname for package in candidates}
            found = self._names[id(candidates)] = names.pop() if len(names) == 1 else ""
        return found


class GreedyChooser:
    """Raises DeadEnd where no choice is left and a lesson was learned from it, Stuck where none was.

    `lessons` are those of the world, `own` those of this request: only there it matters that something was wanted,
    held or unwanted. Who is `wary` looks whether the needs of each choice leave something to choose, which pays where a
    walk came to a dead end before. `tried` counts the candidates that were looked at.
    """

    def __init__(self, world: World, request: Request, lessons: Lessons, own: Lessons, *, wary: bool = False) -> None:
        self._world = world
        self._lessons = lessons
        self._own = own
        self._wary = wary
        self.tried = 0
        held = [p for ref in request.held for p in world.held(ref)]
        self._held = {p.id.pkgname: p for p in held}
        self._unwanted = {id(p) for ref in request.unwanted for p in world.barred(ref)}
        self._refusals: dict[str, list[tuple[Package, frozenset[int]]]] = {}
        self._bounds: dict[str, dict[int, tuple[Package, tuple[Package, ...]]]] = {}
        self._request_counts = self._used_own = bool(self._held or self._unwanted)
        if len(self._held) < len(request.held):
            raise Stuck  # held twice or not installed

    def best(self, candidates: tuple[Package, ...], chosen: Chosen) -> Package:
        against: set[int] = set()
        self._used_own = self._request_counts
        self.tried += len(candidates)
        for package in candidates:
            why = self._take(package, chosen)
            if why is None:
                return package
            against.update(why)
        self._learn(candidates, against, chosen)
        raise DeadEnd

    def settle_installed(self, chosen: Chosen) -> None:
        return

    def keep(self, pkgname: str, chosen: Chosen) -> Package | None:
        own = self._world.installed_of(pkgname)
        if len(own) != 1 or self._take(own[0], chosen) is not None:
            raise Stuck
        return own[0]

    def _learn(self, candidates: tuple[Package, ...], against: set[int], chosen: Chosen) -> None:
        """Who asked for one of these cannot stand with all that is against them. Raises Stuck if that says nothing."""
        for package in chosen.by_name.values():
            for _, _, answers in self._world.needs(package):
                if answers is candidates:
                    against.add(id(package))
                    lessons = self._own if self._used_own else self._lessons
                    if not lessons.learn(frozenset(against)):
                        raise Stuck
                    return
        if not against or not self._own.learn(frozenset(against)):  # it is wanted, so they cannot all be there
            raise Stuck

    def _take(self, package: Package, chosen: Chosen) -> Iterable[int] | None:
        """Gets ready for the package to be chosen; or what of the chosen (by id) is against it."""
        name = package.id.pkgname
        there = chosen.by_name.get(name)
        if there is not None:
            return None if there is package else (id(there),)
        if id(package) in self._unwanted or self._held.get(name, package) is not package:
            return ()
        why = self._refused(package, chosen)
        if why is None and self._wary:
            why = self._unmet(package, chosen)
        if why is None and self._lessons.count:
            why = self._lessons.against(package, chosen.there)
        if why is None and self._own.count:
            why = self._own.against(package, chosen.there)
            self._used_own |= why is not None  # what follows from it is true of this request alone, too
        if why is None:
            for ref in package.conflicts:
                self._refusals.setdefault(ref.pkgname, []).append((package, self._lessons.crowd(ref)))
            if self._wary:
                self._bind(package, chosen)
        return why

    def _refused(self, package: Package, chosen: Chosen) -> Iterable[int] | None:
        """What conflicts with the package."""
        if self._refusals:
            for answered in {package.id.pkgname, *(ref.pkgname for ref in package.provides)}:
                for other, refused in self._refusals.get(answered, ()):
                    if id(package) in refused and self._world.bites(other, package):
                        return (id(other),)
        for ref in package.conflicts:
            if not self._lessons.crowd(ref).isdisjoint(chosen.there):
                for other in self._world.matches(ref):
                    if id(other) in chosen.there and self._world.bites(package, other):
                        return (id(other),)
        return None

    def _unmet(self, package: Package, chosen: Chosen) -> Iterable[int] | None:
        """Who can only live with other versions, or what was chosen instead of all that answers one of the needs."""
        for user, answers in self._bounds.get(package.id.pkgname, _NOBODY).values():
            if not any(package is answer for answer in answers):
                return (id(user),)
        by_name = chosen.by_name
        for _, _, candidates in self._world.needs(package):
            instead = []
            for candidate in candidates:
                other = by_name.get(candidate.id.pkgname, candidate)
                if other is candidate:
                    break
                instead.append(id(other))
            else:
                return instead
        return None

    def _bind(self, package: Package, chosen: Chosen) -> None:
        """Notes which versions of other names the package can live with."""
        for _, _, candidates in self._world.needs(package):
            name = self._lessons.only_name(candidates)
            if name and name not in chosen.by_name:
                self._bounds.setdefault(name, {})[id(candidates)] = package, candidates
