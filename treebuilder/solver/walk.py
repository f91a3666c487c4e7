"""The order in which decisions are made. The answer is the lexicographic optimum of this very order:

1. each wanted reference, in the order given: its best answer;
2. the fewest installed names removed, then the fewest changed to another version;
3. each installed name that no request decided, by name: its newest possible version, or gone;
4. breadth-first from all of these, level by level, references sorted by name: what is answered by something
   already chosen needs nothing more, everything else gets its best possible answer.

What decides is a `Chooser`: a greedy one that gives up at the first trouble, or a SAT solver.
"""

from __future__ import annotations

from treebuilder.annotations import Protocol
from treebuilder.model.package import Package, PackageRef
from treebuilder.model.solution import Request
from treebuilder.records import field, record
from treebuilder.solver.world import Key, Need, World


@record
class Decision:
    """`what` was decided ("wanted", "installed" or "required"), for which reference, with which result."""

    what: str
    ref: PackageRef
    package: Package | None


@record(frozen=False)
class Chosen:
    """What has been chosen so far: one package per name, and every decision in order. `there` holds the identities of
    the chosen objects, for quick answers."""

    by_name: dict[str, Package] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    there: set[int] = field(default_factory=set)

    def answered(self, candidates: tuple[Package, ...]) -> bool:
        """Whether one of the candidates is chosen."""
        return not self.there.isdisjoint(map(id, candidates))

    def add(self, what: str, ref: PackageRef, package: Package | None) -> None:
        if package is not None:
            self.by_name[package.id.pkgname] = package
            self.there.add(id(package))
        self.decisions.append(Decision(what, ref, package))


class Chooser(Protocol):
    def best(self, candidates: tuple[Package, ...], chosen: Chosen) -> Package:
        """The first candidate that can still be chosen; it is chosen from now on. There always is one."""
        ...

    def settle_installed(self, chosen: Chosen) -> None:
        """Fixes the number of removals and of changes at their least."""
        ...

    def keep(self, pkgname: str, chosen: Chosen) -> Package | None:
        """The newest version of an installed name that the settled numbers allow; None if it goes."""
        ...


def walk(world: World, request: Request, chooser: Chooser) -> Chosen:
    """Makes all decisions. Raises what the chooser raises."""
    chosen = Chosen()
    for ref in request.wanted:
        chosen.add("wanted", ref, chooser.best(world.matches(ref), chosen))
    chooser.settle_installed(chosen)
    for name in world.installed_names:
        if name not in chosen.by_name:
            category, _, short = name.rpartition("/")
            chosen.add("installed", PackageRef(category, short), chooser.keep(name, chosen))
    level = list(chosen.by_name.values())
    while level:
        reached: list[Package] = []
        needs: dict[Key, Need] = {}
        for parent in level:
            for need in world.needs(parent):
                needs.setdefault(need[0], need)
        for key in sorted(needs):
            _, ref, candidates = needs[key]
            if not chosen.answered(candidates):
                package = chooser.best(candidates, chosen)
                chosen.add("required", ref, package)
                reached.append(package)
        level = reached
    return chosen
