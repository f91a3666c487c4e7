"""Which packages answer a reference: the universe and the installed packages seen as one.

Rules (luet.md §8, HEAD; ours are marked):
- an exact version is answered by that very text, or else by an equal version; a selector by every match;
- ours: the packages of that name come first, newest first, then the providers, by name and newest first;
- a provider answers if the wanted text equals the provided one, if the wanted version satisfies the provided
  selector, or (ours) if the provided version satisfies the wanted selector;
- ours: nothing conflicts with itself, and what is already broken among the installed packages is left as it is.
"""

from __future__ import annotations

from treebuilder.model.package import Package, PackageRef
from treebuilder.model.packageset import PackageSet
from treebuilder.model.version import Selector, Version, compare, newest_first


class World:
    """Answers references, with a memory; asks the universe only for names that somebody reaches."""

    def __init__(self, universe: PackageSet, installed: tuple[Package, ...]) -> None:
        self.universe = universe
        self.installed = {package.id: package for package in installed}
        self._by_name: dict[str, list[Package]] = {}
        self._installed_providers: dict[str, list[Package]] = {}
        for package in self.installed.values():
            self._by_name.setdefault(package.id.pkgname, []).append(package)
            for name in {ref.pkgname for ref in package.provides}:
                self._installed_providers.setdefault(name, []).append(package)
        self.installed_names = tuple(sorted(self._by_name))
        self._versions: dict[str, tuple[Package, ...]] = {}
        self._matches: dict[tuple[str, str, str], tuple[Package, ...]] = {}

    def installed_of(self, pkgname: str) -> tuple[Package, ...]:
        return tuple(self._by_name.get(pkgname, ()))

    def versions(self, pkgname: str) -> tuple[Package, ...]:
        """All packages of this name, newest first. An installed package stands for its equal in the universe."""
        known = self._versions.get(pkgname)
        if known is None:
            known = self.universe.versions(pkgname)
            own = self._by_name.get(pkgname)
            if own:
                known = newest_first([*own, *(p for p in known if p.id not in self.installed)])
            self._versions[pkgname] = known
        return known

    def known(self, pkgname: str) -> bool:
        """Whether anything has or provides this name."""
        return bool(self.versions(pkgname)) or bool(self._providers(pkgname))

    def matches(self, ref: PackageRef) -> tuple[Package, ...]:
        """Everything that answers `ref`, best first."""
        key = (ref.category, ref.name, ref.version)
        found = self._matches.get(key)
        if found is None:
            real = _matching(self.versions(ref.pkgname), ref)
            ids = {p.id for p in real}
            provided = (p for p in self._providers(ref.pkgname) if p.id not in ids and _provides(p, ref))
            found = self._matches[key] = (*real, *provided)
        return found

    def requires(self, package: Package) -> tuple[PackageRef, ...]:
        """What `package` needs, sorted by name. An installed package's need that nothing answers is passed over."""
        refs = package.requires
        if package.id in self.installed:
            refs = tuple(ref for ref in refs if self.matches(ref))
        return refs if len(refs) < 2 else tuple(sorted(refs))

    def bites(self, package: Package, other: Package) -> bool:
        """Whether a conflict between these two counts: not with oneself, not between installed ones."""
        if package.id == other.id:
            return False
        return not (package.id in self.installed and other.id in self.installed)

    def _providers(self, pkgname: str) -> tuple[Package, ...]:
        found = self.universe.providers(pkgname)
        own = self._installed_providers.get(pkgname)
        if not own:
            if not self.installed:
                return found
            # an installed package that no longer provides this hides its equal that does
            return tuple(p for p in found if p.id not in self.installed)
        names: dict[str, list[Package]] = {}
        for package in (*own, *(p for p in found if p.id not in self.installed)):
            names.setdefault(package.id.pkgname, []).append(package)
        return tuple(p for name in sorted(names) for p in newest_first(names[name]))


def _matching(versions: tuple[Package, ...], ref: PackageRef) -> tuple[Package, ...]:
    if ref.is_selector:
        if not ref.version:
            return versions
        selector = Selector.parse(ref.version)
        return tuple(p for p in versions if selector.matches(p.id.version))
    same = tuple(p for p in versions if p.id.version == ref.version)
    if same or not Version.parse(ref.version).valid:
        return same
    return tuple(p for p in versions if compare(p.id.version, ref.version) == 0 and Version.parse(p.id.version).valid)


def _provides(package: Package, ref: PackageRef) -> bool:
    return any(_stands_for(given, ref) for given in package.provides if given.pkgname == ref.pkgname)


def _stands_for(given: PackageRef, ref: PackageRef) -> bool:
    if given.version == ref.version or not given.version:
        return True
    if not ref.is_selector or not ref.version:
        return Selector.parse(given.version).matches(ref.version)
    return not given.is_selector and Selector.parse(ref.version).matches(given.version)
