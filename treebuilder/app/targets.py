"""What a build is for: the packages that were named, everything, the leaves, what stands on something.

Packages of dependency-only trees (`--tree-deps`) are built on and never targets.
"""

from __future__ import annotations

from collections.abc import Mapping

from treebuilder.annotations import Any
from treebuilder.app.options import BuildOptions
from treebuilder.errors import SpecError
from treebuilder.model.package import Package, PackageId, PackageRef
from treebuilder.model.packageset import MemoryPackages
from treebuilder.model.solution import Request, Solver
from treebuilder.records import replace
from treebuilder.solver import PackageSolver
from treebuilder.tree import Tree


def own(options: BuildOptions, tree: Tree) -> tuple[PackageId, ...]:
    """The packages that may be targets, sorted."""
    deps = set(options.tree_deps) - set(options.trees)
    return tuple(sorted(cell.id for cell in tree.cells if cell.root not in deps))


def targets_of(options: BuildOptions, tree: Tree) -> tuple[PackageRef, ...]:
    """The targets in the order named, or sorted. Raises SpecError, Unsatisfiable."""
    if not (options.all or options.full or options.tree_deps or options.revdeps):
        return options.targets
    mine = own(options, tree)
    orders: Mapping[PackageId, tuple[Package, ...]] = {}
    if options.full or options.revdeps:
        orders = _orders(tree, mine)
    if options.all:
        found = [id.exact for id in mine]
    elif options.full:
        below = {package.id for id, order in orders.items() for package in order if package.id != id}
        found = [id.exact for id in mine if id not in below]
    else:
        found = [chosen(ref, tree, frozenset(mine)).id.exact for ref in options.targets]
    if options.revdeps:
        built = {(ref.pkgname, ref.version) for ref in found}
        found += [
            id.exact
            for id, order in orders.items()
            if (id.pkgname, id.version) not in built and any((p.id.pkgname, p.id.version) in built for p in order)
        ]
    return tuple(found)


def dependency_only(options: BuildOptions, tree: Tree) -> frozenset[PackageId]:
    """The packages that are not packed for their own sake."""
    return frozenset(tree.ids) - frozenset(own(options, tree)) if options.tree_deps else frozenset()


def _orders(tree: Tree, ids: tuple[PackageId, ...]) -> dict[PackageId, tuple[Package, ...]]:
    """What each package stands on, itself last. Raises Unsatisfiable, SpecError (cycle)."""
    solver: Solver = PackageSolver()
    return {id: solver.solve(Request((id.exact,)), tree.compiler(), ()).order for id in ids}


def chosen(ref: PackageRef, tree: Tree, mine: frozenset[PackageId] | None = None) -> Package:
    """The newest package that answers a word, of `mine` if given. Raises SpecError, Unsatisfiable."""
    compiler = tree.compiler()
    found = compiler.versions(ref.pkgname) or compiler.providers(ref.pkgname)
    candidates = [
        replace(package, requires=(), conflicts=()) for package in found if mine is None or package.id in mine
    ]
    if found and not candidates:
        raise SpecError(
            f"{ref} is only in a dependency-only tree", where=found[0].where, reason="dependency-only",
            hint="give its tree with --tree to build it for its own sake",
        )  # fmt: skip
    return PackageSolver().solve(Request((ref,)), MemoryPackages(candidates), ()).answers[0][1]


def pretended(options: BuildOptions, tree: Tree) -> list[dict[str, Any]]:
    """luet's `build --pretend`: for each target the packages it stands on, in the order of the build."""
    solver = PackageSolver()
    rows: list[dict[str, Any]] = []
    mine = frozenset(own(options, tree))
    for ref in targets_of(options, tree):
        target = chosen(ref, tree, mine)
        order = solver.solve(Request((target.id.exact,)), tree.compiler(), ()).order
        rows += [
            {
                "name": package.id.name, "version": package.id.version, "category": package.id.category,
                "repository": "", "target": str(target.id), "hidden": package.hidden, "files": None,
                "installed": False,
            }
            for package in order
            if package.id != target.id
        ]  # fmt: skip
    return rows
