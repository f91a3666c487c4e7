"""The use case *lock*: fill or move the lock without building anything."""

from __future__ import annotations

from treebuilder.app.building import complete_lock, make_plan, open_tree
from treebuilder.app.options import BuildOptions
from treebuilder.app.workspace import Workspace
from treebuilder.build.bases import ImageSource
from treebuilder.errors import ConfigError
from treebuilder.plan import lock as locks
from treebuilder.plan.lock import Lock
from treebuilder.records import replace
from treebuilder.system.files import write_atomic


def lock(options: BuildOptions, work: Workspace, update: str | None, images: ImageSource | None = None) -> Lock:
    """The lock, complete for the options' targets. `update` drops entries that begin with it first ("" drops all).

    The file is replaced only when everything could be resolved. Raises ConfigError when `update` names nothing.
    """
    before = locks.read(options.lock_file)
    tree = open_tree(options, work, before.epoch_s)
    plan, _ = make_plan(options, work, tree)
    if update is None:
        return complete_lock(options, work, plan, images)
    kept = _without(before, update)
    if update and kept == before:
        raise ConfigError(f"the lock has nothing that begins with {update!r}")
    fresh = options.lock_file.with_name(f".{options.lock_file.name}.new")
    write_atomic(fresh, locks.render(kept))
    try:
        complete_lock(replace(options, lock_file=fresh, locked=False), work, plan, images)
        made = locks.read(fresh)
        write_atomic(options.lock_file, locks.render(made))
    finally:
        fresh.unlink(missing_ok=True)
    return made


def _without(lock: Lock, prefix: str) -> Lock:
    if not prefix:
        return Lock()
    return Lock(
        lock.epoch_s,
        {k: v for k, v in lock.images.items() if not k.startswith(prefix)},
        {k: v for k, v in lock.urls.items() if not k.startswith(prefix)},
        {k: v for k, v in lock.bootstraps.items() if not k.startswith(prefix)},
    )
