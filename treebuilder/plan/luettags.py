"""Which images of luet's would stand for the nodes of a plan: the tags that luet gives to them (luet.md §4.1, §4.2).

luet builds a linear chain for every target, and a tag depends on all that comes before a package in that chain. So a
node has a tag for each target that it is reached through, that of its own chain first.
"""

from __future__ import annotations

from treebuilder.model.package import PackageId, PackageRef
from treebuilder.model.solution import Request, Solver
from treebuilder.plan.graph import BuildPlan, EmptyBase, NodeBase
from treebuilder.plan.luethash import build_hash, builder_tag, package_hash
from treebuilder.records import record
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
    own: dict[str, list[LuetTags]] = {}
    others: dict[str, list[LuetTags]] = {}
    for pid in dict.fromkeys(node.pid for node in plan.nodes.values()):
        order = _order(pid, plan, tree, solver)
        if any(found.recipe.bootstrap or tree.layering_of(found) == "merge" for found in order):
            continue  # luet has neither
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


def _order(pid: PackageId, plan: BuildPlan, tree: Tree, solver: Solver) -> tuple[TreePackage, ...]:
    """What a package stands on in luet's order, itself last."""
    found = tree.get(pid)
    assert found is not None, pid
    if found.recipe.requires_final_images or not found.recipe.requires:
        return (found,)
    packages = plan.orders.get(pid)
    if packages is None:  # it has an image, so nobody has asked yet
        request = Request((PackageRef(pid.category, pid.name, pid.version),))
        packages = solver.solve(request, tree.compiler(), (), order="build").order
    return tuple(one for one in (tree.get(package.id) for package in packages) if one is not None)
