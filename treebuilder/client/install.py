"""Changes a root: planned, fetched, checked, and only then done. Everything that can fail does so before.

What carries a change out is loaded when there is one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.client.api import (
    AfterChange,
    Change,
    ChangeReport,
    FinalizerFailed,
    FinalizerWaits,
    InstallRequest,
    NotConfirmed,
    Planned,
    Record,
    SystemRoot,
)
from treebuilder.client.database import SystemDatabase
from treebuilder.client.finalize import Environment, finalizers_of, load_sandbox, run_finalizer, together
from treebuilder.client.locking import locked
from treebuilder.client.names import left_over
from treebuilder.client.opening import database_of
from treebuilder.client.protect import Protection
from treebuilder.errors import ConfigError, NoSpace, TreebuildError
from treebuilder.events import EventSink, Finished, Progressed, Started, Warned
from treebuilder.model.package import Finalizer, Package, PackageId
from treebuilder.records import record
from treebuilder.system.clock import monotonic_s
from treebuilder.system.files import disk_errors, is_read_only
from treebuilder.system.process import Cancel

if TYPE_CHECKING:
    from treebuilder.client import apply
    from treebuilder.repository import RepositoryPackages

_FETCHERS = 4
_MOST_FETCHERS = 64


@record
class Manner:
    """How a change is carried out. `confirm` is asked before anything is fetched; False ends it. `applied` is told when
    the change is done, before its finalizers run. Without `finalize` none runs: they wait for the next change."""

    dry_run: bool = False
    download_only: bool = False
    protection: Protection = Protection()
    environment: Environment = Environment()
    finalize: bool = True
    confirm: Callable[[Change], bool] | None = None
    applied: Callable[[Change], None] | None = None


class Client:
    """Changes one root at a time. A root is locked for as long as it is worked on. `at_once` packages are fetched
    beside each other, 0 for our choice."""

    def __init__(self, events: EventSink, cancel: Cancel, at_once: int = 0) -> None:
        self._events = events
        self._cancel = cancel
        self._at_once = min(at_once, _MOST_FETCHERS) or _FETCHERS

    @contextmanager
    def opened(self, root: SystemRoot, *, settle: bool = True) -> Iterator[SystemDatabase]:
        """The root's database, for planning and changing; what a killed run left is settled first.

        Without `settle` nothing at all is changed. Raises ConfigError (no such root), LockHeld, StateCorrupt.
        """
        if os.path.lexists(root.folder) and not root.folder.is_dir():
            raise ConfigError(f"{root.folder} is no folder to install into", hint="name a folder")
        if not root.folder.is_dir():
            raise ConfigError(f"there is no folder {root.folder} to install into", hint=f"mkdir {root.folder}")
        with locked(root.folder):
            if left_over(root.folder):
                self._settle(root, settle)
            database = database_of(root, make=False)
            try:
                yield database
            finally:
                database.close()

    def run(
        self, operation: str, root: SystemRoot, plan: Callable[[SystemDatabase], Change], manner: Manner
    ) -> ChangeReport:
        """One operation from its plan to its end.

        Raises what planning raises, TransportError, IntegrityError, ConflictError, UnsafeArchive, NoSpace, Cancelled
        (not confirmed); FinalizerFailed and FinalizerWaits when the change is done.
        """
        with self.opened(root, settle=not manner.dry_run) as database:
            return self.carry_out(operation, root, database, plan(database), manner)

    def carry_out(
        self, operation: str, root: SystemRoot, database: SystemDatabase, change: Change, manner: Manner
    ) -> ChangeReport:
        """What was planned inside `opened`. What an earlier change left to run is run with it, just before files
        change, whether or not it fails: not where nothing may change, or somebody says no."""
        if not change:
            report = ChangeReport(operation, state="nothing")
            return report if manner.dry_run or manner.download_only else self._changed(manner, root, lambda _: report)
        if manner.dry_run:
            return _planned_report(operation, change, "planned")
        if not manner.download_only and is_read_only(root.folder):
            raise TreebuildError(
                f"the file system of {root.folder} is read-only: nothing can be changed there", reason="permission",
                hint=f"mount -o remount,rw {root.folder}",
            )  # fmt: skip
        if manner.confirm is not None and not manner.confirm(change):
            raise NotConfirmed("Aborted by user")
        from treebuilder.client import apply
        from treebuilder.client.choose import Claims, check_files

        blobs, fetched = self._fetch(change.add)
        gone = [found.package.id for found in change.remove]

        def claims() -> Claims:
            return Claims(database.owners, gone, self._warn, force=change.force, over=change.over)

        check_files(change.add, blobs, claims())
        if manner.download_only:
            return _planned_report(operation, change, "downloaded", fetched)
        finalizers = finalizers_of(change)
        if finalizers and manner.finalize:
            load_sandbox()
        rules = apply.Rules(claims(), manner.protection, database)

        def work(failures: list[AfterChange]) -> ChangeReport:
            applied = self._apply(root, change, blobs, finalizers, rules)
            database.close()
            if manner.applied is not None:
                manner.applied(change)
            if manner.finalize:
                self._finalize(root, manner.environment, failures, finalizers)
            elif finalizers:
                self._warn(
                    f"{len(finalizers)} finalizers were not run; the next change without --skip-finalizers runs them"
                )
            adopted = {found.package.id for found in change.adopt}
            return ChangeReport(
                operation, tuple(_came(r) for r in applied.records if r.package.id not in adopted), tuple(sorted(gone)),
                tuple(_came(r) for r in change.adopt), applied.diverted, fetched,
            )  # fmt: skip

        return self._changed(manner, root, work)

    def _changed(
        self, manner: Manner, root: SystemRoot, work: Callable[[list[AfterChange]], ChangeReport]
    ) -> ChangeReport:
        """What an earlier change left to run, then the work, then all that failed. What waits goes on waiting: what is
        to come may make room, or bring it."""
        failures: list[AfterChange] = []
        try:
            if manner.finalize:
                self._finalize(root, manner.environment, failures)
                for waits in (failure for failure in failures if isinstance(failure, FinalizerWaits)):
                    self._warn(f"{waits.message}; the next change tries again")
                failures = [failure for failure in failures if not isinstance(failure, FinalizerWaits)]
            report = work(failures)
        except BaseException:
            for failure in failures:
                self._warn(failure.message)
            raise
        if failures:
            raise together(failures, report)
        return report

    def _settle(self, root: SystemRoot, settle: bool) -> None:
        if not settle:
            self._warn(f"a change of {root.folder} was interrupted; the next one that is no dry run settles it")
            return
        from treebuilder.client import apply

        apply.recover(root)
        self._warn(f"a change of {root.folder} was interrupted; it is settled now")

    def _warn(self, message: str) -> None:
        self._events.emit(Warned(message))

    def _fetch(self, plan: tuple[Planned, ...]) -> tuple[tuple[Path, ...], int]:
        """Checked archives of all packages, in the plan's order, and how many bytes came for them."""
        if not plan:
            return (), 0
        from treebuilder.oci.arriving import Total
        from treebuilder.system.pool import in_parallel

        start = monotonic_s()
        self._events.emit(Started("fetch", f"fetching {len(plan)} package{'s' * (len(plan) != 1)}", unit="bytes"))
        total = Total(lambda done, expected: self._events.emit(Progressed("fetch", done, total=expected)))

        def came(count: int) -> None:
            self._cancel.check()
            self._events.emit(Progressed("fetch", text=f"{count} of {len(plan)} packages"))

        def fetch(item: Planned) -> Path:
            return item.repository.fetch(item.artifact, total.file())

        try:
            found = in_parallel(plan, fetch, self._at_once, self._cancel, came)
        except BaseException:
            self._events.emit(Finished("fetch", "failed", seconds=monotonic_s() - start))
            raise
        self._events.emit(Finished("fetch", "ok", seconds=monotonic_s() - start))
        return tuple(found), total.moved_bytes

    def _apply(
        self, root: SystemRoot, change: Change, blobs: tuple[Path, ...], finalizers: tuple[Finalizer, ...],
        rules: apply.Rules,
    ) -> apply.Applied:  # fmt: skip
        """Progress counts the bytes of archives, in the form in which they came."""
        from treebuilder.client import apply

        start = monotonic_s()
        sizes = {item.package.id: blob.stat().st_size for item, blob in zip(change.add, blobs, strict=True)}
        self._events.emit(Started("install", f"changing {root.folder}", sum(sizes.values()), "bytes"))
        done = 0

        def before_each(item: Planned) -> None:
            nonlocal done
            self._cancel.check()
            self._events.emit(Progressed("install", done, str(item.package.id)))
            done += sizes[item.package.id]

        try:
            if apply.is_empty(root) and not change.remove and not change.adopt:
                applied = apply.fill(root, change, blobs, finalizers, rules.claims, before_each)
            else:
                applied = apply.stage(root, change, blobs, finalizers, rules, before_each)
        except BaseException:
            self._events.emit(Finished("install", "failed", seconds=monotonic_s() - start))
            raise
        self._events.emit(Progressed("install", done))
        self._events.emit(Finished("install", "ok", seconds=monotonic_s() - start))
        return applied

    def _finalize(
        self, root: SystemRoot, environment: Environment, failures: list[AfterChange],
        fresh: tuple[Finalizer, ...] = (),
    ) -> None:  # fmt: skip
        """Runs what the root's database says is still to be run, or `fresh` where there is no database.

        All are run that can be noted to have run; those that fail are added to `failures`.
        """
        database = database_of(root, make=False)
        try:
            waiting = database.pending() if root.record else tuple((-1, finalizer) for finalizer in fresh)
            for position, finalizer in waiting:
                try:
                    with _noted(root, database, position, finalizer):
                        failures += self._run_finalizer(finalizer, root, environment)
                except FinalizerWaits as err:
                    failures.append(err)
                    break
        finally:
            database.close()

    def _run_finalizer(
        self, finalizer: Finalizer, root: SystemRoot, environment: Environment
    ) -> tuple[FinalizerFailed, ...]:
        """Why it failed, if it did. Raises Cancelled, FinalizerWaits."""
        self._events.emit(Started("install finalizers", "running finalizers"))
        state = "failed"
        try:
            run_finalizer(finalizer, root.folder, environment, self._events, self._cancel)
            state = "ok"
        except FinalizerFailed as err:
            self._cancel.check()
            return (err,)
        finally:
            self._events.emit(Finished("install finalizers", state))
        return ()


