"""The port through which the solver and the client see packages, wherever they come from."""

from __future__ import annotations

from collections.abc import Iterable

from treebuilder.annotations import Protocol
from treebuilder.model.package import Package, PackageId


class PackageSet(Protocol):
    """A set of package definitions. Implementations: tree, synced repository, system database, memory."""

    def names(self) -> tuple[str, ...]:
        """All `category/name`s, sorted."""
        ...

    def versions(self, pkgname: str) -> tuple[Package, ...]:
        """Every version of `category/name`, newest first (`model.version` order); empty when unknown."""
        ...

    def find(self, package: PackageId) -> Package | None:
        """The package of exactly this identity."""
        ...

    def providers(self, pkgname: str) -> tuple[Package, ...]:
        """Packages whose `provides` name `category/name`, sorted by name, newest first."""
        ...


class MemoryPackages:
    """A PackageSet over given packages. The first of several with equal identity wins (luet HEAD)."""

    def __init__(self, packages: Iterable[Package]) -> None:
        from treebuilder.model.version import newest_first

        self._by_id: dict[PackageId, Package] = {}
        names: dict[str, list[Package]] = {}
        provided: dict[str, list[Package]] = {}
        for package in packages:
            if package.id in self._by_id:
                continue
            self._by_id[package.id] = package
            names.setdefault(package.id.pkgname, []).append(package)
            for ref in package.provides:
                given = provided.setdefault(ref.pkgname, [])
                if not given or given[-1] is not package:
                    given.append(package)
        self._names = {name: newest_first(found) for name, found in names.items()}
        self._provided = {  # a stable sort: newest first within each name
            name: tuple(sorted(newest_first(found), key=lambda p: p.id.pkgname)) for name, found in provided.items()
        }

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self._names))

    def versions(self, pkgname: str) -> tuple[Package, ...]:
        return self._names.get(pkgname, ())

    def find(self, package: PackageId) -> Package | None:
        return self._by_id.get(package)

    def providers(self, pkgname: str) -> tuple[Package, ...]:
        return self._provided.get(pkgname, ())
