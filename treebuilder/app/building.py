"""The use case *build*: tree, plan, lock, run."""

from __future__ import annotations

import os
from collections.abc import Mapping

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.app.buildvalues import recorded_values
from treebuilder.app.options import BuildOptions
from treebuilder.app.secret_key import secret_key
from treebuilder.app.targets import dependency_only, targets_of
from treebuilder.app.unchanged import code_stamp
from treebuilder.app.workspace import Workspace, resources
from treebuilder.build.bases import Bases, ForeignArtifacts, ImageSource, Resolver
from treebuilder.build.report import BuildReport
from treebuilder.build.retrieved import keyed
from treebuilder.build.runner import Runner, RunnerOptions
from treebuilder.build.schedule import Task
from treebuilder.build.watching import Unwatched, Watcher
from treebuilder.build.worker import LOCAL, Worker
from treebuilder.engine import factory
from treebuilder.engine.api import RunOptions
from treebuilder.errors import ConfigError, SpecError
from treebuilder.model.digest import Digest
from treebuilder.model.image import State
from treebuilder.model.package import PackageId
from treebuilder.oci.store import Store
from treebuilder.plan import lock as locks
from treebuilder.plan.graph import BuildPlan, Foreign
from treebuilder.plan.keys import NodeKeys, plan_keys
from treebuilder.plan.lock import Lock
from treebuilder.plan.planner import Planner, PlanOptions
from treebuilder.records import record, replace
from treebuilder.solver import PackageSolver
from treebuilder.system.files import disk_errors, remove_unfinished, write_atomic
from treebuilder.system.pool import Pool
from treebuilder.tree import Tree, load_tree
from treebuilder.tree.values import Values

if TYPE_CHECKING:
    from treebuilder.build.luetimages import LuetImages


@record
class Planned:
    tree: Tree
    plan: BuildPlan
    keys: Mapping[str, NodeKeys]
    lock: Lock
    options: PlanOptions


def epoch_from_environment() -> int | None:
    """`SOURCE_DATE_EPOCH`. Raises ConfigError when it is no number."""
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) < 1 << 33):
        raise ConfigError(f"SOURCE_DATE_EPOCH is {text!r}, not a number of seconds since 1970 below 2^33")
    return int(text)


def open_tree(
    options: BuildOptions, work: Workspace, epoch_s: int, *, recipes: bool = True,
    faults: list[SpecError] | None = None, built_with: Mapping[str, Mapping[str, Values]] | None = None,
) -> Tree:  # fmt: skip
    """The tree of a request; without `recipes` no build.yaml is rendered before it is needed. `built_with` as in
    `load_tree`.

    Raises SpecError for a broken specfile, unless such are collected in `faults`.
    """
    env = {name: os.environ[name] for name in work.settings.template_env if name in os.environ}
    return load_tree(
        options.roots, values_files=options.values, events=work.events, index=work.specs, template_env=env,
        epoch_s=epoch_s, dockerfiles=options.dockerfiles, layering=options.layering, recipes=recipes,
        salt=code_stamp(), faults=faults, built_with=built_with,
    )  # fmt: skip


def make_plan(
    options: BuildOptions, work: Workspace, tree: Tree, foreign: Mapping[PackageId, Foreign] | None = None
) -> tuple[BuildPlan, PlanOptions]:
    plan_options = PlanOptions(
        options.destination, options.only_target_package or options.nodeps, options.onlydeps, resources(), foreign,
        dependency_only(options, tree),
    )  # fmt: skip
    planner = Planner(tree, PackageSolver(), plan_options)
    return planner.plan(targets_of(options, tree)), plan_options


def registry_images(options: BuildOptions, work: Workspace) -> ImageSource:
    """Where images come from unless the caller says: registries, with Docker's logins."""
    return _Registries(options, work)


class _Registries:
    """Loads the client of registries for the first image that lies in one. May be used from many threads."""

    def __init__(self, options: BuildOptions, work: Workspace) -> None:
        self._insecure = options.insecure_registries
        self._work = work
        self._made: ImageSource | None = None

    def resolve(self, reference: str) -> Digest:
        return self._client().resolve(reference)

    def load(self, reference: str, digest: Digest, store: Store) -> State:
        return self._client().load(reference, digest, store)

    def _client(self) -> ImageSource:
        if self._made is None:
            from treebuilder.oci.registry import RegistryImages

            self._made = RegistryImages(self._work.events, self._work.cancel, self._insecure)
        return self._made


