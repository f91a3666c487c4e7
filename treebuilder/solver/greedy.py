"""The fast path: always the best candidate. If that meets no contradiction it is the optimum, without any search.

Most plans end here: a tree with one version of each package, or several without conflicts.
"""

from __future__ import annotations

from treebuilder.model.package import Package, PackageRef
from treebuilder.model.solution import Request
from treebuilder.solver.walk import Chosen
from treebuilder.solver.world import Key, World, key_of


class Stuck(Exception):
    """The best candidate cannot be had; a search has to decide."""


class GreedyChooser:
    """Raises Stuck wherever the first choice is not free of trouble."""

    def __init__(self, world: World, request: Request) -> None:
        self._world = world
        held = [p for ref in request.held for p in world.matches(ref) if world.is_installed(p)]
        self._held = {p.id.pkgname: p for p in held}
        self._unwanted = {id(p) for ref in request.unwanted for p in world.matches(ref)}
        self._refusals: dict[str, list[tuple[Package, frozenset[int]]]] = {}
        self._crowds: dict[Key, frozenset[int]] = {}
        if len(self._held) < len(request.held):
            raise Stuck  # held twice or not installed

    def best(self, candidates: tuple[Package, ...], chosen: Chosen) -> Package:
        if not candidates:
            raise Stuck
        self._take(candidates[0], chosen)
        return candidates[0]

    def settle_installed(self, chosen: Chosen) -> None:
        return

    def keep(self, pkgname: str, chosen: Chosen) -> Package | None:
        own = self._world.installed_of(pkgname)
        if len(own) != 1:
            raise Stuck
        self._take(own[0], chosen)
        return own[0]

    def _take(self, package: Package, chosen: Chosen) -> None:
        name = package.id.pkgname
        there = chosen.by_name.get(name)
        if there is not None:
            if there is not package:
                raise Stuck
            return
        if id(package) in self._unwanted or self._held.get(name, package) is not package:
            raise Stuck
        if self._refusals:
            for answered in {name, *(ref.pkgname for ref in package.provides)}:
                for other, refused in self._refusals.get(answered, ()):
                    if id(package) in refused and self._world.bites(other, package):
                        raise Stuck
        for ref in package.conflicts:
            refused = self._refused(ref)
            if not refused.isdisjoint(chosen.there) and any(
                id(p) in chosen.there and self._world.bites(package, p) for p in self._world.matches(ref)
            ):
                raise Stuck
            self._refusals.setdefault(ref.pkgname, []).append((package, refused))

    def _refused(self, ref: PackageRef) -> frozenset[int]:
        key = key_of(ref)
        found = self._crowds.get(key)
        if found is None:
            found = self._crowds[key] = frozenset(id(p) for p in self._world.matches(ref))
        return found
