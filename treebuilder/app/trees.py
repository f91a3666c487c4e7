"""The use cases of `tree`: what is in a tree, what its images are, its graph."""

from __future__ import annotations

from operator import attrgetter

from treebuilder.annotations import Any
from treebuilder.app.building import make_plan, open_tree, prepare
from treebuilder.app.options import BuildOptions
from treebuilder.app.targets import chosen, own, targets_of
from treebuilder.app.workspace import Workspace
from treebuilder.model.package import Package, PackageId
from treebuilder.model.patterns import compile_pattern
from treebuilder.model.solution import Request
from treebuilder.plan.planner import exact
from treebuilder.records import record
from treebuilder.solver import PackageSolver
from treebuilder.solver.world import World
from treebuilder.tree import Tree
from treebuilder.tree.cells import Cell


@record
class Listing:
    """What `pkglist` shows. `matches` and `excludes` are patterns over the text that is shown for a package."""

    build_time: bool = False
    deps: bool = False
    revdeps: bool = False
    versions: bool = False
    matches: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()

    def shown(self, cell: Cell) -> str:
        return str(cell.id) if self.versions else cell.pkgname.removeprefix("/")


def listed(tree: Tree, wish: Listing) -> list[Cell]:
    """The packages to show: sorted, or with `deps` each after what it needs. Raises SpecError for a pattern."""
    matches, excludes = ([compile_pattern(text) for text in texts] for texts in (wish.matches, wish.excludes))

    def chosen(cell: Cell) -> bool:
        if not (matches or excludes):
            return True
        text = wish.shown(cell)
        wanted = not matches or any(pattern.search(text) for pattern in matches)
        return wanted and not any(pattern.search(text) for pattern in excludes)

    cells = [cell for cell in sorted(tree.cells, key=attrgetter("key")) if chosen(cell)]
    if not (wish.deps or wish.revdeps):
        return cells
    by_id = {cell.id: cell for cell in tree.cells}
    universe = tree.compiler() if wish.build_time else tree.runtime()
    solver = PackageSolver()
    if wish.revdeps:
        above = _above(
            solver.world(universe), [cell.view() if wish.build_time else cell.definition() for cell in tree.cells]
        )
        todo = [cell.id for cell in cells]
        found: set[PackageId] = set()
        while todo:
            fresh = above.get(todo.pop(), set()) - found
            found |= fresh
            todo.extend(fresh)
        return [by_id[id] for id in sorted(found) if id in by_id]
    ordered: dict[PackageId, None] = {}
    for cell in cells:
        order = solver.solve(Request((exact(cell.id),)), universe, (), order="runtime").order
        ordered.update(dict.fromkeys(package.id for package in order))
    return [by_id[id] for id in ordered if id in by_id]


def _above(world: World, views: list[Package]) -> dict[PackageId, set[PackageId]]:
    """Who may be answered by a package, in any version."""
    above: dict[PackageId, set[PackageId]] = {}
    for view in views:
        for ref in view.requires:
            for answer in world.matches(ref):
                if answer.id != view.id:
                    above.setdefault(answer.id, set()).add(view.id)
    return above


def rows(cells: list[Cell], *, build_time: bool) -> list[dict[str, Any]]:
    """Packages as luet's `pkglist -o json` has them (name, category, version, path, image), and what they relate to."""
    made = []
    for cell in cells:
        shown = cell.view() if build_time else cell.definition()
        id = shown.id
        made.append({
            "category": id.category, "name": id.name, "version": id.version, "path": cell.path, "image": "",
            "hidden": shown.hidden, "labels": dict(shown.labels), "requires": [str(r) for r in shown.requires],
            "conflicts": [str(r) for r in shown.conflicts], "provides": [str(r) for r in shown.provides],
        })  # fmt: skip
    return made


def block(row: dict[str, Any]) -> str:
    """A package in full, for people."""
    lines = [f"{row['category']}/{row['name']}-{row['version']}", f"  path: {row['path']}"]
    lines += [f"  {key}: {', '.join(row[key])}" for key in ("requires", "conflicts", "provides") if row[key]]
    lines += [f"  {name}: {text}" for name, text in row["labels"].items()]
    return "\n".join([*lines, *(["  hidden"] if row["hidden"] else [])])


def images(options: BuildOptions, work: Workspace, repository: str) -> list[dict[str, Any]]:
    """The images a build would make, in order: package, key, what it stands on, whether the cache has it.

    `image` is the name that it has in an image repository; the tag is the plan key, not luet's hash (`luet_images`).
    """
    planned = prepare(options, work)
    rows = []
    for id, node in planned.plan.nodes.items():
        keys = planned.keys[id]
        hit = work.store.index.get(keys.plan.hex) is not None or work.store.index.get(keys.artifact.hex) is not None
        rows.append({
            "category": node.pid.category, "name": node.pid.name, "version": node.pid.version,
            "path": "", "image": f"{repository}:{keys.plan.hex}", "plan_key": keys.plan.hex,
            "base": type(node.base).__name__.removesuffix("Base").lower(),
            "on": [str(planned.plan.nodes[n].pid) for n in (*node.parents(), *node.joined())], "cached": hit,
        })  # fmt: skip
    return rows


def luet_images(options: BuildOptions, work: Workspace, repository: str) -> list[dict[str, Any]]:
    """The images that luet would make for each target, what it stands on first (luet.md §4.2)."""
    from treebuilder.plan.luethash import package_hash

    tree = open_tree(options, work, 0)
    universe, solver = tree.compiler(), PackageSolver()
    mine = frozenset(own(options, tree))
    rows = []
    for ref in targets_of(options, tree):
        target = chosen(ref, tree, mine).id
        ids = [package.id for package in solver.solve(Request((exact(target),)), universe, (), order="build").order]
        order = [found for found in map(tree.get, ids) if found is not None]
        for number, id in enumerate(ids, 1):
            rows.append({
                "category": id.category, "name": id.name, "version": id.version, "path": "",
                "image": f"{repository}:{package_hash(order[:number])}",
            })  # fmt: skip
    return rows


def graph(options: BuildOptions, work: Workspace) -> dict[str, Any]:
    """The prefix tree as nodes and edges."""
    tree = open_tree(options, work, 0)
    plan, _ = make_plan(options, work, tree)
    nodes = [{"id": id, "package": str(node.pid)} for id, node in plan.nodes.items()]
    edges = [
        {"from": id, "to": other, "kind": kind}
        for id, node in plan.nodes.items()
        for kind, others in (("image", node.parents()), ("artifact", node.joined()))
        for other in others
    ]
    return {"schema": "treebuild.graph/1", "nodes": nodes, "edges": edges}
