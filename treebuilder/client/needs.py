"""Who needs whom among installed packages."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from treebuilder.model.package import Package, PackageId, PackageRef
from treebuilder.model.packageset import MemoryPackages
from treebuilder.solver.world import World


def _world(packages: Collection[Package]) -> World:
    """Answers references as the solver does."""
    return World(MemoryPackages(packages), ())


def needed(of: Mapping[PackageId, Package], installed: Collection[Package]) -> dict[PackageId, Package]:
    """What these packages require among the installed ones, directly or not; without themselves."""
    known = _world(installed)
    found: dict[PackageId, Package] = {}
    waiting = list(of.values())
    while waiting:
        for ref in waiting.pop().requires:
            for package in known.matches(ref):
                if package.id not in found and package.id not in of:
                    found[package.id] = package
                    waiting.append(package)
    return found


def users(of: Mapping[PackageId, Package], installed: Collection[Package]) -> tuple[Package, ...]:
    """What would be broken without these packages, directly or not."""
    going = dict(of)
    while True:
        hurt = {package.id: package for package, _ in broken(going, installed)}
        if not hurt:
            return tuple(package for id, package in going.items() if id not in of)
        going |= hurt


def broken(going: Collection[PackageId], installed: Collection[Package]) -> list[tuple[Package, PackageRef]]:
    """Who needs what when these packages are gone; what nothing answered before does not count."""
    gone = set(going)
    before = _world(installed)
    after = _world([package for package in installed if package.id not in gone])
    found = []
    for package in installed:
        if package.id in gone:
            continue
        for ref in package.requires:
            if not after.matches(ref) and before.matches(ref):
                found.append((package, ref))
    return sorted(found, key=lambda item: (item[0].id, item[1]))


def clashes(before: Collection[Package], after: Collection[Package]) -> list[tuple[Package, Package]]:
    """Of packages that stay and were built again: which of them conflicts with what by the new build alone."""
    old = {package.id: package for package in before}
    again = [(package, old[package.id]) for package in after if package.id in old]
    added = [(new, ref) for new, was in again if new is not was for ref in new.conflicts if ref not in was.conflicts]
    if not added:
        return []
    known = _world(after)
    found = [(new, other) for new, ref in added for other in known.matches(ref) if other.id != new.id]
    return sorted(found, key=lambda pair: (pair[0].id, pair[1].id))
