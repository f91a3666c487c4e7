"""Nodes that are not built but taken from images which luet made.

luet makes two images of a package: one with all that its steps were run on, and one after them. The layers of the
second that the first has not are what the steps did: they become one layer, sealed as ours are. Where only one is
there it can be built on, and a package that is a whole image can be packed of it.

A node taken so has a key of its own, made from the digests of the images: a hash of luet's does not change with all
that a build depends on, so what is under it must never pass for what is under a key of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from treebuilder.annotations import Protocol
from treebuilder.build.dockerfile_squash import squash
from treebuilder.build.results import NodeResult
from treebuilder.errors import IntegrityError
from treebuilder.model import envline
from treebuilder.model.digest import Digest
from treebuilder.model.image import ImageConfig, State
from treebuilder.oci.store import Store
from treebuilder.oci.view import StackView
from treebuilder.plan.graph import BuildNode, BuildPlan
from treebuilder.plan.keys import SCHEMA, NodeKeys, artifact_document, canonical, digest_of, host_platform
from treebuilder.records import record
from treebuilder.system import clock

_OF_A_PACKAGE = frozenset({"PACKAGE_CATEGORY", "PACKAGE_NAME", "PACKAGE_VERSION"})


class LoadedImages(Protocol):
    """Brings images into the store (`oci.registry.RegistryImages`)."""

    def load(self, reference: str, digest: Digest, store: Store) -> State: ...


@record
class LuetImage:
    """A package's image and its digest, and the image that its steps were run on (empty and None if there is none)."""

    package: str
    digest: Digest
    builder: str = ""
    builder_digest: Digest | None = None


@record
class Hidden:
    """What luet's environments may hold of `secrets:`: names of variables, sorted, and values."""

    names: tuple[str, ...] = ()
    values: tuple[str, ...] = ()

    def without(self, env: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        """The variables that may be handed on."""
        return tuple(
            (name, value) for name, value in env
            if name not in self.names and not any(hidden in value for hidden in self.values)
        )  # fmt: skip


def hidden_below(plan: BuildPlan, id: str) -> Hidden:
    """The secrets of a node and of all that it stands on: luet's images hand variables on."""
    names: set[str] = set()
    values: dict[str, None] = {}
    waiting, seen = [id], {id}
    while waiting:
        node = plan.nodes[waiting.pop()]
        recipe = node.package.recipe
        names.update(recipe.secrets)
        values |= dict.fromkeys(envline.secret_values(recipe.env, recipe.secrets))
        below = [other for other in (*node.parents(), *node.joined()) if other not in seen]
        seen.update(below)
        waiting += below
    return Hidden(tuple(sorted(names)), tuple(sorted(values)))


def luet_keys(node: BuildNode, image: LuetImage, hidden: Hidden, epoch_s: int) -> NodeKeys:
    """The keys of a node that is taken from these images, without what is hidden."""
    digests = [str(image.digest), str(image.builder_digest or ""), *hidden.names]
    document = {
        "recipe": {"schema": SCHEMA, "platform": host_platform(), "luet": digests, "epoch": epoch_s},
        "base": ["luet"], "copies": [], "artifacts": [],
    }  # fmt: skip
    recipe = digest_of(document["recipe"])
    plan = digest_of(["plan", recipe.hex, document["base"], [], []])
    artifact = digest_of(["artifact-plan", plan.hex, artifact_document(node.package.recipe)])
    return NodeKeys(recipe, plan, artifact, partial(canonical, document))


class LuetImages:
    """The nodes of one run that are taken so. May be used from many threads."""

    def __init__(
        self, nodes: Mapping[str, LuetImage], hidden: Mapping[str, Hidden], images: LoadedImages, store: Store,
        epoch_s: int,
    ) -> None:  # fmt: skip
        self._nodes = dict(nodes)
        self._hidden = dict(hidden)
        self._images = images
        self._store = store
        self._epoch_s = epoch_s

    def has(self, id: str) -> bool:
        return id in self._nodes

    def name_of(self, id: str) -> str:
        """The reference of the image that a node is taken from."""
        return self._nodes[id].package

    def take(self, id: str, keys: NodeKeys) -> NodeResult:
        """The node's result, its layers in the store.

        Raises TransportError, IntegrityError (also for a package's image that is not made of its builder's).
        """
        began = clock.monotonic_s()
        image = self._nodes[id]
        whole = self._images.load(image.package, image.digest, self._store)
        env = self._hidden.get(id, Hidden()).without(whole.config.env)
        env = tuple(pair for pair in env if pair[0] not in _OF_A_PACKAGE)
        config = ImageConfig(env, whole.config.user, "/luetbuild", whole.config.shell)
        if image.builder_digest is None:
            seconds = clock.monotonic_s() - began
            return NodeResult(
                keys.plan, State(whole.layers, config), whole.layers, None, (), (), (), seconds, 1 << 40
            )  # fmt: skip
        below = self._images.load(image.builder, image.builder_digest, self._store).layers
        if whole.layers[: len(below)] != below:
            raise IntegrityError(
                f"{image.package} is not made of {image.builder}", hint="build without --luet-cache",
                reason="luet-cache",
            )  # fmt: skip
        view = StackView(tuple(self._store.tree_folder(layer) for layer in below))
        steps = squash(self._store, whole.layers[len(below) :], view, self._epoch_s)
        layers = (*below, steps.content)
        return NodeResult(
            keys.plan, State(layers, config), layers, steps.content, steps.changed, steps.deleted, steps.kept_folders,
            clock.monotonic_s() - began, steps.size_bytes,
        )  # fmt: skip
