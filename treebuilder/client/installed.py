"""What references mean among the packages that are installed."""

from __future__ import annotations

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.client.api import Record
from treebuilder.errors import TreebuildError
from treebuilder.model.package import Package, PackageId, PackageRef
from treebuilder.model.packageset import MemoryPackages
from treebuilder.records import replace
from treebuilder.solver.world import World

if TYPE_CHECKING:
    from treebuilder.client.database import SystemDatabase


def not_installed(ref: PackageRef) -> TreebuildError:
    said = str(replace(ref, version="") if ref.version == ">=0" else ref).removeprefix("/")  # no category, any version
    return TreebuildError(
        f"Package {said} not found in the system", reason="not-installed",
        hint="search --installed lists what is",
    )  # fmt: skip


def held(message: str, id: PackageId) -> TreebuildError:
    return TreebuildError(message, reason="held", hint=f"unhold {id.pkgname.removeprefix('/')} lets it be changed")


def matching(ref: PackageRef, installed: tuple[Package, ...]) -> tuple[Package, ...]:
    """Installed packages of the name and version that a reference names, newest first."""
    named = MemoryPackages(package for package in installed if package.id.pkgname == ref.pkgname)
    return World(named, ()).matches(ref)


def answering(refs: tuple[PackageRef, ...], installed: tuple[Package, ...]) -> tuple[PackageId, ...]:
    """Of each reference the installed package that answers it best: one of that name, or one that provides it."""
    world = World(MemoryPackages(installed), ())
    return tuple(found.id for ref in refs for found in world.matches(ref)[:1])


def record_of(database: SystemDatabase, id: PackageId) -> Record:
    found = database.record(id)
    assert found is not None, id
    return found


def named(refs: tuple[PackageRef, ...], installed: tuple[Package, ...]) -> dict[PackageId, Package]:
    """The installed packages that are meant. Raises TreebuildError (reason "not-installed")."""
    meant: dict[PackageId, Package] = {}
    for ref in refs:
        found = matching(ref, installed)
        if not found:
            raise not_installed(ref)
        meant |= {package.id: package for package in found}
    return meant
