"""What may come for what is installed: nothing older, and for what no repository has any more who stands in for it."""

from __future__ import annotations

from collections.abc import Iterable

from treebuilder.model.package import Package, PackageId
from treebuilder.model.packageset import MemoryPackages, PackageSet
from treebuilder.model.version import newest_first
from treebuilder.records import replace
from treebuilder.solver.world import World


class NothingOlder:
    """Implements `PackageSet`: what repositories have, but for versions older than the installed one of that name.

    With `nodeps` nothing needs or excludes anything.
    """

    def __init__(self, repositories: PackageSet, installed: Iterable[Package], *, nodeps: bool) -> None:
        self._repositories = repositories
        self._installed = {package.id.pkgname: package for package in installed}
        self._nodeps = nodeps
        self._versions: dict[str, tuple[Package, ...]] = {}

    def names(self) -> tuple[str, ...]:
        return self._repositories.names()

    def versions(self, pkgname: str) -> tuple[Package, ...]:
        found = self._versions.get(pkgname)
        if found is None:
            found = self._repositories.versions(pkgname)
            own = self._installed.get(pkgname)
            if own is not None and found and found[-1].id != own.id:
                order = [found.id for found in newest_first([own, *(p for p in found if p.id != own.id)])]
                there = set(order[: order.index(own.id) + 1])
                found = tuple(package for package in found if package.id in there)
            if self._nodeps:
                found = without_needs(found)
            self._versions[pkgname] = found
        return found

    def find(self, package: PackageId) -> Package | None:
        return next((found for found in self.versions(package.pkgname) if found.id == package), None)

    def providers(self, pkgname: str) -> tuple[Package, ...]:
        found = (self.find(package.id) for package in self._repositories.providers(pkgname))
        return tuple(package for package in found if package is not None)


def without_needs(packages: Iterable[Package]) -> tuple[Package, ...]:
    return tuple(replace(package, requires=(), conflicts=()) for package in packages)


def stand_ins(id: PackageId, candidates: PackageSet) -> tuple[Package, ...]:
    """Who provides what no repository has any more, best first (luet.md §8.4): the name, at this version."""
    return World(MemoryPackages(candidates.providers(id.pkgname)), ()).matches(id.exact)
