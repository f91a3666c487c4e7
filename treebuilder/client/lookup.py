"""Searching packages: in repositories, and in what is installed (luet.md §1.4 `search`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from treebuilder.annotations import TYPE_CHECKING, Any
from treebuilder.model.package import Package, PackageId
from treebuilder.records import record

if TYPE_CHECKING:
    from treebuilder.client.api import Record
    from treebuilder.client.database import SystemDatabase
    from treebuilder.repository import RepositoryPackages

_FEW = 50


@record
class Search:
    """What is looked for. `how` names what the pattern is matched with: "name" (a regex on `cat/name-version`),
    "label" (an exact key), "label-regex" (on `key=value`), "files" (a regex on paths), "revdeps" and "deps" (of the
    packages whose name matches)."""

    pattern: str = "."
    how: str = "name"
    installed: bool = False
    hidden: bool = False


@record
class Found:
    """A package that was found. `files` is None where they were not looked at."""

    package: Package
    repository: str
    installed: bool
    files: tuple[str, ...] | None

    def to_json(self) -> dict[str, Any]:
        """In luet's form."""
        id = self.package.id
        return {
            "category": id.category, "files": None if self.files is None else list(self.files),
            "hidden": self.package.hidden, "installed": self.installed, "name": id.name,
            "repository": self.repository, "target": id.human, "version": id.version,
        }  # fmt: skip


def search_installed(search: Search, database: SystemDatabase) -> tuple[Found, ...]:
    """Sorted. Raises SpecError for a bad pattern."""
    if search.how != "files":  # lists of files are long: only those of what is found are read
        chosen = tuple(_chosen(search, [found.package for found in database.records()], lambda _: ()))
        if len(chosen) < _FEW:
            records = [database.record(package.id) for package in chosen]
            return tuple(Found(r.package, "system", True, _files(r)) for r in records if r is not None)
    every = database.records(entries=True)
    files = {found.package.id: _files(found) for found in every}
    chosen = tuple(_chosen(search, [found.package for found in every], lambda package: files[package.id]))
    return tuple(Found(package, "system", True, files[package.id]) for package in chosen)


def _files(found: Record) -> tuple[str, ...]:
    return tuple(path for path, kind in found.entries if kind != "d")


def search_repositories(
    search: Search, repositories: RepositoryPackages, installed: frozenset[PackageId]
) -> tuple[Found, ...]:
    """Sorted by name, oldest version first. Raises SpecError for a bad pattern."""

    def files(package: Package) -> tuple[str, ...]:
        artifact = repositories.homes[package.id].artifacts.get(package.id)
        return artifact.files if artifact is not None else ()

    def shown(package: Package) -> Found:
        name = repositories.homes[package.id].source.name
        return Found(package, name, package.id in installed, files(package) if search.how == "files" else None)

    if search.how == "name":  # most are not read at all
        matches = _matcher(search.pattern)
        wanted = frozenset(id for id in repositories.homes if matches(id.human))
        names = sorted({id.pkgname for id in wanted})
        found = (p for name in names for p in reversed(repositories.versions(name)) if p.id in wanted)
        return tuple(shown(package) for package in found if search.hidden or not package.hidden)
    packages = [package for name in repositories.names() for package in reversed(repositories.versions(name))]
    return tuple(shown(package) for package in _chosen(search, packages, files))


def _matcher(pattern: str) -> Callable[[str], object]:
    """What says whether a text matches. Raises SpecError for a bad pattern."""
    if pattern == ".":  # the command line's "all": no reason to read how RE2 differs from re
        return bool
    from treebuilder.model.patterns import compile_pattern

    return compile_pattern(pattern).search


def _chosen(search: Search, packages: list[Package], files: Callable[[Package], tuple[str, ...]]) -> Iterator[Package]:
    seen = (package for package in packages if search.hidden or not package.hidden)
    if search.how == "label":
        return (package for package in seen if any(key == search.pattern for key, _ in package.labels))
    matches = _matcher(search.pattern)
    if search.how == "label-regex":
        return (p for p in seen if any(matches(f"{key}={value}") for key, value in p.labels))
    if search.how == "files":  # hidden ones too, as luet
        return (package for package in packages if any(matches(path) for path in files(package)))
    if search.how in ("revdeps", "deps"):  # of hidden ones too, but none of those is shown
        named = [package for package in packages if matches(package.id.human)]
        return (p for p in _related(named, packages, search.how) if search.hidden or not p.hidden)
    return (package for package in seen if matches(package.id.human))


def _related(named: list[Package], packages: list[Package], how: str) -> Iterator[Package]:
    """Who requires one of these, or what these require, directly or not; in the order of all packages."""
    from treebuilder.model.packageset import MemoryPackages
    from treebuilder.solver.world import World

    world = World(MemoryPackages(packages), ())
    edges: dict[PackageId, set[PackageId]] = {}
    for package in packages:
        for ref in package.requires:
            for other in world.matches(ref):
                start, end = (other, package) if how == "revdeps" else (package, other)
                edges.setdefault(start.id, set()).add(end.id)
    reached: set[PackageId] = set()
    waiting = [package.id for package in named]
    while waiting:
        for id in edges.get(waiting.pop(), ()):
            if id not in reached:
                reached.add(id)
                waiting.append(id)
    return (package for package in packages if package.id in reached)
