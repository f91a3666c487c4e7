"""From targets to the prefix tree (architecture, "Layering"; luet.md §4.1, §4.6, §4.7).

A package's artifact is made from its own chain, never from the target it was reached through. Equal prefixes are one
node. A package with an `image`, a `bootstrap` or joined final images starts a chain anew; a virtual one passes its
base through.
"""

from __future__ import annotations

import fnmatch
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

from treebuilder.errors import Place, SpecError
from treebuilder.model.digest import Digest
from treebuilder.model.package import NOWHERE, CopyItem, Package, PackageId, PackageRef
from treebuilder.model.packageset import MemoryPackages, PackageSet
from treebuilder.model.solution import Request, Solver
from treebuilder.plan.graph import (
    Base,
    BootstrapBase,
    BuildNode,
    BuildPlan,
    CopySource,
    EmptyBase,
    Foreign,
    ImageBase,
    JoinBase,
    NodeBase,
    Retrieved,
)
from treebuilder.plan.keys import host_platform
from treebuilder.plan.overlay import WithPackage
from treebuilder.plan.places import look_at_layouts, place_of
from treebuilder.plan.refusals import groundless, refuse
from treebuilder.records import record, replace
from treebuilder.solver.world import matching
from treebuilder.tree import Tree, TreePackage, build_view


@record
class PlanOptions:
    """`destination` is where earlier artifacts lie, for `retrieve`. `resources` are ours, by `treebuild:` name.

    `dependency_only` are packages that are not packed because another stands on them.
    """

    destination: Path
    only_target_package: bool = False
    onlydeps: bool = False
    resources: Mapping[str, Callable[[], bytes]] | None = None
    foreign: Mapping[PackageId, Foreign] | None = None
    dependency_only: frozenset[PackageId] = frozenset()


