"""Which packages an installation takes, from which repository, and whether their files fit together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from treebuilder.archive.compress import decompressed
from treebuilder.archive.extract import entries
from treebuilder.client.api import InstallRequest, Planned
from treebuilder.errors import ConflictError, SpecError
from treebuilder.model.package import Package, PackageId, PackageRef
from treebuilder.model.packageset import MemoryPackages, PackageSet
from treebuilder.model.solution import Request
from treebuilder.records import replace
from treebuilder.repository import RepositoryPackages
from treebuilder.solver import PackageSolver


def choose(
    request: InstallRequest, repositories: RepositoryPackages, installed: tuple[Package, ...]
) -> tuple[Planned, ...]:
    """New packages in the order of installation: what a package requires comes before it.

    What is installed stays exactly as it is. Raises Unsatisfiable, SpecError (reason "no-artifact").
    """
    there = {package.id for package in installed}
    if request.nodeps:
        answers = PackageSolver().solve(Request(request.wanted), _alone(request.wanted, repositories), ()).answers
        order: tuple[Package, ...] = tuple(package for _, package in answers)
    else:
        held = tuple(PackageRef(id.category, id.name, id.version) for id in sorted(there))
        wish = Request(request.wanted, held)
        order = PackageSolver().solve(wish, repositories, installed, order="runtime").order
    return tuple(_planned(package.id, repositories) for package in order if package.id not in there)


def _alone(wanted: tuple[PackageRef, ...], universe: PackageSet) -> PackageSet:
    names = [ref.pkgname for ref in wanted]
    found = [p for name in names for p in (*universe.versions(name), *universe.providers(name))]
    return MemoryPackages([replace(package, requires=(), conflicts=()) for package in found])


def _planned(id: PackageId, repositories: RepositoryPackages) -> Planned:
    home = repositories.homes[id]
    package = repositories.find(id)
    artifact = home.artifacts.get(id)
    assert package is not None
    if artifact is None:
        raise SpecError(
            f"the repository {home.source.name} knows {id} and has no file of it", reason="no-artifact",
            hint="build the package and run treebuild create-repo again",
        )  # fmt: skip
    return Planned(package, home, artifact, home.finalizer(id))


class Claims:
    """Which package brings which file. `owner` tells whose a file of the system is."""

    def __init__(self, owner: Callable[[str], PackageId | None]) -> None:
        self._owner = owner
        self._taken: dict[str, PackageId] = {}

    def claim(self, id: PackageId, path: str) -> None:
        """No two packages may bring one file, nor one bring what an installed package owns. Raises ConflictError."""
        other = self._taken.setdefault(path, id)
        if other == id:
            other = self._owner(path) or id
        if other != id:
            raise ConflictError(
                f"/{path} is in {other} and in {id}", hint="a file can belong to one package only: install one of them"
            )


def check_files(plan: tuple[Planned, ...], blobs: tuple[Path, ...], claims: Claims) -> None:
    """Claims what the indexes list, before anything is unpacked. Raises ConflictError."""
    for item, blob in zip(plan, blobs, strict=True):
        for path in item.artifact.files or _names(blob, item):
            claims.claim(item.package.id, path)


def _names(blob: Path, item: Planned) -> list[str]:
    """What a package brings when its index does not say: that of a hidden package never does."""
    with blob.open("rb") as source:
        found = entries(decompressed(source), str(item.package.id))
        return [entry.path for entry, _ in found if entry.kind != "d"]
