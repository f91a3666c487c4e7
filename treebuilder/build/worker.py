"""Builds one node: base, context, copies, prelude, steps (luet.md §2.5, §4.5), under its build key."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING, Protocol
from treebuilder.build.bases import Bases
from treebuilder.build.emit import SUFFIXES
from treebuilder.build.files import Extra, context_layer, copy_layer
from treebuilder.build.merge import union
from treebuilder.build.results import ArtifactResult, NodeResult
from treebuilder.build.retrieved import handed, said
from treebuilder.engine.api import Engine, Job, RunOptions
from treebuilder.errors import BuildFailed, IntegrityError, NotReproducible, SpecError
from treebuilder.events import EventSink
from treebuilder.model import envline
from treebuilder.model.digest import Digest
from treebuilder.model.image import ImageConfig, State
from treebuilder.model.package import PackageId, Step
from treebuilder.oci.download import Downloader
from treebuilder.oci.seal import Sealed
from treebuilder.oci.store import Store
from treebuilder.oci.view import StackView
from treebuilder.plan.graph import (
    BootstrapBase,
    BuildNode,
    EmptyBase,
    Foreign,
    ImageBase,
    JoinBase,
    NodeBase,
    Retrieved,
)
from treebuilder.plan.keys import NodeKeys, build_inputs, build_key, digest_of, host_platform
from treebuilder.plan.lock import Lock
from treebuilder.plan.places import place_of, said_at
from treebuilder.plan.planner import PlanOptions, image_reference
from treebuilder.records import record
from treebuilder.system import clock
from treebuilder.system.pool import in_parallel
from treebuilder.system.process import Cancel
from treebuilder.tree import SPECFILES, Tree

if TYPE_CHECKING:
    from treebuilder.build.luetimages import LuetImages


_FETCHING = 4  # layers of one node that come at once


class LayerSource(Protocol):
    """Where layers come from that are not in the store, and results that others built."""

    def built(self, key: Digest) -> NodeResult | None:
        """The result under a build key, if somebody has pushed one."""
        ...

    def has(self, layer: Digest) -> bool: ...

    def bring(self, layer: Digest) -> bool:
        """Puts a layer into the store; False if it is not to be had. Raises IntegrityError, TransportError."""
        ...


class _Nowhere:
    def built(self, key: Digest) -> NodeResult | None:
        return None

    def has(self, layer: Digest) -> bool:
        return False

    def bring(self, layer: Digest) -> bool:
        return False


LOCAL = _Nowhere()


class LayerLostError(Exception):
    """A layer that a record names is not in the store any more, or was damaged: the plan is walked again."""


@record
class Inputs:
    """What a node stands on, built: results of nodes and artifacts by node id, and what the nodes are of.

    `written` is the compression of the packages that the build writes.
    """

    nodes: Mapping[str, NodeResult]
    artifacts: Mapping[str, ArtifactResult]
    names: Mapping[str, BuildNode]
    written: str


class Worker:
    """Builds nodes on any thread. One for a run."""

    def __init__(
        self, tree: Tree, lock: Lock, store: Store, engine: Engine, bases: Bases, plan_options: PlanOptions,
        run_options: RunOptions, step_timeout_s: float | None, events: EventSink, cancel: Cancel,
        layers: LayerSource = LOCAL, luet: LuetImages | None = None,
    ) -> None:  # fmt: skip
        self._luet = luet
        self._tree = tree
        self._lock = lock
        self._store = store
        self._engine = engine
        self._bases = bases
        self._plan_options = plan_options
        self._run_options = run_options
        self._step_timeout_s = step_timeout_s
        self._events = events
        self._cancel = cancel
        self._layers = layers
        self._download = Downloader(store, cancel)
        self._contexts: dict[str, tuple[tuple[Digest, ...], tuple[Digest, ...]]] = {}

    def build(self, node: BuildNode, keys: NodeKeys, inputs: Inputs, *, force: bool) -> tuple[NodeResult, bool]:
        """The node's result and whether it was built now (False: found under its build key, the early cut-off).

        Raises BuildFailed, TransportError, LayerLostError, NotReproducible …
        """
        if node.package.recipe.is_empty and isinstance(node.base, EmptyBase):
            empty = State(())
            return NodeResult(build_key(keys.recipe, empty, (), ()), empty, (), None, (), (), (), 0.0, 0), True
        if self._luet is not None and self._luet.has(node.id):
            return self._luet.take(node.id, keys), False
        base = self._base(node, inputs)
        copies = tuple(self._copy_state(node, i, inputs) for i in range(len(node.copies)))
        given = handed(node, inputs.written)
        retrieved = tuple((said(item, form), self._retrieved_digest(item, inputs)) for item, form in given)
        inputs_said = build_inputs(keys.recipe, base, copies, retrieved)
        key = digest_of(inputs_said)
        with self._store.single_flight(key.hex, self._cancel):
            found = self._store.index.get(key.hex)
            if found is not None and not force:
                result = NodeResult.from_json(found)
                if self.complete(result):
                    return result, False
                self._store.index.drop(key.hex)
            pushed = self._layers.built(key)
            if pushed is not None and not force:
                return pushed, False
            began = clock.monotonic_s()
            made = self._run(node, key, base, copies, inputs, began)
            if pushed is not None and not pushed.same_as(made):
                raise self._not_reproducible(node.pid, pushed, made)
            value = made.to_json() | {"inputs": inputs_said}
            recorded = NodeResult.from_json(self._store.index.put(key.hex, "build", str(node.pid), value))
            if not recorded.same_as(made):
                raise self._not_reproducible(node.pid, recorded, made)
            return made, True

    def _not_reproducible(self, id: PackageId, recorded: NodeResult, made: NodeResult) -> NotReproducible:
        if recorded.steps is not None and not self._store.has_tree(recorded.steps):
            self._layers.bring(recorded.steps)
        return not_reproducible(id, recorded, made, self._store)

    def taken_from(self, node: BuildNode) -> str:
        """The image of luet's that a node is taken from; empty for one that is built."""
        return self._luet.name_of(node.id) if self._luet is not None and self._luet.has(node.id) else ""

    def complete(self, result: NodeResult) -> bool:
        """Whether all layers of a result are in the store (by name; contents are checked when they are used)."""
        layers = {*result.state.layers, *result.own}
        return all(os.path.isdir(self._store.tree_folder(layer)) or self._layers.has(layer) for layer in layers)

    def need(self, layers: tuple[Digest, ...]) -> None:
        """Raises LayerLostError unless all layers are here and undamaged."""
        missing = [layer for layer in dict.fromkeys(layers) if not self._store.has_tree(layer)]
        brought = in_parallel(missing, self._layers.bring, _FETCHING, self._cancel)
        lost = [layer for layer, there in zip(missing, brought, strict=True) if not there]
        if lost:
            raise LayerLostError(str(lost[0]))

    # bases -------------------------------------------------------------------------------------------------------
    def _base(self, node: BuildNode, inputs: Inputs) -> State:
        task = f"build {node.pid}"
        match node.base:
            case EmptyBase():
                return State(())
            case ImageBase(reference):
                with said_at(partial(place_of, node.package.recipe.where, "image")):
                    return self._bases.image(reference)
            case BootstrapBase(wish):
                return self._bases.bootstrap(wish, task)
            case NodeBase(nodes):
                states = [(str(inputs.names[n].pid), inputs.nodes[n].state) for n in nodes]
                if len(states) > 1:
                    self.need(tuple(layer for _, state in states for layer in state.layers))
                with said_at(partial(place_of, node.package.recipe.where, "requires")):
                    return union(states, self._store)
            case JoinBase(members):
                return State(tuple(self._member(m, inputs) for m in members))

    def _member(self, member: str | Foreign, inputs: Inputs) -> Digest:
        if isinstance(member, Foreign):
            return self._bases.foreign(member)
        return inputs.artifacts[member].content

    def _copy_state(self, node: BuildNode, index: int, inputs: Inputs) -> State:
        item = node.copies[index]
        if not item.node:
            with said_at(lambda: item.where):
                return self._bases.image(item.image)
        source = inputs.nodes[item.node]
        return State(source.own, source.state.config)

    def _retrieved_digest(self, item: Retrieved, inputs: Inputs) -> Digest:
        if item.node:
            return inputs.artifacts[item.node].content
        if item.url:
            return self._download.fetch(item.url, self._lock.urls[item.url])
        assert item.digest is not None
        return item.digest

    def ensure_join(self, node: BuildNode, inputs: Inputs) -> None:
        """Makes the folders of joined artifacts, which are needed only now."""
        if not isinstance(node.base, JoinBase):
            return
        for member in node.base.members:
            if isinstance(member, Foreign):
                continue
            artifact = inputs.artifacts[member]
            if self._store.has_tree(artifact.content):
                continue
            blob = next(iter(sorted(artifact.blobs.items())))[1][0]
            try:
                self._store.tree_from_blob(artifact.content, blob)
            except IntegrityError as err:
                raise LayerLostError(str(blob)) from err

    # running -----------------------------------------------------------------------------------------------------
    def _run(
        self, node: BuildNode, key: Digest, base: State, copies: tuple[State, ...], inputs: Inputs, began: float
    ) -> NodeResult:
        recipe = node.package.recipe
        if recipe.dockerfile:
            return self._dockerfile(node, key, began)
        self.ensure_join(node, inputs)
        self.need((*base.layers, *(layer for state in copies for layer in state.layers)))
        prepared = self._contexts.pop(node.id) if node.id in self._contexts else None
        context, specs = prepared or self._context(node, inputs)
        stack = [*base.layers, *context]
        if node.copies:
            pairs = [(item, self._view(state.layers)) for item, state in zip(node.copies, copies, strict=True)]
            stack.append(copy_layer(self._store, self._view(tuple(stack)), pairs, self._lock.epoch_s).content)
        package = package_env(node.pid)
        env = envline.apply(recipe.env, base.config.env, dict(package))
        if recipe.prelude:
            prelude = self._job(node, "prelude", recipe.prelude, (*stack, *specs), env, base.config)
            stack.append(prelude.content)
            if any(path.startswith("luetbuild/") for path in (*prelude.changed, *prelude.deleted)):
                stack.extend(context)  # the second Dockerfile copies the context again
        env = envline.apply(recipe.env, env, dict(package)) if recipe.env else env
        steps: Sealed | None = None
        own = [*stack, *specs]
        if recipe.steps:
            steps = self._job(node, "steps", recipe.steps, tuple(own), env, base.config)
            stack.append(steps.content)
            own.append(steps.content)
        hidden = envline.secret_values(recipe.env, recipe.secrets)
        if hidden:  # what is handed on is public
            env = tuple(pair for pair in env if not any(value in pair[1] for value in hidden))
        config = ImageConfig(env, base.config.user, "/luetbuild", base.config.shell)
        return NodeResult(
            key, State(tuple(stack), config), tuple(own), steps.content if steps else None,
            steps.changed if steps else (), steps.deleted if steps else (), steps.kept_folders if steps else (),
            clock.monotonic_s() - began, steps.size_bytes if steps else 0,
        )  # fmt: skip

    def _dockerfile(self, node: BuildNode, key: Digest, began: float) -> NodeResult:
        from treebuilder.build.dockerfile import Interpreter, World  # few trees have any
        from treebuilder.build.dockerfile_ignore import visible
        from treebuilder.model import dockerfile

        recipe, context = node.package.recipe, node.package.context
        files = visible(self._tree.context_files(node.package), Path(context)) if context else []

        def image(reference: str) -> State:
            state = self._bases.image(image_reference(reference, context))
            self.need(state.layers)
            return state

        def download(url: str) -> Path | None:
            digest = self._lock.urls.get(url)
            return None if digest is None else self._store.blob_path(self._download.fetch(url, digest))

        world = World(
            self._store, f"build {node.pid}", self._lock.epoch_s, recipe.network == "host", self._step_timeout_s,
            context_layer(self._store, context, files, (), self._lock.epoch_s), image, download,
            lambda job: self._engine.run(job, self._store, self._run_options, self._events, self._cancel).layer,
        )  # fmt: skip
        built = Interpreter(dockerfile.parse(recipe.dockerfile, recipe.where.file, host_platform()), world).build()
        layers = (*built.base.layers, built.layer.content)
        return NodeResult(
            key, State(layers, built.config), layers, built.layer.content, built.layer.changed, built.layer.deleted,
            built.layer.kept_folders, clock.monotonic_s() - began, built.layer.size_bytes,
        )  # fmt: skip

    def _view(self, layers: tuple[Digest, ...]) -> StackView:
        return StackView(tuple(self._store.tree_folder(layer) for layer in layers))

    def _context(self, node: BuildNode, inputs: Inputs) -> tuple[tuple[Digest, ...], tuple[Digest, ...]]:
        """The layers of the context: what is handed on, and the specfiles."""
        files = self._tree.keyed_files(node.package) if node.package.context else ()
        extra = tuple(self._retrieved_file(item, form, inputs) for item, form in handed(node, inputs.written))
        plain = [f for f in files if f.path not in SPECFILES]
        retrieved = {name for name, _, _ in extra}  # wins over a specfile too, whose layer lies on top
        special = [f for f in files if f.path in SPECFILES and f.path not in retrieved]
        context = node.package.context
        epoch = self._lock.epoch_s
        folder = next((f.path for f in plain if f.type == "dir" and f.path in retrieved), None)
        if folder is not None:
            where = place_of(node.package.recipe.where, "retrieve", folder)
            raise SpecError(f"retrieve: {folder!r} is a folder of the package's own", where=where, reason="retrieve")
        first = (context_layer(self._store, context, plain, extra, epoch),) if plain or extra else ()
        return first, (context_layer(self._store, context, special, (), epoch),)

    def context_size(self, node: BuildNode) -> int:
        """Bytes of the context, with something for each file."""
        files = self._tree.context_files(node.package) if node.package.context else ()
        return sum(file.size + 1024 for file in files)

    def prepare(self, node: BuildNode) -> None:
        """Makes the context's layers ahead of time, on a thread that has nothing else to do."""
        self._contexts[node.id] = self._context(node, Inputs({}, {}, {}, ""))

    def _retrieved_file(self, item: Retrieved, form: str, inputs: Inputs) -> Extra:
        if item.resource:
            make = (self._plan_options.resources or {})[item.resource]
            return item.name, self._store.blob_path(self._store.add_blob(make())), item.digest
        if item.path:
            return item.name, Path(item.path), item.digest
        if item.url:
            digest = self._lock.urls[item.url]
            return item.name, self._store.blob_path(digest), digest
        blob = self.artifact_blob(inputs.artifacts[item.node], form)
        return f"{item.name}{SUFFIXES[form]}", self._store.blob_path(blob), blob

    def artifact_blob(self, artifact: ArtifactResult, compression: str) -> Digest:
        """The archive of an artifact in one compression, made from another one if need be."""
        known = artifact.blobs.get(compression)
        if known is not None and self._store.verify_blob(known[0]):
            return known[0]
        from treebuilder.build.pack import recompress

        for blob, _ in artifact.blobs.values():
            if self._store.verify_blob(blob):
                return recompress(self._store, blob, compression)[0]
        raise LayerLostError(str(artifact.content))

    def _job(
        self, node: BuildNode, phase: str, steps: tuple[Step, ...], layers: tuple[Digest, ...],
        env: tuple[tuple[str, str], ...], config: ImageConfig,
    ) -> Sealed:  # fmt: skip
        job = Job(
            f"build {node.pid}", layers, tuple(step.command for step in steps),
            tuple(sorted({**dict(env), **dict(package_env(node.pid))}.items())), self._lock.epoch_s,
            config.shell or ("/bin/sh", "-c"), "/luetbuild", config.user, node.package.recipe.network == "host",
            self._step_timeout_s, envline.secret_values(node.package.recipe.env, node.package.recipe.secrets),
        )  # fmt: skip
        try:
            return self._engine.run(job, self._store, self._run_options, self._events, self._cancel).layer
        except BuildFailed as err:
            where = next((s.where for s in steps if s.command == err.command), node.package.recipe.where)
            raise BuildFailed(
                err.message.removeprefix("build "), command=err.command, exit_status=err.exit_status, log=err.log,
                tail=err.tail, hint=err.hint, where=where, reason=err.reason,
            ) from err  # fmt: skip