class Planner:
    """Plans targets of one tree. `foreign` packages (of repositories) satisfy joins by their artifacts."""

    def __init__(self, tree: Tree, solver: Solver, options: PlanOptions) -> None:
        self._tree = tree
        self._solver = solver
        self._options = options
        self._foreign = dict(options.foreign or {})
        self._nodes: dict[str, BuildNode] = {}
        self._ids: dict[tuple[PackageId, Base], str] = {}
        self._own: dict[PackageId, tuple[str, ...]] = {}
        self._orders: dict[PackageId, tuple[Package, ...]] = {}
        self._wanted: dict[PackageId, str] = {}
        self._open: list[PackageId] = []
        self._joinable: PackageSet | None = None
        self._laid: dict[tuple[int, tuple[str, ...]], tuple[str, ...]] = {}  # on packages by identity: see _lay
        self._seen: set[int] = set()  # packages of orders, by identity, that are wanted already
        self._allowed: set[PackageId] = set()

    # targets -----------------------------------------------------------------------------------------------------
    def plan(self, targets: tuple[PackageRef, ...]) -> BuildPlan:
        """Raises Unsatisfiable, SpecError (cycle, no-base, retrieve, image), IntegrityError."""
        chosen = [self._choose(ref) for ref in targets]
        for package in chosen:
            self.want(package, with_deps=not self._options.only_target_package, itself=not self._options.onlydeps)
        ordered = self._topological()
        look_at_layouts(self._nodes[id] for id in ordered)
        return BuildPlan(
            {node: self._nodes[node] for node in ordered}, dict(sorted(self._wanted.items())),
            tuple(package.id for package in chosen), dict(self._orders),
        )  # fmt: skip

    def _choose(self, ref: PackageRef) -> Package:
        """The best answer to a word. Raises Unsatisfiable."""
        found = matching(self._tree.compiler().versions(ref.pkgname), ref)
        if found:
            return found[0]
        solution = self._solver.solve(Request((ref,)), self._alone(ref), ())
        return next(package for _, package in solution.answers) if solution.answers else solution.order[-1]

    def _alone(self, ref: PackageRef) -> PackageSet:
        """The candidates for a target without their requires: choosing a target is not yet building it."""
        compiler = self._tree.compiler()
        found = compiler.versions(ref.pkgname) or compiler.providers(ref.pkgname)
        if not found:
            return compiler  # for names like it
        return MemoryPackages([replace(p, requires=(), conflicts=()) for p in found])

    def want(self, package: Package, *, with_deps: bool, itself: bool = True) -> None:
        """Adds a package's artifact to the plan, and those of what it is built on."""
        if package.id in self._wanted:
            return
        own = self._own_image(package)
        if itself:
            mine = bool(own) and self._nodes[own[-1]].pid == package.id
            self._wanted[package.id] = own[-1] if mine else self._empty_node(package)
        if with_deps:
            order = self._orders.get(package.id, ())
            for dependency in order:
                if id(dependency) in self._seen:  # all orders together have far more packages than the tree
                    continue
                self._seen.add(id(dependency))
                # What a repository has packed is not packed again, even where its image is built.
                if dependency.id != package.id and not self._is_given(dependency.id):
                    self.want(dependency, with_deps=True)

    def _is_given(self, id: PackageId) -> bool:
        """Whether a package is packed somewhere else, or not to be packed at all."""
        return id in self._foreign or id in self._options.dependency_only

    def _empty_node(self, package: Package) -> str:
        """A node for the empty artifact of a package that only names others."""
        return self._node(self._get(package), EmptyBase())

    # chains ------------------------------------------------------------------------------------------------------
    def _get(self, package: Package) -> TreePackage:
        found = self._tree.get(package.id)
        assert found is not None, package.id
        return found

    def _own_image(self, package: Package) -> tuple[str, ...]:
        """The image of a package built as a target of its own; several nodes are a stack; empty for a virtual one."""
        known = self._own.get(package.id)
        if known is not None:
            return known
        if package.id in self._open:
            path = [*self._open[self._open.index(package.id) :], package.id]
            raise SpecError(
                f"these packages need each other: {' -> '.join(str(p) for p in path)}",
                where=package.where,
                reason="cycle",
            )
        self._open.append(package.id)
        try:
            made = self._make_image(self._get(package))
        finally:
            self._open.pop()
        self._own[package.id] = made
        return made

    def _make_image(self, found: TreePackage) -> tuple[str, ...]:
        base = self._own_base(found)
        if base is not None:
            return (self._node(found, base),)
        package = found.package
        order = self._order(found)
        self._orders[package.id] = order
        if self._tree.layering_of(found) == "merge":
            image = self._stack([self._own_image(dep) for dep in order if dep.id != package.id])
        else:
            image = ()
            for dependency in order[:-1]:
                known = self._laid.get((id(dependency), image))
                image = known if known is not None else self._lay(dependency, image)
        return self._put_on(found, image)

    def _lay(self, package: Package, image: tuple[str, ...]) -> tuple[str, ...]:
        """`_put_on`, remembered for good: the packages of orders live as long as the plan."""
        found = self._get(package)
        made = self._put_on(found, image)
        if self._tree.layering_of(found) == "chain":  # a merge looks at what is being made
            self._laid[id(package), image] = made
        return made

    def _put_on(self, found: TreePackage, image: tuple[str, ...]) -> tuple[str, ...]:
        """What `image` is after one more package of a chain."""
        recipe = found.recipe
        if recipe.image or recipe.bootstrap or recipe.requires_final_images or recipe.dockerfile:
            return self._own_image(found.package)
        if recipe.is_empty:
            return image
        if not image:
            raise groundless(found.package.id, recipe)
        if found.package.id not in self._open and self._tree.layering_of(found) == "merge":
            return self._stack([image, self._own_image(found.package)])
        return (self._node(found, NodeBase(image)),)

    def _stack(self, images: list[tuple[str, ...]]) -> tuple[str, ...]:
        """Images over one another, without nodes that a later one stands on already."""
        nodes = list(dict.fromkeys(node for image in images for node in image))
        below = {node: self._ancestors(node) for node in nodes}
        return tuple(n for n in nodes if not any(n in below[other] for other in nodes if other != n))

    def _ancestors(self, node: str) -> set[str]:
        found: set[str] = set()
        todo = [node]
        while todo:
            base = self._nodes[todo.pop()].base
            fresh = [n for n in base.nodes if n not in found] if isinstance(base, NodeBase) else []
            found.update(fresh)
            todo.extend(fresh)
        return found

    def _own_base(self, found: TreePackage) -> Base | None:
        recipe = found.recipe
        if recipe.requires_final_images:
            return self._join(found)
        if recipe.bootstrap is not None:
            return BootstrapBase(recipe.bootstrap)
        if recipe.dockerfile or recipe.image == "scratch":
            return EmptyBase()
        if recipe.image:
            return ImageBase(image_reference(recipe.image, found.context, recipe.where), recipe.where)
        return None

    def _order(self, found: TreePackage) -> tuple[Package, ...]:
        """luet's ordered dependencies of a package, itself last."""
        ref = found.package.id.exact
        universe = self._tree.compiler()
        return self._solver.solve(Request((ref,)), universe, (), order="build").order

    def _join(self, found: TreePackage) -> Base:
        """The packages whose artifacts are joined: the build requires and their runtime requires (luet.md §4.7)."""
        view = build_view(found)
        if self._joinable is None:
            runtime = self._tree.runtime()
            others = [f.package for f in self._foreign.values()]
            known = [p for name in runtime.names() for p in runtime.versions(name)] if others else []
            self._joinable = MemoryPackages([*known, *others]) if others else runtime
        universe = WithPackage(self._joinable, view)
        order = self._solver.solve(Request((view.id.exact,)), universe, (), order="runtime").order
        self._orders[view.id] = order
        joined: list[str | Foreign] = []
        for package in order:
            if package.id == view.id or not package.id.version:
                continue
            foreign = self._foreign.get(package.id)
            if foreign is not None:
                joined.append(foreign)
                continue
            if self._tree.get(package.id) is None:
                raise SpecError(
                    f"{package.id} is a sub-package and cannot be joined", where=package.where, reason="retrieve"
                )
            self.want(package, with_deps=not self._options.only_target_package)
            joined.append(self._wanted[package.id])
        return JoinBase(tuple(joined))

    # nodes -------------------------------------------------------------------------------------------------------
    def _node(self, found: TreePackage, base: Base) -> str:
        known = self._ids.get((found.package.id, base))
        if known is None:
            if found.package.id not in self._allowed:
                refuse(found, self._tree)
                self._allowed.add(found.package.id)
            known = self._ids[found.package.id, base] = self._new_node(found, base)
        return known

    def _new_node(self, found: TreePackage, base: Base) -> str:
        copies = tuple(self._copy(item, found) for item in found.recipe.copy)
        retrieved = tuple(r for item in found.recipe.retrieve for r in self._retrieve(item, found))
        images: tuple[str, ...] = ()
        if found.recipe.dockerfile:
            from treebuilder.model import dockerfile  # few trees have any
            from treebuilder.model.dockerfile_refs import outside

            named = outside(dockerfile.parse(found.recipe.dockerfile, found.recipe.where.file, host_platform()))
            images = tuple(image_reference(image, found.context, found.recipe.where) for image in named.images)
            retrieved += tuple(Retrieved(url.rsplit("/", 1)[-1] or "index", url=url) for url in named.urls)
        text = repr((found.package.id, base, copies, retrieved))
        id = Digest.of(text.encode("utf-8", "surrogateescape")).hex[:16]
        if id not in self._nodes:
            self._nodes[id] = BuildNode(id, found, base, copies, retrieved, images)
        return id

    def _copy(self, item: CopyItem, found: TreePackage) -> CopySource:
        if item.package is None:
            image = image_reference(item.image, found.context, item.where)
            return CopySource("", image, item.source, item.destination, item.where)
        chosen = self._choose(item.package)
        stack = self._own_image(chosen)
        if len(stack) != 1:
            raise SpecError(f"{chosen.id} has no image to copy from", where=item.where, reason="copy")
        if not self._options.only_target_package and not self._is_given(chosen.id):
            self.want(chosen, with_deps=True)
        return CopySource(stack[0], "", item.source, item.destination, item.where)

    def _retrieve(self, item: str, found: TreePackage) -> list[Retrieved]:
        def refused(why: str) -> SpecError:
            where = place_of(found.recipe.where, "retrieve", item)
            return SpecError(f"retrieve: {why}", where=where, reason="retrieve")

        if item.startswith(("http://", "https://")):
            return [Retrieved(item.rsplit("/", 1)[-1] or "index", url=item)]
        if item.startswith("treebuild:"):
            name = item.removeprefix("treebuild:")
            make = (self._options.resources or {}).get(name)
            if make is None:
                raise refused(f"there is no {item!r}")
            return [Retrieved(name, resource=name, digest=Digest.of(make()))]
        if "/" in item or item in ("..", "."):
            raise refused(f"{item!r} leads out of the destination folder")
        edges = self._artifact_edges(item, found)
        taken = {edge.name for edge in edges}
        taken_prefixes = tuple(f"{name}." for name in taken)
        files = []
        if self._options.destination.is_dir():
            for path in sorted(self._options.destination.iterdir()):
                ours = (
                    path.name in taken
                    or path.name.startswith(taken_prefixes)
                    or _artifact(path.name) in self._tree_names
                )
                if fnmatch.fnmatchcase(path.name, item) and path.is_file() and not path.is_symlink() and not ours:
                    with path.open("rb") as source:
                        digest = Digest(hashlib.file_digest(source, "sha256").hexdigest())
                    files.append(Retrieved(path.name, path=str(path), digest=digest))
        if not edges and not files:
            raise refused(f"{item!r} matches nothing")
        return edges + files

    @cached_property
    def _tree_names(self) -> dict[str, PackageId]:
        """Every package of the tree by the name of its file; asked for where files are retrieved by name."""
        return {id.fingerprint: id for id in self._tree.ids}

    def _artifact_edges(self, pattern: str, found: TreePackage) -> list[Retrieved]:
        matches = re.compile(fnmatch.translate(pattern)).match
        edges = []
        for name, id in self._tree_names.items():
            if id != found.package.id and any(matches(f"{name}.package.tar{end}") for end in ("", ".zst", ".gz")):
                other = self._tree.get(id)
                assert other is not None, id
                self.want(other.package, with_deps=not self._options.only_target_package)
                edges.append(Retrieved(f"{name}.package.tar", node=self._wanted[id]))
        return edges

    def _topological(self) -> list[str]:
        done: dict[str, None] = {}
        for start in self._wanted.values():
            path: dict[str, Iterator[str]] = {} if start in done else {start: self._needed(start)}
            while path:
                id, rest = next(reversed(path.items()))
                step = next((other for other in rest if other not in done), None)
                if step is None:
                    del path[id]
                    done[id] = None
                elif step in path:
                    ids = [*path]
                    names = [str(self._nodes[n].pid) for n in [*ids[ids.index(step) :], step]]
                    raise SpecError(f"these packages need each other: {' -> '.join(names)}", reason="cycle")
                else:
                    path[step] = self._needed(step)
        return list(done)

    def _needed(self, id: str) -> Iterator[str]:
        node = self._nodes[id]
        return iter((*node.parents(), *node.joined()))


def _artifact(name: str) -> str:
    """The fingerprint of the package whose file this is, if it is one's."""
    return name.removesuffix(".metadata.yaml") if name.endswith(".metadata.yaml") else name.partition(".package.tar")[0]


def image_reference(reference: str, context: str, where: Place = NOWHERE) -> str:
    """`oci:PATH` names a layout folder below the package's own folder; everything else is a registry's.

    Raises SpecError at `where`.
    """
    if not reference.startswith("oci:"):
        return reference
    path = reference.removeprefix("oci:")
    if path.startswith("/") or ".." in path.split("/"):
        raise SpecError(
            f"the image {reference!r} leads out of {context}",
            where=place_of(where, "", reference),
            reason="context-escape",
        )
    return f"oci:{context}/{path}"
