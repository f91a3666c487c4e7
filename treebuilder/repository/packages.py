"""Packages of several repositories as one set: the preferred repository speaks for a package that several have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

from treebuilder.model.package import Package, PackageId
from treebuilder.model.version import newest_first
from treebuilder.repository.index import Artifact
from treebuilder.repository.synced import SyncedRepository


class RepositoryPackages:
    """Implements `PackageSet`; of each repository only what is asked for is read.

    A lower priority number is preferred; the newest version counts across all. Unless it is `whole` there are others
    that could not be read: what is not here may be there.
    """

    def __init__(self, repositories: Iterable[SyncedRepository], *, whole: bool = True) -> None:
        self.whole = whole
        self.repositories = tuple(sorted(repositories, key=lambda r: (r.source.priority, r.source.name)))
        for repository in self.repositories:
            _ = repository.known  # what is wrong with a repository is said here
        self.homes: Mapping[PackageId, SyncedRepository] = _Homes(self.repositories)
        self._versions: dict[str, tuple[Package, ...]] = {}

    def close(self) -> None:
        for repository in self.repositories:
            repository.close()

    def ids(self) -> tuple[tuple[PackageId, bool], ...]:
        """Identities of all packages and whether they are hidden. This reads no definitions."""
        return self._ids

    @cached_property
    def _ids(self) -> tuple[tuple[PackageId, bool], ...]:
        found: dict[PackageId, bool] = {}
        for repository in self.repositories:
            for id, hidden in repository.known.listing():
                found.setdefault(id, hidden)
        return tuple(found.items())

    def state(self) -> tuple[bool, tuple[tuple[str, int, str, str], ...]]:
        """Of each repository its name, priority, and the digests of what describes its packages, and whether these are
        all: equal where all that this set says is."""
        return self.whole, tuple((r.source.name, r.source.priority, *r.described) for r in self.repositories)

    def artifact(self, id: PackageId) -> Artifact | None:
        """What a package's home says about its archive; None also where it has none."""
        home = self.homes.get(id)
        return None if home is None else home.known.artifact(id)

    def names(self) -> tuple[str, ...]:
        """All names, sorted. Who asks for them will ask for their versions: these are read at once."""
        for repository in self.repositories:
            repository.known.read_all()
        return tuple(sorted({id.pkgname for id, _ in self._ids}))

    def versions(self, pkgname: str) -> tuple[Package, ...]:
        found = self._versions.get(pkgname)
        if found is None:
            given = [[d.package for d in r.known.versions(pkgname)] for r in self.repositories]
            found = self._versions[pkgname] = tuple(given[0]) if len(given) == 1 else _merged(given)
        return found

    def find(self, package: PackageId) -> Package | None:
        return next((found for found in self.versions(package.pkgname) if found.id == package), None)

    def providers(self, pkgname: str) -> tuple[Package, ...]:
        ids = dict.fromkeys(id for r in self.repositories for id in r.known.providers(pkgname))
        found = [package for id in ids if (package := self.find(id)) is not None]
        # what the preferred repository says of a package may be that it provides something else
        given = [package for package in found if any(ref.pkgname == pkgname for ref in package.provides)]
        return tuple(sorted(newest_first(given), key=lambda package: package.id.pkgname))


def _merged(given: list[list[Package]]) -> tuple[Package, ...]:
    """Versions of one name from several repositories, preferred first."""
    found: dict[PackageId, Package] = {}
    for packages in given:
        for package in packages:
            found.setdefault(package.id, package)
    return newest_first(found.values())


class _Homes(Mapping[PackageId, SyncedRepository]):
    """The repository that each package comes from."""

    def __init__(self, repositories: tuple[SyncedRepository, ...]) -> None:
        self._repositories = repositories

    def __getitem__(self, id: PackageId) -> SyncedRepository:
        for repository in self._repositories:
            if repository.known.find(id) is not None:
                return repository
        raise KeyError(id)

    def __iter__(self) -> Iterator[PackageId]:
        return iter(dict.fromkeys(id for r in self._repositories for id, _ in r.known.listing()))

    def __len__(self) -> int:
        return sum(1 for _ in self)
