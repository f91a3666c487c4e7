"""`build --luet-cache`: what luet has built is found in its registry by luet's own tags, and not built again."""

from __future__ import annotations

from treebuilder.app.options import BuildOptions
from treebuilder.app.secret_key import secret_key
from treebuilder.app.sharing import opened
from treebuilder.app.workspace import Workspace
from treebuilder.build.bases import ImageSource
from treebuilder.build.luetimages import Hidden, LuetImage, LuetImages, hidden_below, luet_keys
from treebuilder.build.shared import SharedCache
from treebuilder.errors import ConfigError
from treebuilder.plan.graph import BuildPlan
from treebuilder.plan.keys import NodeKeys, plan_keys
from treebuilder.plan.lock import Lock
from treebuilder.plan.luettags import LuetTags, luet_tags
from treebuilder.solver import PackageSolver
from treebuilder.tree import Tree

Keys = dict[str, NodeKeys]


def from_luet(
    options: BuildOptions, work: Workspace, tree: Tree, plan: BuildPlan, lock: Lock, images: ImageSource,
    shared: SharedCache | None,
) -> tuple[Keys, LuetImages]:  # fmt: skip
    """The keys of a plan, and the nodes that luet's images stand for. What we have ourselves is not looked for.

    Raises ConfigError without a registry, TransportError, IntegrityError.
    """
    names = [name for name in (options.image_repository, *options.pull_repositories) if name]
    if not names:
        raise ConfigError(
            "no registry is named that --luet-cache could ask", hint="--pull-repository HOST/NAME", reason="no-registry"
        )
    if work.settings.cache_keys:
        raise ConfigError(
            "luet signs no images, and cache.keys says that only what is signed is taken", reason="unsigned",
            hint="build without --luet-cache, or with another --config",
        )  # fmt: skip
    secret = secret_key(plan, work)
    keys = plan_keys(plan, tree, lock, secret_key=secret)
    if options.rebuild:
        return keys, LuetImages({}, {}, images, work.store, lock.epoch_s)
    there = {name: frozenset(opened(name, options, work).tags()) for name in dict.fromkeys(names)}
    tags = luet_tags(plan, tree, PackageSolver())
    wanted = set(plan.artifacts.values())
    known: Keys = {}
    taken: dict[str, LuetImage] = {}
    hidden: dict[str, Hidden] = {}
    todo = [*wanted]
    seen = set(todo)
    while todo:
        id = todo.pop()
        node = plan.nodes[id]
        index = work.store.index
        mine = any(index.get(key.hex) is not None for key in (keys[id].plan, keys[id].artifact))
        if mine or (shared is not None and shared.knows(keys[id])):
            known[id] = keys[id]
            continue
        packs = id in wanted and not node.package.recipe.unpacks
        image = _chosen(tags.get(id, ()), there, images, needs_builder=packs)
        if image is not None:
            taken[id] = image
            hidden[id] = hidden_below(plan, id)
            known[id] = luet_keys(node, image, hidden[id], lock.epoch_s)
            continue
        below = [other for other in (*node.parents(), *node.joined()) if other not in seen]
        seen.update(below)
        todo += below
    return plan_keys(plan, tree, lock, known, secret), LuetImages(taken, hidden, images, work.store, lock.epoch_s)


def _chosen(
    tags: tuple[LuetTags, ...], there: dict[str, frozenset[str]], images: ImageSource, *, needs_builder: bool
) -> LuetImage | None:
    """The first image of a node that is there, with that of its builder if there is one."""
    for tag in tags:
        packages = [name for name, found in there.items() if tag.package in found]
        builders = [name for name, found in there.items() if tag.builder in found]
        if not packages or (needs_builder and not builders):
            continue
        package = f"{packages[0]}:{tag.package}"
        if not builders:
            return LuetImage(package, images.resolve(package))
        builder = f"{builders[0]}:{tag.builder}"
        return LuetImage(package, images.resolve(package), builder, images.resolve(builder))
    return None
