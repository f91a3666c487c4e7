"""What a tree may hold and a build may not: refused for what is planned, while the rest of the tree is of use."""

from __future__ import annotations

from treebuilder.errors import Place, SpecError
from treebuilder.model.package import Package, PackageId, Recipe
from treebuilder.plan.places import place_of
from treebuilder.tree import Tree, TreePackage, recipe_faults

_LONGEST_BYTES = 220  # of the 255 that a name has, without `.package.tar.zst` and what is put before it meanwhile


def refuse(found: TreePackage, tree: Tree) -> None:
    """Raises SpecError for a package that stands twice, or whose recipe cannot be built."""
    refuse_twice(found.package.id, tree)
    for package in (found.package, *(sub.package for sub in found.recipe.subpackages)):
        refuse_length(package)
    refuse_recipe(found.recipe, tree)


def refuse_length(package: Package) -> None:
    """Raises SpecError for a package whose files no file system could name."""
    length = len(package.id.fingerprint.encode("utf-8", "surrogateescape"))
    if length > _LONGEST_BYTES:
        raise SpecError(
            f"{package.id}: name, category and version have {length} bytes, more than a file's name holds",
            where=package.where, reason="name", hint=f"{_LONGEST_BYTES} are room enough for what stands behind them",
        )  # fmt: skip


def refuse_twice(id: PackageId, tree: Tree) -> None:
    """Raises SpecError for a package that stands twice."""
    twice = tree.doubled.get(id.fingerprint)
    if twice is not None:
        raise SpecError(
            f"the package {id} is defined twice, first in {twice[0]}", where=twice[1],
            reason="duplicate-package", hint="change a version, or remove one of the two",
        )  # fmt: skip


def refuse_recipe(recipe: Recipe, tree: Tree) -> None:
    """Raises SpecError for the first thing in it that luet would read and nobody can build."""
    for fault, (key, word) in recipe_faults(recipe):
        fault.where = recipe.copy[int(word)].where if key == "copy" else place_of(recipe.where, key, word)
        if not fault.where.line:
            shared = _in_shared(word, tree)
            if shared is not None:
                fault.message += f" (called in {fault.where})"
                fault.where = shared
        raise fault


def _in_shared(word: str, tree: Tree) -> Place | None:
    """The first line of a shared template that says a word."""
    for file, text in tree.shared_texts if word else ():
        for number, line in enumerate(text.splitlines(), 1):
            if word in line:
                return Place(file, number)
    return None


def groundless(package: PackageId, recipe: Recipe) -> SpecError:
    """The error of a package that has something to run and nothing to run it on."""
    steps = (*recipe.prelude, *recipe.steps)
    where = steps[0].where if steps else recipe.where
    for key in ("unpack", "package_dir"):
        where = where if where.line else place_of(where, key)
    return SpecError(
        f"{package} has steps but nothing to run them on", where=where, reason="no-base",
        hint="give it an `image:`, a `bootstrap:` or `requires:`",
    )  # fmt: skip
