"""Who answers whom in a solution, and the order that follows from it (luet.md §4.1).

Depth-first from each request, the edges of a node by ascending fingerprint, emitted after all they lead to. How
the requires are written down plays no part. Packages that no request reaches are not in the order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from treebuilder.annotations import Literal
from treebuilder.errors import SpecError
from treebuilder.model.package import Package
from treebuilder.solver.world import World, by_fingerprint

Edges = Mapping[int, tuple[Package, ...]]  # by the identity of the object: a world has one of each package


def edges_of(world: World, packages: Iterable[Package]) -> dict[int, tuple[Package, ...]]:
    """For each package those of the same set that answer its requires: the best answer there is.

    That is never itself, unless it asks for itself by name: then nothing can be built in any order.

    The packages are the world's own objects.
    """
    chosen = tuple(packages)
    there = {id(package) for package in chosen}
    edges: dict[int, tuple[Package, ...]] = {}
    for package in chosen:
        best = world.best(package)
        if best is not None and there.issuperset(map(id, best)):
            edges[id(package)] = best
            continue
        found: dict[int, Package] = {}
        for _, ref, candidates in world.needs(package):
            for answer in candidates:
                if id(answer) in there:
                    if answer is not package or ref.pkgname == package.id.pkgname:
                        found[id(answer)] = answer
                    break
        edges[id(package)] = by_fingerprint(found.values())
    return edges


def order_of(roots: Iterable[Package], edges: Edges, kind: Literal["build", "runtime"]) -> tuple[Package, ...]:
    """What comes before what. Raises SpecError (reason "cycle") for a circle in a build order; a runtime order
    leaves out the edge that would close it."""
    order: dict[int, Package] = {}
    path: dict[int, Package] = {}  # the walk's way down, in order
    for root in roots:
        if id(root) in order:
            continue
        path[id(root)] = root
        stack = [(root, iter(edges[id(root)]))]
        while stack:
            package, rest = stack[-1]
            for step in rest:
                if id(step) in order:
                    continue
                if id(step) not in path:
                    path[id(step)] = step
                    stack.append((step, iter(edges[id(step)])))
                    break
                if kind == "build":
                    raise _cycle(list(path.values()), step)
            else:
                stack.pop()
                del path[id(package)]
                order[id(package)] = package
    return tuple(order.values())


def _cycle(path: list[Package], again: Package) -> SpecError:
    start = next(index for index, package in enumerate(path) if package.id == again.id)
    circle = [*path[start:], again]
    last = circle[-2]
    where = next((r.where for r in last.requires if r.pkgname == again.id.pkgname and r.where.file), last.where)
    return SpecError(
        f"packages require each other in a circle: {' -> '.join(str(p.id) for p in circle)}",
        where=where if where.file else None,
        reason="cycle",
    )