def package_env(id: PackageId) -> tuple[tuple[str, str], ...]:
    return (("PACKAGE_CATEGORY", id.category), ("PACKAGE_NAME", id.name), ("PACKAGE_VERSION", id.version))


def not_reproducible(id: PackageId, recorded: NodeResult, made: NodeResult, store: Store) -> NotReproducible:
    """The error of two results for one key, with the first paths that differ."""
    from treebuilder.archive.entry import scan
    from treebuilder.oci.seal import HashingSink

    def listing(digest: Digest | None) -> dict[str, str]:
        if digest is None or not store.tree_path(digest).is_dir():
            return {}
        root = store.tree_path(digest)
        found = {}
        for entry in scan(str(root)):
            sink = HashingSink()
            if entry.kind == "f":
                sink.write((root / entry.path).read_bytes())
            found[entry.path] = f"{entry._replace(path='')} {sink.digest()}"
        return found

    before, after = listing(recorded.steps), listing(made.steps)
    differ = sorted(path for path in {*before, *after} if before.get(path) != after.get(path))
    shown = ", ".join(f"/{path}" for path in differ[:5]) or "in the prelude's layer"
    said = f"{len(differ)} paths differ: {shown}"
    if recorded.steps is not None and not store.tree_path(recorded.steps).is_dir():
        said = "the layer of the recorded one is not here"
    return NotReproducible(
        f"{id}: the same inputs gave another result ({said})",
        hint="the recorded result stays; make the steps reproducible (times, random names, caches)",
    )
