"""The use case *validate*: everything wrong with a tree that can be known without building."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import copy
from functools import partial
from pathlib import Path

from treebuilder.annotations import Literal
from treebuilder.app.building import make_plan, open_tree
from treebuilder.app.options import BuildOptions
from treebuilder.app.soundness import nonsense, troubles, unanswered
from treebuilder.app.workspace import Workspace
from treebuilder.errors import Place, SpecError, TreebuildError
from treebuilder.events import EventSink, Warned
from treebuilder.model.package import Package, PackageId, PackageRef, Recipe
from treebuilder.model.patterns import compile_pattern
from treebuilder.oci.layout import Layout
from treebuilder.plan.places import place_of, said_at
from treebuilder.plan.planner import image_reference
from treebuilder.plan.refusals import groundless, refuse_length, refuse_recipe, refuse_twice
from treebuilder.records import record, replace
from treebuilder.solver.world import World
from treebuilder.tree import Tree, TreePackage
from treebuilder.tree.definition import Tell, unknown_key

SIDES: tuple[Literal["build", "runtime"], ...] = ("build", "runtime")


@record
class Wanted:
    """What is validated. `matches` and `excludes` are patterns over `category/name-version`; any that matches counts.

    `deep` also reads every file of every build context, and plans a build of everything.
    """

    sides: tuple[Literal["build", "runtime"], ...] = SIDES
    matches: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    solve: bool = True
    deep: bool = False

    def chooses(self, name: str, patterns: dict[str, re.Pattern[str]]) -> bool:
        if self.matches and not any(patterns[p].search(name) for p in self.matches):
            return False
        return not any(patterns[p].search(name) for p in self.excludes)


@record
class Fault:
    """`package` is `category/name-version`; "" for a specfile that cannot be read."""

    package: str
    side: str
    error: TreebuildError


def validate(options: BuildOptions, work: Workspace, wanted: Wanted) -> tuple[int, tuple[Fault, ...]]:
    """How many packages were looked at, and the faults, by package.

    Where specfiles cannot be read, all of those are the faults: what misses their packages is not looked into.
    Raises SpecError for a tree or a file of values that is not there.
    """
    patterns = {text: compile_pattern(text) for text in (*wanted.matches, *wanted.excludes)}
    unreadable: list[SpecError] = []
    tree = open_tree(options, work, 0, recipes="build" in wanted.sides, faults=unreadable)
    cells = [cell for cell in tree.cells if wanted.chooses(str(cell.id), patterns)]
    faults = [Fault("", "files", err) for err in unreadable]
    for side in wanted.sides if not unreadable else ():
        universe = tree.compiler() if side == "build" else tree.runtime()
        views = [view for view in (universe.find(cell.id) for cell in cells) if view is not None]
        if wanted.solve:
            found = troubles(views, universe, side)
            faults += [Fault(str(view.id), side, found[view.id]) for view in views if view.id in found]
        else:
            world = World(universe, ())
            for view in views:
                faults += [Fault(str(view.id), side, _unanswered(ref)) for ref in unanswered(view, world)]
    warned = _Warnings(work.events)
    compiled = None if unreadable else World(tree.compiler(), ())
    ground = _Ground(tree, compiled)
    for cell in cells:
        found_package = (cell if wanted.deep else copy(cell)).package()  # a copy forgets what it has read
        faults += [
            Fault(str(cell.id), side, err) for side, err in _of_references(found_package, compiled, wanted.sides)
        ]
        faults += [
            Fault(str(cell.id), "files", err) for err in _of_files(found_package, tree, ground, warned.add, wanted.deep)
        ]
    if wanted.deep and not faults and cells:
        try:
            make_plan(replace(options, all=True), work, tree)
        except TreebuildError as err:
            faults.append(Fault(str(cells[0].id), "plan", err))
    position = {str(cell.id): at for at, cell in enumerate(cells)}
    return len(cells), tuple(sorted(faults, key=lambda fault: position.get(fault.package, -1)))


class _Warnings:
    """Warns of what finalizers hold that nobody reads, once for each place."""

    def __init__(self, events: EventSink) -> None:
        self._events = events
        self._said: set[tuple[str, str, Place]] = set()

    def add(self, key: str, message: str, place: Place) -> None:
        if (key, message, place) not in self._said:
            self._said.add((key, message, place))
            said, hint = unknown_key(key, message) if key else (message, None)
            self._events.emit(Warned(said, place, hint))


def _unanswered(ref: PackageRef) -> SpecError:
    return SpecError(f"nothing in the tree answers {ref}", where=ref.where, reason="unknown-package")


def _of_references(
    found: TreePackage, world: World | None, sides: tuple[Literal["build", "runtime"], ...]
) -> Iterator[tuple[str, SpecError]]:
    """What no solver asks about: packages that files are copied from, versions that are provided or refused."""
    recipe = found.recipe
    says: dict[str, tuple[Package | Recipe, ...]] = {
        "build": (recipe,), "runtime": (found.package, *(sub.package for sub in recipe.subpackages))
    }  # fmt: skip
    for side in sides:
        for ref, why in nonsense(says[side]):
            message = f"{ref.pkgname} is named in a version that means nothing: {why}"
            yield side, SpecError(message, where=ref.where, reason="no-version")
        for item in recipe.copy if side == "build" else ():
            if item.package is not None and world is not None and not world.matches(item.package):
                yield side, _unanswered(item.package)


class _Ground:
    """Which packages have something below them that steps can run on; those without image and steps add nothing."""

    def __init__(self, tree: Tree, world: World | None) -> None:
        """Without a world only what a package says of itself counts."""
        self._tree = tree
        self._world = world
        self._known: dict[PackageId, bool] = {}

    def is_below(self, found: TreePackage) -> bool:
        """False where neither the package has a base nor anything that it may require, or that may require."""
        id = found.package.id
        if _has_base(found.recipe) or (self._world is None and found.recipe.requires):
            return True
        if id not in self._known and self._world is not None:
            self._look(id, self._world)
        return self._known.get(id, False)

    def _look(self, id: PackageId, world: World) -> None:
        """Goes down until there is a base, or a reference that nothing answers, which is a fault of its own."""
        above: dict[PackageId, PackageId | None] = {id: None}
        todo = [id]
        while todo:
            at = todo.pop()
            found, view = self._tree.get(at), world.universe.find(at)
            answers = [world.matches(ref) for ref in view.requires] if view is not None else []
            if self._known.get(at) or found is None or _has_base(found.recipe) or not all(answers):
                step: PackageId | None = at
                while step is not None:
                    self._known[step] = True
                    step = above[step]
                return
            for answer in (package.id for packages in answers for package in packages):
                if answer not in above and self._known.get(answer, True):
                    above[answer] = at
                    todo.append(answer)
        self._known.update(dict.fromkeys(above, False))


def _has_base(recipe: Recipe) -> bool:
    return bool(recipe.image or recipe.bootstrap or recipe.requires_final_images or recipe.dockerfile)


def _of_files(found: TreePackage, tree: Tree, ground: _Ground, tell: Tell, deep: bool) -> Iterator[TreebuildError]:
    """What is wrong with a package by itself: the finalizer, the recipe, the layouts that it names."""
    recipe, package = found.recipe, found.package
    try:
        refuse_twice(package.id, tree)
        refuse_length(package)
        for sub in recipe.subpackages:
            refuse_length(sub.package)
        tree.finalizer(found, tell)
        refuse_recipe(recipe, tree)
        if not recipe.is_empty and not ground.is_below(found):
            raise groundless(package.id, recipe)
        for key, image in (("image", recipe.image), *(("copy", copy.image) for copy in recipe.copy)):
            if image.startswith("oci:"):
                with said_at(partial(place_of, recipe.where, key, image)):
                    Layout(Path(image_reference(image, found.context, recipe.where).removeprefix("oci:"))).resolve()
        if deep:
            tree.context_digest(found)
    except TreebuildError as err:
        yield err
