"""A package set with one package in the place of another of equal identity, made in no time."""

from __future__ import annotations

from treebuilder.model.package import Package, PackageId
from treebuilder.model.packageset import MemoryPackages, PackageSet
from treebuilder.model.version import newest_first


class WithPackage:
    """Implements `model.packageset.PackageSet`: `below`, and `package` in the place of the one of its identity."""

    def __init__(self, below: PackageSet, package: Package) -> None:
        self._below = below
        self._package = package
        self._alone = MemoryPackages([package])

    def names(self) -> tuple[str, ...]:
        return tuple(sorted({*self._below.names(), self._package.id.pkgname}))

    def versions(self, pkgname: str) -> tuple[Package, ...]:
        found = self._below.versions(pkgname)
        return self._with(found) if pkgname == self._package.id.pkgname else found

    def find(self, package: PackageId) -> Package | None:
        return self._package if package == self._package.id else self._below.find(package)

    def providers(self, pkgname: str) -> tuple[Package, ...]:
        found = tuple(p for p in self._below.providers(pkgname) if p.id != self._package.id)
        if not self._alone.providers(pkgname):
            return found
        return tuple(sorted(newest_first([*found, self._package]), key=lambda p: p.id.pkgname))

    def _with(self, found: tuple[Package, ...]) -> tuple[Package, ...]:
        return newest_first([*(p for p in found if p.id != self._package.id), self._package])
