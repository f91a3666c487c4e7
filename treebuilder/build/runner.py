"""Executes a plan: looks results up, builds what is missing in parallel, packs, writes (architecture, "Keys").

A failed node takes only its dependants with it: they are reported as skipped, everything else is finished, and the
next run carries on from there, because failures are never recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.build.artifacts import Packages, Packer, recorded
from treebuilder.build.emit import Outgoing, emit, withdraw
from treebuilder.build.report import BuildReport, NodeReport, PackedFile
from treebuilder.build.results import ArtifactResult, NodeResult
from treebuilder.build.schedule import Schedule, Task
from treebuilder.build.watching import Unwatched, Watcher
from treebuilder.build.worker import Inputs, LayerLostError, Worker
from treebuilder.errors import Cancelled, TreebuildError
from treebuilder.events import EventSink, Finished, Said, Started, Warned
from treebuilder.model.package import PackageId
from treebuilder.oci.store import BlobLostError, Store
from treebuilder.oci.view import StackView
from treebuilder.plan.graph import BuildNode, BuildPlan, EmptyBase, JoinBase
from treebuilder.plan.keys import NodeKeys
from treebuilder.plan.places import place_of
from treebuilder.plan.why import differences
from treebuilder.records import field, record, replace
from treebuilder.system import clock
from treebuilder.system.files import disk_errors
from treebuilder.system.pool import Pool, in_parallel
from treebuilder.system.process import Cancel
from treebuilder.tree import build_view

if TYPE_CHECKING:
    from treebuilder.build.shared import SharedCache

_RESTARTS = 5
_ASKING = 8  # threads that ask a registry
_SHOWN = 5
_SMALL_BYTES = 1 << 18
_EMPTY_BYTES = 1024  # an archive without entries is two blocks of zeros


@record
class RunnerOptions:
    """`values` are what `--values` gave, as packages record it."""

    destination: Path
    epoch_s: int
    compression: str = "zstd"
    rebuild: bool = False
    values: Mapping[str, object] = field(default_factory=dict)
    watcher: Watcher = field(default_factory=Unwatched)


class _Restart(Exception):
    """Something recorded is gone: walk the plan again."""


class Runner:
    """Runs one plan. Not reusable."""

    def __init__(
        self, plan: BuildPlan, keys: Mapping[str, NodeKeys], store: Store, worker: Worker, options: RunnerOptions,
        pool: Pool[Task], events: EventSink, cancel: Cancel, shared: SharedCache | None = None,
    ) -> None:  # fmt: skip
        self._plan = plan
        self._targets = frozenset(plan.targets)
        self._pool = pool
        self._shared = shared
        self._keys = keys
        self._store = store
        self._worker = worker
        self._packer = Packer(store, worker, options.compression)
        self._options = options
        self._events = events
        self._cancel = cancel
        self._nodes: dict[str, NodeResult] = {}
        self._artifacts: dict[str, Packages] = {}
        self._states: dict[str, tuple[str, str, float]] = {}
        self._errors: dict[Task, TreebuildError] = {}
        self._skipped: dict[Task, str] = {}
        self._forced: set[str] = set(plan.nodes) if options.rebuild else set()
        self._packed: dict[PackageId, PackedFile] = {}
        self._emitted: set[str] = set()
        self._watched: set[str] = set()

    def run(self) -> BuildReport:
        """Raises only Cancelled and bugs; what fails is in the report."""
        for attempt in range(_RESTARTS):
            try:
                self._walk()
                self._touch()
                if self._shared is not None and self._shared.pushes:
                    self._push(self._shared)
                break
            except (_Restart, BlobLostError) as err:
                self._events.emit(Warned(f"a cached result is gone or damaged and is built again ({err})"))
                self._nodes.clear()
                self._artifacts.clear()
                self._emitted.clear()
                if attempt == _RESTARTS - 1:
                    raise TreebuildError("the cache loses results faster than they are built") from err
        return self._report()

    def _push(self, shared: SharedCache) -> None:
        """Pushes what the registry lacks: what was built now, and what the cache has had for long."""

        def push(id: str) -> None:
            keys, node = self._keys[id], self._plan.nodes[id]
            result = self._nodes.get(id)
            known = self._store.index.get(keys.plan.hex) if result is None else None
            result = NodeResult.from_json(known) if known is not None else result
            if result is not None:
                shared.push_node(node, keys, result)
            packages = self._artifacts.get(id) or recorded(self._store, keys, self._options.compression)
            if packages is not None:
                shared.push_artifact(node, keys, packages)

        in_parallel([*self._plan.nodes], push, _ASKING if shared.takes_many else 1, self._cancel)
        shared.finish()

    def _touch(self) -> None:
        """Notes what this run relied on as used now, so that the clean-up keeps it."""
        keys = [key.hex for id in self._plan.nodes for key in (self._keys[id].plan, self._keys[id].artifact)]
        keys += [result.build_key.hex for result in self._nodes.values()]
        self._store.index.touch(keys)

    # walking the plan --------------------------------------------------------------------------------------------
    def _walk(self) -> None:
        demand = self._demand()
        schedule, pool = Schedule(demand), self._pool
        restart: _Restart | None = None
        packs_later = any(kind == "node" for kind, _ in demand)
        try:
            while schedule.has_ready or pool.running:
                ready = schedule.take()
                for task in ready if restart is None and not self._cancel.is_set() else ():
                    (pool.submit_small if self._is_small(task) else pool.submit)(task, partial(self._do, task))
                if packs_later:  # what packing needs is there before the first container has ended
                    packs_later = False
                    pool.submit_small(("ahead", ""), self._packer.prepare)
                self._prepare_ahead(schedule.later)
                match pool.wait(0.5) if pool.running else None:
                    case (("ahead", _), _):  # whatever was wrong with it is found, and said, by the build itself
                        pass
                    case (task, None):
                        schedule.done(task)
                    case (_, LayerLostError() | BlobLostError() as err):
                        restart = _Restart(str(err))
                    case (_, Cancelled()):
                        self._cancel.set()
                    case (task, TreebuildError() as err):
                        self._errors[task] = err
                        cause = f"{self._plan.nodes[task[1]].pid} failed"
                        self._skipped |= {other: cause for other in schedule.behind(task) if other not in self._skipped}
                    case (_, BaseException() as err):
                        raise err
                    case _:
                        pass
        except BaseException:
            self._cancel.set()
            raise
        if self._cancel.is_set():
            raise Cancelled("interrupted; what was finished is kept, the next run carries on")
        if restart is not None:
            raise restart

    def _is_small(self, task: Task) -> bool:
        """Whether packing takes no longer than a container takes to start."""
        result = self._nodes.get(task[1]) if task[0] == "artifact" else None
        unpacks = self._plan.nodes[task[1]].package.recipe.unpacks
        return result is not None and not unpacks and result.size_bytes < _SMALL_BYTES

    def _prepare_ahead(self, later: Iterator[str]) -> None:
        """Makes the context of a node that waits for others, if a thread has nothing to do."""
        for id in later if self._pool.idle else ():
            node = self._plan.nodes[id]
            if node.package.recipe.dockerfile or any(item.node for item in node.retrieved):
                continue
            small = self._worker.context_size(node) < _SMALL_BYTES
            submit = self._pool.submit_small if small else self._pool.submit
            submit(("ahead", id), partial(self._worker.prepare, node))
            return

    def _demand(self) -> dict[Task, set[Task]]:
        """What must be done, and what each waits for. A hit ends the walk: nothing below it is looked at.

        What nothing is known of yet is looked up at once: a registry answers many in the time of one.
        """
        waits: dict[Task, set[Task]] = {}
        todo: list[Task] = [("artifact", node) for node in dict.fromkeys(self._plan.artifacts.values())]
        asks = self._shared is not None
        while todo:
            found = in_parallel(todo, self._needs, _ASKING, self._cancel) if asks else [*map(self._needs, todo)]
            waits |= zip(todo, found, strict=True)
            todo = [task for task in dict.fromkeys(task for needs in found for task in needs) if task not in waits]
        return waits

    def _needs(self, task: Task) -> set[Task]:
        kind, id = task
        node = self._plan.nodes[id]
        self._cancel.check()
        if kind == "artifact":
            if node.package.recipe.is_empty and isinstance(node.base, EmptyBase):
                # Nothing of its own, but it must not be there when what it stands for has failed.
                order = (dep.id for dep in self._plan.orders.get(node.pid, ()) if dep.id != node.pid)
                below = {("artifact", self._plan.artifacts[dep]) for dep in order if dep in self._plan.artifacts}
            else:
                below = set()
            if id not in self._forced:
                found = recorded(self._store, self._keys[id], self._options.compression)
                state = ("cached", "the same inputs as before", 0.0)
                if found is None and self._shared is not None:
                    found = self._shared.artifact(self._keys[id], self._options.compression)
                    state = ("pulled", "somebody built it with the same inputs", 0.0)
                if found is not None:
                    self._artifacts[id] = found
                    self._states.setdefault(id, state)
                    return below
            return {("node", id)} | below
        if id not in self._forced:
            record = self._store.index.get(self._keys[id].plan.hex)
            if record is not None:
                result = NodeResult.from_json(record)
                if self._worker.complete(result):
                    self._nodes[id] = result
                    self._states.setdefault(id, ("cached", "the same inputs as before", 0.0))
                    return set()
                self._store.index.drop(self._keys[id].plan.hex)
                self._store.index.drop(result.build_key.hex)
            shared = self._shared.node(self._keys[id]) if self._shared is not None else None
            if shared is not None:
                self._nodes[id] = shared
                self._states.setdefault(id, ("pulled", "somebody built it with the same inputs", 0.0))
                return set()
            if self._worker.taken_from(node):
                return set()
        return {("node", n) for n in node.parents()} | {("artifact", n) for n in node.joined()}

    # doing one thing ---------------------------------------------------------------------------------------------
    def _inputs(self) -> Inputs:
        artifacts = {id: found.main for id, found in self._artifacts.items()}
        return Inputs(self._nodes, artifacts, self._plan.nodes, self._options.compression)

    def _do(self, task: Task) -> None:
        kind, id = task
        node = self._plan.nodes[id]
        self._cancel.check()
        with disk_errors(f"working on {node.pid}", self._store.folder):
            self._make(kind, id, node)

    def _make(self, kind: str, id: str, node: BuildNode) -> None:
        if kind == "node":
            if id not in self._nodes:
                self._build(node)
            return
        fresh = id not in self._artifacts
        if fresh:
            self._say_packing(node)
            self._artifacts[id] = self._packer.pack_node(node, self._keys[id], self._nodes[id])
            self._say_left_out(node, self._artifacts[id].main)
            self._say_empty(node, self._artifacts[id].main)
            state = self._states.get(id)
            if state is not None and state[0] == "cached" and "cut-off" not in state[1]:
                self._states[id] = ("cached", "packed anew from a cached image", state[2])
        if self._emit(node, told=fresh) or fresh:
            self._tell(node)

    def _say_packing(self, node: BuildNode) -> None:
        """To the watcher, who hears of the building first: it may have been done long ago, or by somebody else."""
        watcher = self._options.watcher
        if node.id not in self._watched:
            watcher.building(node)
            self._say_built(node)
        watcher.packing(node)

    def _say_built(self, node: BuildNode) -> None:
        self._options.watcher.built(node)
        self._watched.add(node.id)

    def _tell(self, node: BuildNode) -> None:
        """Of new files. What the watcher refuses does not stay: the next run packs anew, and asks again."""
        packages = (node.package.package, *(sub.package for sub in node.package.recipe.subpackages))
        try:
            for package in packages:
                self._options.watcher.packed(node, package, self._packed[package.id], self._options.compression)
        except BaseException:
            self._store.index.drop(self._keys[node.id].artifact.hex)
            for package in packages:
                withdraw(self._packed.pop(package.id), package.id)
            raise

    def _say_left_out(self, node: BuildNode, artifact: ArtifactResult) -> None:
        """A delta holds what was added; the rest is named here, and all of it in the metadata."""
        paths = artifact.left_out
        if paths:
            shown = ", ".join(f"/{path}" for path in paths[:_SHOWN]) + (", …" if len(paths) > _SHOWN else "")
            self._events.emit(
                Said(f"   {node.pid}: {len(paths)} changed or deleted paths are not in the package: {shown}")
            )

    def _say_empty(self, node: BuildNode, artifact: ArtifactResult) -> None:
        """luet packs nothing where there is nothing; with `package_dir` that is hardly what was meant."""
        recipe = node.package.recipe
        if not recipe.package_dir or artifact.size_bytes > _EMPTY_BYTES:
            return
        seen = self._seen_by_filters(node)
        key, said, hint = "package_dir", f"package_dir {recipe.package_dir} holds nothing in the image", None
        if seen:
            key = "includes" if recipe.includes else "excludes"
            said = f"{key} keep nothing of package_dir {recipe.package_dir}"
            hint = f"a pattern sees the folder's name twice, for example {seen}"
        self._events.emit(Warned(f"{node.pid}: {said}: the package is empty", place_of(recipe.where, key), hint))

    def _seen_by_filters(self, node: BuildNode) -> str:
        """The first path below package_dir, as includes and excludes see it; "" where there is none."""
        prefix = node.package.recipe.package_dir.strip("/")
        view = StackView(tuple(self._store.tree_folder(layer) for layer in self._nodes[node.id].own))
        inside = (entry.path for entry, _ in view.walk() if entry.path.startswith(f"{prefix}/"))
        return next((f"/{prefix}/{path}" for path in inside), "")

    def _build(self, node: BuildNode) -> None:
        keys = self._keys[node.id]
        task = f"build {node.pid}"
        why = self._why(node, keys)
        if self._shared is not None and node.pid not in self._targets and node.id not in self._forced:
            awaited = self._shared.awaited(keys)
            if awaited is not None:
                self._nodes[node.id] = awaited
                self._states[node.id] = ("pulled", "somebody built it while we waited", 0.0)
                return
        self._events.emit(Started(task, f"{node.pid}: {why}"))
        began = clock.monotonic_s()
        try:
            self._options.watcher.building(node)
            result, ran = self._worker.build(node, keys, self._inputs(), force=node.id in self._forced)
            self._say_built(node)
        except BaseException as err:
            said = "interrupted" if isinstance(err, Cancelled | KeyboardInterrupt) else str(err)
            seconds = clock.monotonic_s() - began
            self._states[node.id] = ("failed", said, seconds)
            self._events.emit(Finished(task, "failed", said, seconds))
            raise
        seconds = clock.monotonic_s() - began
        document = {"document": keys.document, "why": why, "ran": ran}
        name = str(node.pid)
        self._store.index.replace(
            [(keys.plan.hex, "plan", name, result.to_json()), (f"doc:{keys.plan.hex}", "document", name, document)]
        )
        self._forced.discard(node.id)
        self._nodes[node.id] = result
        taken = self._worker.taken_from(node)
        if taken:
            self._states[node.id] = ("pulled", f"luet built it: {taken}", seconds)
        elif ran:
            self._states[node.id] = ("built", why, seconds)
        else:
            self._states[node.id] = (
                "cached",
                f"early cut-off: {why}, and what it stands on came out the same",
                seconds,
            )
        self._events.emit(Finished(task, "ok" if ran else "cached", why, seconds))

    def _why(self, node: BuildNode, keys: NodeKeys) -> str:
        """Which input differs from the last record of the same package."""
        if node.id in self._forced:
            return "asked to rebuild"
        last = self._store.index.latest("document", str(node.pid))
        if last is None:
            return "never built before"
        found = differences(str(last["document"]), keys.document)
        return "; ".join(found) if found else "its result is not in the cache any more"

    def _emit(self, node: BuildNode, *, told: bool) -> bool:
        """Whether a package's file is new in its place; the watcher hears of it before, unless it was `told`."""
        if node.id in self._emitted:
            return False
        self._emitted.add(node.id)
        new: list[BuildNode] = []

        def placing() -> None:
            if not (told or new):
                self._say_packing(node)
            new.append(node)

        packages = self._artifacts[node.id]
        package = node.package
        recipe = package.recipe
        seed = recipe.image if not isinstance(node.base, JoinBase) else ""
        main = self._outgoing(node, packages.main, seed)
        self._packed[node.pid] = self._write(main, placing)
        for sub, artifact in zip(recipe.subpackages, packages.subs, strict=True):
            out = replace(
                self._outgoing(node, artifact, seed), runtime=sub.package,
                build_view=replace(sub.package, requires=(), conflicts=()),
            )  # fmt: skip
            self._packed[sub.package.id] = self._write(out, placing)
        return bool(new)

    def _write(self, out: Outgoing, placing: Callable[[], None]) -> PackedFile:
        options = self._options
        return emit(out, options.destination, self._store, options.epoch_s, options.values, placing)

    def _outgoing(self, node: BuildNode, artifact: ArtifactResult, seed: str) -> Outgoing:
        blob, size = artifact.blobs[self._options.compression]
        return Outgoing(
            build_view(node.package), node.package.package, node.package.recipe, artifact.content, blob, size,
            self._options.compression, seed, self._keys[node.id].plan, artifact.left_out,
            artifact.size_bytes,
        )  # fmt: skip

    # the report --------------------------------------------------------------------------------------------------
    def _report(self) -> BuildReport:
        reports, targets = [], set(self._targets)
        for id, node in self._plan.nodes.items():
            reports.append(self._node_report(id, node))
            if node.pid in self._targets:
                targets.update(sub.package.id for sub in node.package.recipe.subpackages)
            for sub in node.package.recipe.subpackages:
                packed = self._packed.get(sub.package.id)
                if packed is not None and self._plan.artifacts.get(node.pid) == id:
                    reports.append(
                        replace(reports[-1], package=sub.package.id, artifact=packed, content=packed.content)
                    )
        patterns = (item for node in self._plan.nodes.values() for item in node.package.recipe.retrieve)
        watches = any(not item.startswith(("http://", "https://", "treebuild:")) for item in patterns)
        return BuildReport(tuple(reports), watches, frozenset(targets))

    def _node_report(self, id: str, node: BuildNode) -> NodeReport:
        keys = self._keys[id]
        result = self._nodes.get(id)
        wanted = self._plan.artifacts.get(node.pid) == id
        error = self._errors.get(("node", id)) or self._errors.get(("artifact", id))
        skipped = self._skipped.get(("node", id)) or (self._skipped.get(("artifact", id)) if error is None else "")
        packed = self._packed.get(node.pid) if wanted else None
        made = self._artifacts.get(id)
        build_key = result.build_key if result else (made.build_key if made else None)
        content = packed.content if packed else (result.steps if result else None)
        if error is not None:
            seconds = self._states.get(id, ("", "", 0.0))[2]
            return NodeReport(node.pid, "failed", keys.plan, None, None, seconds, error.message, None, error)
        if skipped:
            return NodeReport(node.pid, "skipped", keys.plan, None, None, 0.0, skipped)
        state, reason, seconds = self._states.get(id, ("cached", "nothing that needs it had to be built", 0.0))
        shown = state if state in ("built", "pulled") else "cached"
        return NodeReport(node.pid, shown, keys.plan, build_key, content, seconds, reason, packed)  # type: ignore[arg-type]
