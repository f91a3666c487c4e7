"""Packages of several repositories as one set: the preferred repository speaks for a package that several have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from treebuilder.model.package import Package, PackageId
from treebuilder.model.packageset import MemoryPackages
from treebuilder.repository.sync import SyncedRepository


class RepositoryPackages:
    """Implements `PackageSet`. A lower priority number is preferred; the newest version counts across all."""

    def __init__(self, repositories: Iterable[SyncedRepository]) -> None:
        ordered = sorted(repositories, key=lambda r: (r.source.priority, r.source.name))
        self.repositories = tuple(ordered)
        packages: list[Package] = []
        self._homes: dict[PackageId, SyncedRepository] = {}
        for repository in ordered:
            for found in repository.packages():
                if found.id not in self._homes:
                    self._homes[found.id] = repository
                    packages.append(found)
        self._all = MemoryPackages(packages)

    @property
    def homes(self) -> Mapping[PackageId, SyncedRepository]:
        """The repository that each package comes from."""
        return self._homes

    def names(self) -> tuple[str, ...]:
        return self._all.names()

    def versions(self, pkgname: str) -> tuple[Package, ...]:
        return self._all.versions(pkgname)

    def find(self, package: PackageId) -> Package | None:
        return self._all.find(package)

    def providers(self, pkgname: str) -> tuple[Package, ...]:
        return self._all.providers(pkgname)
