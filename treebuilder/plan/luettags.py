"""Which images of luet's would stand for the nodes of a plan: the tags that luet gives to them (luet.md §4.1, §4.2).

luet builds a linear chain for every target, and a tag depends on all that comes before a package in that chain. So a
node has a tag for each target that it is reached through, that of its own chain first.
"""

from __future__ import annotations

from treebuilder.model.package import Package, PackageId
from treebuilder.model.packageset import PackageSet
from treebuilder.model.solution import Request, Solver
from treebuilder.plan.graph import BuildPlan, EmptyBase, NodeBase
from treebuilder.plan.luethash import build_hash, builder_tag, package_hash, unjoined
from treebuilder.records import record, replace
from treebuilder.tree import Tree, TreePackage


@record
class LuetTags:
    """The tag of a package's image, and of the image that its steps were run on."""

    package: str
    builder: str


def luet_tags(plan: BuildPlan, tree: Tree, solver: Solver) -> dict[str, tuple[LuetTags, ...]]:
    """Tags by node, for those nodes that luet could have made. Raises Unsatisfiable, SpecError."""
    chained = {(node.pid, node.base): id for id, node in plan.nodes.items() if isinstance(node.base, NodeBase)}
    first = {
        node.pid: id for id, node in plan.nodes.items()
        if not isinstance(node.base, NodeBase) and not (node.package.recipe.is_empty and node.base == EmptyBase())
    }  # fmt: skip
    orders = LuetOrders(tree, solver)
    own: dict[str, list[LuetTags]] = {}
    others: dict[str, list[LuetTags]] = {}
    for pid in dict.fromkeys(node.pid for node in plan.nodes.values()):
        order = orders.of(pid, plan.orders.get(pid))
        if any(f.recipe.bootstrap or tree.layering_of(f) == "merge" or unjoined(f.recipe) is not None for f in order):
            continue  # luet has none of them
        image = ""
        for number, found in enumerate(order, 1):
            recipe, id = found.recipe, found.package.id
            starts = recipe.image or recipe.requires_final_images or recipe.dockerfile
            if recipe.is_empty and not starts:
                continue
            image = first.get(id, "") if starts else chained.get((id, NodeBase((image,))), "")
            if image:
                last = number == len(order)
                (own if last else others).setdefault(image, []).append(_tags(order, number))
    return {
        id: tuple(dict.fromkeys((*own.get(id, ()), *others.get(id, ())))) for id in plan.nodes if id in own | others
    }


def _tags(order: tuple[TreePackage, ...], number: int) -> LuetTags:
    """Of the package at a place in a target's order."""
    found, upto = order[number - 1], order[:number]
    if found.recipe.image and number < len(order):
        return LuetTags(package_hash(upto), build_hash(upto))
    return LuetTags(package_hash(upto), builder_tag(found, package_hash(order)))


class LuetOrders:
    """What packages stand on, in luet's order: what is built on final images stands on nothing for luet's hashes."""

    def __init__(self, tree: Tree, solver: Solver) -> None:
        self._tree = tree
        self._solver = solver
        self._hashed = _Hashed(tree)

    def of(self, pid: PackageId, known: tuple[Package, ...] | None = None) -> tuple[TreePackage, ...]:
        """The package is the last one. `known` is the order of its build. Raises Unsatisfiable, SpecError."""
        seen = self._hashed.find(pid)
        if seen is None or not seen.requires:
            return (self._package(pid),)
        order = () if known is None else tuple(self._package(package.id) for package in known)
        if not order or any(found.recipe.requires_final_images for found in order):
            request = Request((pid.exact,))
            packages = self._solver.solve(request, self._hashed, (), order="build").order
            order = tuple(self._package(package.id) for package in packages)
        return order

    def _package(self, pid: PackageId) -> TreePackage:
        found = self._tree.get(pid)
        assert found is not None, pid
        return found


class _Hashed:
    """The packages of the compiler's view, those that are built on final images without their requires."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._all: PackageSet = tree.compiler()
        self._known: dict[str, tuple[Package, ...]] = {}

    def names(self) -> tuple[str, ...]:
        return self._all.names()

    def versions(self, pkgname: str) -> tuple[Package, ...]:
        if pkgname not in self._known:
            self._known[pkgname] = tuple(map(self._seen, self._all.versions(pkgname)))
        return self._known[pkgname]

    def find(self, package: PackageId) -> Package | None:
        return next((found for found in self.versions(package.pkgname) if found.id == package), None)

    def providers(self, pkgname: str) -> tuple[Package, ...]:
        return tuple(map(self._seen, self._all.providers(pkgname)))

    def _seen(self, package: Package) -> Package:
        found = self._tree.get(package.id) if package.requires else None
        if found is None or not found.recipe.requires_final_images:
            return package
        return replace(package, requires=package.requires[: unjoined(found.recipe) or 0])
