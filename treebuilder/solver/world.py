"""Which packages answer a reference: the universe and the installed packages seen as one.

Rules (luet.md §8, HEAD; ours are marked):
- an exact version is answered by that very text, or else by an equal version; a selector by every match;
- ours: the packages of that name come first, newest first, then the providers, by name and newest first;
- a provider answers if the wanted text equals the provided one, if the wanted version satisfies the provided
  selector, or (ours) if the provided version satisfies the wanted selector;
- ours: nothing conflicts with itself, and what is already broken among the installed packages is left as it is.

Of each identity there is one object here, whatever the universe hands out: within a world `is` tells packages apart.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from operator import attrgetter

from treebuilder.model.package import Package, PackageRef
from treebuilder.model.packageset import PackageSet
from treebuilder.model.version import Selector, Version, newest_first, select
from treebuilder.solver.similar import Similar

Key = tuple[str, str, str]
Need = tuple[Key, PackageRef, tuple[Package, ...]]


key_of: Callable[[PackageRef], Key] = attrgetter("category", "name", "version")  # equal for refs that mean the same


class World:
    """Answers references, with a memory; asks the universe only for names that somebody reaches."""

    def __init__(self, universe: PackageSet, installed: tuple[Package, ...]) -> None:
        self.universe = universe
        self.installed = {package.id: package for package in installed}
        self._objects = dict(self.installed)
        self._own = {id(package) for package in self.installed.values()}
        self._by_name: dict[str, list[Package]] = {}
        self._installed_providers: dict[str, list[Package]] = {}
        for package in self.installed.values():
            self._by_name.setdefault(package.id.pkgname, []).append(package)
            for name in {ref.pkgname for ref in package.provides}:
                self._installed_providers.setdefault(name, []).append(package)
        self.installed_names = tuple(sorted(self._by_name))
        self._versions: dict[str, tuple[Package, ...]] = {}
        self._matches: dict[Key, tuple[Package, ...]] = {}
        self._needs: dict[int, tuple[Need, ...]] = {}
        self._best: dict[int, tuple[Package, ...] | None] = {}
        self._similar: Similar | None = None

    def installed_of(self, pkgname: str) -> tuple[Package, ...]:
        return tuple(self._by_name.get(pkgname, ()))

    def held(self, ref: PackageRef) -> tuple[Package, ...]:
        """What stays when `ref` is held: the installed package itself; one that provides its name does not stand in."""
        return tuple(p for p in self.matches(ref) if self.is_installed(p) and p.id.pkgname == ref.pkgname)

    def barred(self, ref: PackageRef) -> tuple[Package, ...]:
        """What may not be there when `ref` is unwanted: packages of that name, and none that provide it."""
        return tuple(p for p in self.matches(ref) if p.id.pkgname == ref.pkgname)

    def is_installed(self, package: Package) -> bool:
        """Whether this object of the world is an installed package."""
        return id(package) in self._own

    def versions(self, pkgname: str) -> tuple[Package, ...]:
        """All packages of this name, newest first. An installed package stands for its equal in the universe."""
        known = self._versions.get(pkgname)
        if known is None:
            known = self._same(self.universe.versions(pkgname))
            own = self._by_name.get(pkgname)
            if own:
                known = newest_first([*own, *(p for p in known if id(p) not in self._own)])
            self._versions[pkgname] = known
        return known

    def known(self, pkgname: str) -> bool:
        """Whether anything has or provides this name."""
        return bool(self.versions(pkgname)) or bool(self._providers(pkgname))

    def similar(self, pkgname: str) -> list[str]:
        """Names of the universe that somebody may have meant by it."""
        if self._similar is None:
            self._similar = Similar(self.universe.names())
        return self._similar.to(pkgname)

    def matches(self, ref: PackageRef) -> tuple[Package, ...]:
        """Everything that answers `ref`, best first."""
        key = key_of(ref)
        found = self._matches.get(key)
        if found is None:
            pkgname = ref.pkgname
            found = matching(self.versions(pkgname), ref)
            providers = self._providers(pkgname)
            if providers:
                real = {id(p) for p in found}
                found = (*found, *(p for p in providers if id(p) not in real and _provides(p, ref)))
            self._matches[key] = found
        return found

    def needs(self, package: Package) -> tuple[Need, ...]:
        """What `package` needs and what answers it, sorted by name. An installed package's need that nothing answers is
        passed over."""
        found = self._needs.get(id(package))
        if found is None:
            refs = package.requires
            if len(refs) > 1:
                refs = tuple(sorted(refs, key=key_of))
            found = tuple([(key_of(ref), ref, self.matches(ref)) for ref in refs])
            if id(package) in self._own:
                found = tuple([need for need in found if need[2]])
            if self._objects.get(package.id) is package:  # kept alive here, so the number stays its own
                self._needs[id(package)] = found
        return found

    def best(self, package: Package) -> tuple[Package, ...] | None:
        """The best answers to what `package` needs, by ascending fingerprint; None where it is one of them itself."""
        number = id(package)
        if number in self._best:
            return self._best[number]
        answers = {id(candidates[0]): candidates[0] for _, _, candidates in self.needs(package) if candidates}
        found = None if number in answers else by_fingerprint(answers.values())
        if number in self._needs:
            self._best[number] = found
        return found

    def requires(self, package: Package) -> tuple[PackageRef, ...]:
        """The references of what it needs."""
        return tuple([ref for _, ref, _ in self.needs(package)])

    def bites(self, package: Package, other: Package) -> bool:
        """Whether a conflict between these two counts: not with oneself, not between installed ones."""
        return package is not other and not (id(package) in self._own and id(other) in self._own)

    def _same(self, packages: Iterable[Package]) -> tuple[Package, ...]:
        objects = self._objects
        return tuple([objects.setdefault(package.id, package) for package in packages])

    def _providers(self, pkgname: str) -> tuple[Package, ...]:
        found = self._same(self.universe.providers(pkgname))
        if not self.installed:
            return found
        # an installed package that no longer provides this hides its equal that does
        found = tuple(p for p in found if id(p) not in self._own)
        own = self._installed_providers.get(pkgname)
        if not own:
            return found
        names: dict[str, list[Package]] = {}
        for package in (*own, *found):
            names.setdefault(package.id.pkgname, []).append(package)
        return tuple(p for name in sorted(names) for p in newest_first(names[name]))


def by_fingerprint(packages: Collection[Package]) -> tuple[Package, ...]:
    """Sorted as the edges of a package are followed (luet.md §4.1)."""
    return tuple(sorted(packages, key=lambda p: p.id.fingerprint) if len(packages) > 1 else packages)


def matching(versions: tuple[Package, ...], ref: PackageRef) -> tuple[Package, ...]:
    """Those packages of a name, newest first, that answer a reference to it."""
    if ref.is_selector:
        return select(Selector.parse(ref.version), versions)
    same = tuple(p for p in versions if p.id.version == ref.version)
    if same or not Version.parse(ref.version).valid:
        return same
    return tuple(p for p in select(Selector("=", ref.version), versions) if p.id.version)


def _provides(package: Package, ref: PackageRef) -> bool:
    return any(_stands_for(given, ref) for given in package.provides if given.pkgname == ref.pkgname)


def _stands_for(given: PackageRef, ref: PackageRef) -> bool:
    if given.version == ref.version or not given.version:
        return True
    if not ref.is_selector or not ref.version:
        return Selector.parse(given.version).matches(ref.version)
    return not given.is_selector and Selector.parse(ref.version).matches(given.version)
