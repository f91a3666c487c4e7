"""What a tree may hold and a build may not: refused for what is planned, while the rest of the tree is of use."""

from __future__ import annotations

from treebuilder.errors import SpecError
from treebuilder.model.package import PackageId, Recipe
from treebuilder.plan.places import place_of
from treebuilder.tree import Tree, TreePackage, recipe_faults


def refuse(found: TreePackage, tree: Tree) -> None:
    """Raises SpecError for a package that stands twice, or whose recipe cannot be built."""
    refuse_twice(found.package.id, tree)
    refuse_recipe(found.recipe)


def refuse_twice(id: PackageId, tree: Tree) -> None:
    """Raises SpecError for a package that stands twice."""
    twice = tree.doubled.get(id.fingerprint)
    if twice is not None:
        raise SpecError(
            f"the package {id} is defined twice, first in {twice[0]}", where=twice[1],
            reason="duplicate-package", hint="change a version, or remove one of the two",
        )  # fmt: skip


def refuse_recipe(recipe: Recipe) -> None:
    """Raises SpecError for the first thing in it that luet would read and nobody can build."""
    for fault, (key, word) in recipe_faults(recipe):
        fault.where = recipe.copy[int(word)].where if key == "copy" else place_of(recipe.where, key, word)
        raise fault