@contextmanager
def _noted(root: SystemRoot, database: SystemDatabase, position: int, finalizer: Finalizer) -> Iterator[None]:
    """Keeps room while a finalizer runs, which may fill the disk, and notes then that it ran: it would run again if
    nothing said so. Without a position there is no database to note it in. Raises FinalizerWaits without room."""
    if position < 0:
        yield
        return
    from treebuilder.client.ready import keep, noting

    assert database.folder is not None
    try:
        with disk_errors(f"making sure that a finalizer in {root.folder} runs but once: it waits", database.folder):
            room = keep(database.folder, noting(finalizer))
    except NoSpace as err:
        raise FinalizerWaits(err.message, hint=err.hint) from err
    try:
        yield
    finally:
        if room >= 0:
            os.close(room)
    database.finalized(position)


def _came(found: Record) -> tuple[PackageId, str, int]:
    return found.package.id, found.repository, sum(kind != "d" for _, kind in found.entries)


def _planned_report(operation: str, change: Change, state: str, fetched_bytes: int = 0) -> ChangeReport:
    return ChangeReport(
        operation,
        tuple((i.package.id, i.repository.source.name, len(i.artifact.files)) for i in change.add),
        tuple(sorted(found.package.id for found in change.remove)),
        tuple(_came(found) for found in change.adopt), fetched_bytes=fetched_bytes, state=state,
    )  # fmt: skip


class Installer:
    """Installs out of one set of repositories."""

    def __init__(self, repositories: RepositoryPackages, events: EventSink, cancel: Cancel) -> None:
        self._repositories = repositories
        self._client = Client(events, cancel)

    def plan(self, request: InstallRequest, installed: tuple[Package, ...] = ()) -> tuple[Planned, ...]:
        """What would be installed. Raises Unsatisfiable, SpecError."""
        from treebuilder.client.choose import choose

        return choose(request, self._repositories, installed)

    def install(self, request: InstallRequest, root: SystemRoot, known: tuple[Package, ...] = ()) -> ChangeReport:
        """Installs what is wanted and what it requires; what is there already stays as it is.

        `known` are packages that are there without a record. Raises what `Client.run` raises.
        """
        from treebuilder.client import operations

        manner = Manner(environment=Environment(epoch_s=request.epoch_s))
        return self._client.run(
            "install", root, lambda database: operations.install(request, self._repositories, database, known), manner
        )
