"""The use cases of `tree`: what is in a tree, what its images are, its graph."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter

from treebuilder.annotations import TYPE_CHECKING, Any
from treebuilder.app.building import epoch_from_environment, epoch_of, make_plan, open_tree
from treebuilder.app.options import BuildOptions
from treebuilder.app.secret_key import secret_key
from treebuilder.app.targets import chosen, own, targets_of
from treebuilder.app.workspace import Workspace
from treebuilder.build.bases import Resolver
from treebuilder.events import Warned
from treebuilder.model.package import Package, PackageId
from treebuilder.model.patterns import compile_pattern
from treebuilder.model.solution import Request
from treebuilder.plan import lock as locks
from treebuilder.plan.graph import BuildNode, BuildPlan
from treebuilder.plan.keys import plan_keys
from treebuilder.plan.lock import Lock, bootstrap_key
from treebuilder.records import record, replace
from treebuilder.solver import PackageSolver
from treebuilder.solver.world import World
from treebuilder.tree import Tree
from treebuilder.tree.cells import Cell

if TYPE_CHECKING:
    from treebuilder.plan.luettags import LuetTags


@record
class Listed:
    """A package of a listing: itself, as the view that is listed has it, and the cell that it is of.

    They differ for sub-packages, which stand in the runtime view only and in the folder of what they are carved out of.
    """

    cell: Cell
    sub: Package | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """Category, name and version."""
        return self.cell.key if self.sub is None else (self.id.category, self.id.name, self.id.version)

    @property
    def id(self) -> PackageId:
        return self.cell.id if self.sub is None else self.sub.id

    @property
    def pkgname(self) -> str:
        return self.cell.pkgname if self.sub is None else self.id.pkgname

    def package(self, *, build_time: bool) -> Package:
        """Raises SpecError."""
        return self.sub or (self.cell.view() if build_time else self.cell.definition())


@record
class Listing:
    """What `pkglist` shows. `matches` and `excludes` are patterns over the text that is shown for a package."""

    build_time: bool = False
    deps: bool = False
    revdeps: bool = False
    versions: bool = False
    matches: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()

    def shown(self, listed: Listed) -> str:
        return str(listed.id) if self.versions else listed.pkgname.removeprefix("/")


def listed(tree: Tree, wish: Listing) -> list[Listed]:
    """The packages to show: sorted, or with `deps` each after what it needs.

    Raises SpecError for a pattern, or for a recipe that has to be read because it may name sub-packages.
    """
    matches, excludes = ([compile_pattern(text) for text in texts] for texts in (wish.matches, wish.excludes))

    def chosen(one: Listed) -> bool:
        if not (matches or excludes):
            return True
        text = wish.shown(one)
        wanted = not matches or any(pattern.search(text) for pattern in matches)
        return wanted and not any(pattern.search(text) for pattern in excludes)

    everything = _everything(tree, build_time=wish.build_time)
    found = [one for one in everything if chosen(one)]
    if not (wish.deps or wish.revdeps):
        return found
    by_id = {one.id: one for one in everything}
    universe = tree.compiler() if wish.build_time else tree.runtime()
    solver = PackageSolver()
    if wish.revdeps:
        above = _above(solver.world(universe), [one.package(build_time=wish.build_time) for one in everything])
        todo = [one.id for one in found]
        reached: set[PackageId] = set()
        while todo:
            fresh = above.get(todo.pop(), set()) - reached
            reached |= fresh
            todo.extend(fresh)
        return [by_id[id] for id in sorted(reached) if id in by_id]
    ordered: dict[PackageId, None] = {}
    for one in found:
        order = solver.solve(Request((one.id.exact,)), universe, (), order="runtime").order
        ordered.update(dict.fromkeys(package.id for package in order))
    return [by_id[id] for id in ordered if id in by_id]


def _everything(tree: Tree, *, build_time: bool) -> list[Listed]:
    """All packages of a view, sorted. A package hides a sub-package of its name. Raises SpecError."""
    found = [Listed(cell) for cell in tree.cells]
    if not build_time:
        subs = {sub.id: Listed(cell, sub) for cell in reversed(tree.cells) for sub in cell.subs()}
        found += [one for id, one in subs.items() if tree.cell(id) is None]
    return sorted(found, key=attrgetter("key"))


def _above(world: World, views: list[Package]) -> dict[PackageId, set[PackageId]]:
    """Who may be answered by a package, in any version."""
    above: dict[PackageId, set[PackageId]] = {}
    for view in views:
        for ref in view.requires:
            for answer in world.matches(ref):
                if answer.id != view.id:
                    above.setdefault(answer.id, set()).add(view.id)
    return above


def rows(found: list[Listed], *, build_time: bool) -> list[dict[str, Any]]:
    """Packages as luet's `pkglist -o json` has them (name, category, version, path, image), and what they relate to."""
    made = []
    for one in found:
        shown = one.package(build_time=build_time)
        id = shown.id
        made.append({
            "category": id.category, "name": id.name, "version": id.version, "path": one.cell.path, "image": "",
            "description": shown.description, "license": shown.license, "uri": list(shown.uri),
            "use_flags": list(shown.use_flags), "annotations": dict(shown.annotations), "labels": dict(shown.labels),
            "hidden": shown.hidden, "requires": [str(r) for r in shown.requires],
            "conflicts": [str(r) for r in shown.conflicts], "provides": [str(r) for r in shown.provides],
        })  # fmt: skip
    return made


