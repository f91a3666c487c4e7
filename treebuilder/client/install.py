"""Installs packages of repositories into a root. Everything is fetched and checked before the first change."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from treebuilder.client import apply
from treebuilder.client.api import InstallReport, InstallRequest, Planned, Record, SystemRoot
from treebuilder.client.choose import Claims, check_files, choose
from treebuilder.client.finalize import distinct, run_finalizer
from treebuilder.errors import ConfigError, TreebuildError
from treebuilder.events import EventSink, Finished, Progressed, Started, Warned
from treebuilder.model.package import Finalizer, Package
from treebuilder.repository import RepositoryPackages
from treebuilder.system import locks
from treebuilder.system.clock import monotonic_s
from treebuilder.system.process import Cancel

_FETCHERS = 4


class Installer:
    """Installs out of one set of repositories."""

    def __init__(self, repositories: RepositoryPackages, lock_folder: Path, events: EventSink, cancel: Cancel) -> None:
        self._repositories = repositories
        self._locks = lock_folder
        self._events = events
        self._cancel = cancel

    def plan(self, request: InstallRequest, installed: tuple[Package, ...] = ()) -> tuple[Planned, ...]:
        """What would be installed. Raises Unsatisfiable, SpecError."""
        return choose(request, self._repositories, installed)

    def install(self, request: InstallRequest, root: SystemRoot, known: tuple[Package, ...] = ()) -> InstallReport:
        """Installs what is wanted and what it requires; what is there already stays as it is.

        `known` are packages that are there without a record. Raises ConfigError (no such root), LockHeld,
        Unsatisfiable, TransportError, IntegrityError, ConflictError, UnsafeArchive, NoSpace; FinalizerFailed when the
        packages are in place and a finalizer failed.
        """
        if not root.folder.is_dir():
            raise ConfigError(f"there is no folder {root.folder} to install into", hint=f"mkdir {root.folder}")
        with self._locked(root.folder):
            if apply.recover(root):
                self._events.emit(Warned(f"an installation into {root.folder} was interrupted; it is settled now"))
            database = apply.database_of(root, make=False)
            try:
                self._finalize(root, request.epoch_s)
                plan = self.plan(request, (*known, *database.packages()))
                if not plan:
                    return InstallReport(())
                blobs = self._fetch(plan)
                check_files(plan, blobs, Claims(database.owner))
                finalizers = distinct(item.finalizer for item in plan)
                records = self._unpack(root, plan, blobs, finalizers, Claims(database.owner))
            finally:
                database.close()
            self._finalize(root, request.epoch_s, finalizers)
        return InstallReport(tuple(
            (r.package.id, r.repository, sum(kind != "d" for _, kind in r.entries)) for r in records
        ))  # fmt: skip

    @contextmanager
    def _locked(self, folder: Path) -> Iterator[None]:
        """One installation into a root at a time; the lock lies outside, so that an empty root stays empty."""
        info = os.stat(folder)
        name = f"root-{info.st_dev}-{info.st_ino}"
        with locks.exclusive(self._locks / name, wait=False, what=f"the root {folder}"):
            yield

    def _fetch(self, plan: tuple[Planned, ...]) -> tuple[Path, ...]:
        """Checked archives of all packages, in the plan's order."""
        start = monotonic_s()
        self._events.emit(Started("install fetch", f"fetching {len(plan)} packages", len(plan), "packages"))
        found: list[Path] = []
        try:
            with ThreadPoolExecutor(_FETCHERS) as pool:
                for path in pool.map(lambda item: item.repository.fetch(item.artifact), plan):
                    self._cancel.check()
                    found.append(path)
                    self._events.emit(Progressed("install fetch", len(found)))
        except BaseException:
            self._events.emit(Finished("install fetch", "failed", seconds=monotonic_s() - start))
            raise
        self._events.emit(Finished("install fetch", "ok", seconds=monotonic_s() - start))
        return tuple(found)

    def _unpack(
        self, root: SystemRoot, plan: tuple[Planned, ...], blobs: tuple[Path, ...], finalizers: tuple[Finalizer, ...],
        claims: Claims,
    ) -> tuple[Record, ...]:  # fmt: skip
        start = monotonic_s()
        self._events.emit(Started("install", f"installing into {root.folder}", len(plan), "packages"))
        done = 0

        def before_each(item: Planned) -> None:
            nonlocal done
            self._cancel.check()
            self._events.emit(Progressed("install", done, str(item.package.id)))
            done += 1

        way = apply.fill if apply.is_empty(root) else apply.stage
        try:
            records = way(root, plan, blobs, finalizers, claims, before_each)
        except BaseException:
            self._events.emit(Finished("install", "failed", seconds=monotonic_s() - start))
            raise
        self._events.emit(Finished("install", "ok", seconds=monotonic_s() - start))
        return records

    def _finalize(self, root: SystemRoot, epoch_s: int, fresh: tuple[Finalizer, ...] = ()) -> None:
        """Runs what the root's database says is still to be run, or `fresh` where there is no database.

        All are run; the first failure is raised then.
        """
        failure: TreebuildError | None = None
        database = apply.database_of(root, make=False)
        try:
            waiting = database.pending() if root.record else tuple((-1, finalizer) for finalizer in fresh)
            for position, finalizer in waiting:
                self._events.emit(Started("install finalizers", "running finalizers"))
                try:
                    run_finalizer(finalizer, root.folder, epoch_s, self._events, self._cancel)
                    self._events.emit(Finished("install finalizers"))
                except TreebuildError as err:
                    self._events.emit(Finished("install finalizers", "failed"))
                    self._cancel.check()
                    failure = failure or err
                if position >= 0:
                    database.finalized(position)
        finally:
            database.close()
        if failure is not None:
            raise failure