def complete_lock(
    options: BuildOptions, work: Workspace, plan: BuildPlan, images: ImageSource | None, *, update: bool = False
) -> Lock:
    """The lock with everything the plan needs, written back when it grew. Raises SpecError for `--locked`."""
    path = options.lock_file
    before = Lock() if update else locks.read(path)
    resolver = Resolver(work.store, images or registry_images(options, work), work.events, work.cancel)
    epoch = epoch_from_environment()
    missing = resolver.missing(plan, before)
    if missing and options.locked:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise SpecError(
            f"{path} does not have {', '.join(missing[:3])}{more}", reason="lock-incomplete",
            hint="treebuild lock writes them",
        )  # fmt: skip
    lock = resolver.complete(plan, before, epoch) if missing else before
    if missing:
        write_atomic(path, locks.render(lock))
    return resolver.with_layouts(plan, lock.with_epoch(epoch))


def epoch_of(options: BuildOptions) -> int:
    """The time that a build takes for now."""
    said = epoch_from_environment()
    return locks.read(options.lock_file).epoch_s if said is None else said


def prepare(
    options: BuildOptions, work: Workspace, images: ImageSource | None = None,
    foreign: Mapping[PackageId, Foreign] | None = None, tree: Tree | None = None,
) -> Planned:  # fmt: skip
    """Reads (unless the tree is there), solves, plans, locks and keys.

    Raises SpecError, Unsatisfiable, TransportError.
    """
    if tree is None:
        tree = open_tree(options, work, epoch_of(options))
    plan, plan_options = make_plan(options, work, tree, foreign)
    lock = complete_lock(options, work, plan, images)
    keys = plan_keys(plan, tree, lock, secret_key=secret_key(plan, work))
    return Planned(tree, plan, keys, lock, plan_options)


def _refuse_to_build_dependencies(planned: Planned, work: Workspace, luet: LuetImages | None) -> None:
    """`--nodeps`: raises SpecError for the first thing to build that is no target."""
    targets = set(planned.plan.targets)
    for id, node in planned.plan.nodes.items():
        if luet is not None and luet.has(id):
            continue
        if node.pid not in targets and work.store.index.get(planned.keys[id].plan.hex) is None:
            raise SpecError(
                f"{node.pid} is not in the cache, and --nodeps builds no dependencies", reason="nodeps",
                where=node.package.package.where, hint="build it first, or build without --nodeps",
            )  # fmt: skip


def build(
    options: BuildOptions, work: Workspace, images: ImageSource | None = None,
    foreign: Mapping[PackageId, Foreign] | None = None, source: ForeignArtifacts | None = None,
    tree: Tree | None = None, watcher: Watcher | None = None,
) -> BuildReport:  # fmt: skip
    """Builds the targets, of `tree` if it has been read. What fails is in the report; raises what stops everything.

    `watcher` is told what happens.
    """
    planned = prepare(options, work, images, foreign, tree)
    shared = None
    if options.shares:
        from treebuilder.app.sharing import shared_cache

        shared = shared_cache(options, work)
    luet = None
    if options.luet_cache:
        from treebuilder.app.luetcache import from_luet

        source_of_images = images or registry_images(options, work)
        keys, luet = from_luet(options, work, planned.tree, planned.plan, planned.lock, source_of_images, shared)
        planned = replace(planned, keys=keys)
    planned = replace(planned, keys=keyed(planned.plan, planned.keys, options.compression))
    if options.nodeps:
        _refuse_to_build_dependencies(planned, work, luet)
    with disk_errors(f"making the folder {options.destination}"):
        options.destination.mkdir(parents=True, exist_ok=True)
        remove_unfinished(options.destination)
    values = recorded_values(options.values, planned.tree)
    engine = factory.make(options.engine)
    try:
        bases = Bases(
            work.store, planned.lock, images or registry_images(options, work), source, work.events, work.cancel
        )
        pool = Pool[Task](options.jobs or work.jobs)
        run_options = RunOptions(work.store.folder / "logs", options.keep_failed, pool.help)
        worker = Worker(
            planned.tree, planned.lock, work.store, engine, bases, planned.options, run_options,
            options.step_timeout_s, work.events, work.cancel, shared or LOCAL, luet,
        )  # fmt: skip
        stamp_s = planned.lock.epoch_s if options.stamp_epoch_s is None else options.stamp_epoch_s
        runner_options = RunnerOptions(
            options.destination, stamp_s, options.compression, options.rebuild, values, watcher or Unwatched()
        )
        with pool:
            runner = Runner(
                planned.plan, planned.keys, work.store, worker, runner_options, pool, work.events, work.cancel, shared
            )
            return runner.run()
    finally:
        engine.close()
