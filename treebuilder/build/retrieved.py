"""In which compression a package of the same build is retrieved: the name in the recipe says, or what is written.

luet looks into the destination folder, where a package lies in the one form that the build writes. A name that fits
that form gets it; a name of another form (`a-t-1.0.package.tar` where zstd is written) gets what it says.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator, Mapping

from treebuilder.build.emit import SUFFIXES
from treebuilder.model.package import Recipe
from treebuilder.plan.graph import BuildNode, BuildPlan, Retrieved
from treebuilder.plan.keys import NodeKeys, canonical, digest_of
from treebuilder.records import replace

_UNSAID = "zstd"  # the form that no key names: the keys of what was always built with it stay


def handed(node: BuildNode, written: str) -> Iterator[tuple[Retrieved, str]]:
    """What a node retrieves, in order; packages of the same build once for each form that the recipe asks for."""
    seen: set[str] = set()
    for item in node.retrieved:
        if not item.node:
            yield item, ""
        elif item.node not in seen:  # two patterns may find one package
            seen.add(item.node)
            for form in _forms(node.package.recipe, item.name, written):
                yield item, form


def said(item: Retrieved, form: str) -> str:
    """How a build key names a retrieved file."""
    return f"{item.name} as {form}" if form not in ("", _UNSAID) else item.name


def keyed(plan: BuildPlan, keys: Mapping[str, NodeKeys], written: str) -> Mapping[str, NodeKeys]:
    """The keys of a plan whose packages are written as `written`.

    Others than planned only for nodes that retrieve by a pattern which leaves the form open, and what stands on them.
    """
    if written == _UNSAID:
        return keys
    open_: set[str] = set()
    for id, node in plan.nodes.items():
        follows = [*handed(node, written)] != [*handed(node, _UNSAID)]
        if follows or open_.intersection((*node.parents(), *node.joined())):
            open_.add(id)
    return {id: _other(one, written) if id in open_ else one for id, one in keys.items()}


def _other(keys: NodeKeys, written: str) -> NodeKeys:
    def write() -> str:
        return canonical({**json.loads(keys.document), "compression of packages": written})

    plan, artifact = (digest_of(["written", key.hex, written]) for key in (keys.plan, keys.artifact))
    return replace(keys, plan=plan, artifact=artifact, write=write)


def _forms(recipe: Recipe, name: str, written: str) -> list[str]:
    """The compressions in which the recipe asks for `NAME.package.tar`: of each item that fits it, one."""
    found: dict[str, None] = {}
    for pattern in recipe.retrieve:
        fitting = [form for form, end in SUFFIXES.items() if fnmatch.fnmatchcase(f"{name}{end}", pattern)]
        if fitting:
            found[written if written in fitting else fitting[-1]] = None
    return [*found]