def _within(text: str) -> str:
    """A text of several lines, all but the first indented."""
    return text.rstrip("\n").replace("\n", "\n    ")


def block(row: dict[str, Any]) -> str:
    """A package in full, for people."""
    lines = [f"{row['category']}/{row['name']}-{row['version']}", f"  path: {row['path']}"]
    lines += [f"  {key}: {_within(row[key])}" for key in ("description", "license") if row[key]]
    lists = ("uri", "use_flags", "requires", "conflicts", "provides")
    lines += [f"  {key}: {', '.join(row[key])}" for key in lists if row[key]]
    maps = ("annotations", "labels")
    lines += [f"  {key[:-1]} {name}: {_within(text)}" for key in maps for name, text in row[key].items()]
    return "\n".join([*lines, *(["  hidden"] if row["hidden"] else [])])


def images(options: BuildOptions, work: Workspace, repository: str) -> list[dict[str, Any]]:
    """The images a build would make, in order: package, key, what it stands on, whether the cache has it.

    `image` is the name that it has in an image repository; the tag is the plan key. Nothing is asked of a network:
    where the lock lacks what a key is made of, the tag is luet's own hash, as far as luet has one, and `plan_key` is
    empty.
    """
    tree = open_tree(options, work, epoch_of(options))
    plan, _ = make_plan(options, work, tree)
    lock, unknown = _known_lock(options, work, plan)
    settled = replace(plan, nodes=_settled(plan, unknown)) if unknown else plan
    keys = plan_keys(settled, tree, lock, secret_key=secret_key(settled, work))
    tags: Mapping[str, tuple[LuetTags, ...]] = {}
    if len(keys) < len(plan.nodes):
        from treebuilder.plan.luettags import luet_tags

        tags = luet_tags(plan, tree, PackageSolver())
        lacking = [id for id in plan.nodes if id not in keys]
        nameless = sum(not tags.get(id) for id in lacking)  # luet has no word for what they are made of
        named = f"{len(lacking) - nameless} of {len(plan.nodes)} are named by luet's tags"
        message = f"the lock lacks what the keys of images are made of: {named}"
        message += f", and {nameless} have no name yet" if nameless else ""
        work.events.emit(Warned(message, None, "treebuild lock writes what is missing"))
    rows = []
    for id, node in plan.nodes.items():
        found = keys.get(id)
        key = found.plan.hex if found else ""
        tag = key or next((known.package for known in tags.get(id, ())), "")
        hit = found is not None and any(work.store.index.get(k.hex) is not None for k in (found.plan, found.artifact))
        rows.append({
            "category": node.pid.category, "name": node.pid.name, "version": node.pid.version,
            "path": "", "image": f"{repository}:{tag}" if tag else "", "plan_key": key,
            "base": type(node.base).__name__.removesuffix("Base").lower(),
            "on": [str(plan.nodes[n].pid) for n in (*node.parents(), *node.joined())], "cached": hit,
        })  # fmt: skip
    return rows


def _known_lock(options: BuildOptions, work: Workspace, plan: BuildPlan) -> tuple[Lock, frozenset[str]]:
    """The lock as it is, with layouts of the tree and the epoch, and the names of what it lacks for the plan.

    Raises SpecError for a lock or a layout that cannot be read.
    """
    lock = locks.read(options.lock_file)
    resolver = Resolver(work.store, None, work.events, work.cancel)
    lacking = resolver.missing(plan, lock)
    said = epoch_from_environment()
    if said is not None or all(bootstrap_key(wish) in lock.bootstraps for wish in plan.bootstraps()):
        lock, lacking = lock.with_epoch(said), [name for name in lacking if name != "epoch"]
    return resolver.with_layouts(plan, lock), frozenset(lacking)


def _settled(plan: BuildPlan, unknown: frozenset[str]) -> dict[str, BuildNode]:
    """The nodes that neither take anything `unknown` from outside nor stand on such; the epoch is in all of them."""
    found: dict[str, BuildNode] = {}
    for id, node in plan.nodes.items() if "epoch" not in unknown else ():
        alone = replace(plan, nodes={id: node})
        named = {*alone.images(), *alone.urls(), *map(bootstrap_key, alone.bootstraps())}
        if named.isdisjoint(unknown) and all(other in found for other in (*node.parents(), *node.joined())):
            found[id] = node
    return found


def luet_images(options: BuildOptions, work: Workspace, repository: str) -> list[dict[str, Any]]:
    """The images that luet would make for each target, what it stands on first (luet.md §4.2)."""
    from treebuilder.plan.luethash import package_hash
    from treebuilder.plan.luettags import LuetOrders

    tree = open_tree(options, work, 0)
    orders = LuetOrders(tree, PackageSolver())
    mine = frozenset(own(options, tree))
    rows = []
    for ref in targets_of(options, tree):
        order = orders.of(chosen(ref, tree, mine).id)
        for number, found in enumerate(order, 1):
            id = found.package.id
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
