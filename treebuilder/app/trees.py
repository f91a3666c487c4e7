"""The use cases of `tree`: what is in a tree, what its images are, its graph."""

from __future__ import annotations

from typing import Any

from treebuilder.app.building import make_plan, open_tree, prepare
from treebuilder.app.options import BuildOptions
from treebuilder.app.workspace import Workspace
from treebuilder.tree import Tree


def names(tree: Tree, *, full: bool) -> list[str]:
    """`category/name` of every package, with `-version` if `full`, sorted by identity."""
    return [f"{id.pkgname}-{id.version}" if full else id.pkgname for id in sorted(tree.ids)]


def packages(tree: Tree, *, build_time: bool) -> list[dict[str, Any]]:
    """Every package, sorted: identity, folder, requires (runtime, or build time)."""
    rows = []
    for cell in sorted(tree.cells, key=lambda cell: cell.id):
        shown = cell.view() if build_time else cell.definition()
        id = shown.id
        rows.append({
            "category": id.category, "name": id.name, "version": id.version, "path": cell.path,
            "hidden": shown.hidden, "labels": dict(shown.labels), "requires": [str(r) for r in shown.requires],
            "conflicts": [str(r) for r in shown.conflicts], "provides": [str(r) for r in shown.provides],
        })  # fmt: skip
    return rows


def images(options: BuildOptions, work: Workspace) -> list[dict[str, Any]]:
    """The images a build would make, in order: package, key, what it stands on, whether the cache has it."""
    planned = prepare(options, work)
    rows = []
    for id, node in planned.plan.nodes.items():
        keys = planned.keys[id]
        hit = work.store.index.get(keys.plan.hex) is not None or work.store.index.get(keys.artifact.hex) is not None
        rows.append({
            "category": node.pid.category, "name": node.pid.name, "version": node.pid.version,
            "plan_key": keys.plan.hex, "base": type(node.base).__name__.removesuffix("Base").lower(),
            "on": [str(planned.plan.nodes[n].pid) for n in (*node.parents(), *node.joined())], "cached": hit,
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


def to_dot(value: dict[str, Any]) -> str:
    """The graph in Graphviz's language."""
    lines = ["digraph tree {", "  rankdir=LR; node [shape=box, fontname=sans];"]
    lines += [f'  "{node["id"]}" [label="{node["package"]}"];' for node in value["nodes"]]
    for edge in value["edges"]:
        style = "" if edge["kind"] == "image" else " [style=dashed]"
        lines.append(f'  "{edge["from"]}" -> "{edge["to"]}"{style};')
    return "\n".join([*lines, "}"])
