"""The use cases of the package client, over one root and the repositories of its configuration."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from treebuilder import client as room
from treebuilder.annotations import TYPE_CHECKING, TypeVar
from treebuilder.app.client_settings import ClientSettings, place_in
from treebuilder.client.api import Change, ChangeReport, InstallRequest
from treebuilder.client.opening import database_of, luet_database
from treebuilder.errors import IntegrityError, NoSpace, SpecError, StateCorrupt, TreebuildError
from treebuilder.events import EventSink, Warned
from treebuilder.model.digest import Digest
from treebuilder.model.package import Package, PackageId, PackageRef
from treebuilder.records import record, replace
from treebuilder.system.process import Cancel
from treebuilder.trust.faults import REASONS

if TYPE_CHECKING:
    from treebuilder.app.asking import Repository
    from treebuilder.app.plugins import Plugins
    from treebuilder.client import Client, Manner, Planned, SystemDatabase
    from treebuilder.client.operations import UpgradeRequest
    from treebuilder.client.uninstall import UninstallRequest
    from treebuilder.oci.store import Store
    from treebuilder.repository import RepositoryPackages, RepositorySource, SyncedRepository

R = TypeVar("R", bound="Repository")
T = TypeVar("T")
_NOTHING_NEW = "upgrade-nothing-new"  # notes: of a root, the state in which there was nothing to upgrade


@record
class InstallWish:
    """What `install` was asked. `as_luet`: what has any version installed is not asked for again. `some`: what cannot
    be had is left out, with a warning."""

    packages: tuple[PackageRef, ...]
    nodeps: bool = False
    onlydeps: bool = False
    force: bool = False
    as_luet: bool = False
    some: bool = False


class PackageClient:
    """`local` are folders with repositories, named on the command line, preferred to the configured ones.

    A repository that cannot be reached is warned about and left out while another one answers; `strict` raises.
    With `perhaps_none` no repository is a warning, and no package.
    """

    def __init__(
        self, settings: ClientSettings, cache: Path, events: EventSink, cancel: Cancel,
        local: tuple[str, ...] = (), *, strict: bool = False, perhaps_none: bool = False,
    ) -> None:  # fmt: skip
        self.settings = settings
        self.events = events
        self._cache, self._cancel = cache, cancel
        self._local = local
        self._strict, self._perhaps_none = strict, perhaps_none
        self._store: Store | None = None
        self._looked_for_luet = False

    @cached_property
    def _client(self) -> Client:
        from treebuilder.client import Client

        return Client(self.events, self._cancel, self.settings.concurrency)

    @property
    def root(self) -> Path:
        return self.settings.root.folder

    @property
    def store(self) -> Store:
        """Where packages are kept; opened when first needed."""
        return self._opened()

    def _opened(self) -> Store:
        if self._store is None:
            from treebuilder.container import namespace
            from treebuilder.oci.store import Store

            mapping = "user" if namespace.ids_are_mapped() else "host"
            self._store = Store(self._cache, mapping=mapping, bound=self.settings.bound, may_be_read=True)
            self._store.sweep()
        return self._store

    def close(self) -> None:
        if "repositories" in self.__dict__:
            self.repositories.close()
        if self._store is not None:
            self._store.close()

    @cached_property
    def repositories(self) -> RepositoryPackages:
        """Raises SpecError (reason "no-repository"), TransportError, IntegrityError, ConfigError."""
        from treebuilder.repository import RepositoryPackages, RepositorySource

        near = tuple(RepositorySource("", "disk", (folder,), at - (1 << 30)) for at, folder in enumerate(self._local))
        sources = (*near, *self.settings.enabled())
        if not sources:
            none = "no repository is configured and enabled"
            if self._perhaps_none:
                self.events.emit(Warned(none))
                return RepositoryPackages(())
            raise SpecError(
                none, reason="no-repository",
                hint="describe one in the configuration, or in a file of its repos_confdir, with enable: true",
            )  # fmt: skip
        found: list[SyncedRepository] = []
        failures: list[tuple[str, TreebuildError]] = []
        for source, result in zip(sources, self.ask(sources, self.sync), strict=True):
            if not isinstance(result, TreebuildError):
                found.append(result)
            elif result.reason == "repository-type" and not self._strict:
                failures.append((source.name, result))  # as luet: the others are none the worse for it
            elif self._strict or result.exit_code == 1 or source in near or result.reason in (*REASONS, "plugin"):
                raise result  # nobody installs from elsewhere because somebody forged a repository
            elif isinstance(result, IntegrityError) and source.trust.keys:
                raise result  # nor because somebody changed what lies behind a signed index
            elif isinstance(result, (NoSpace, StateCorrupt)):
                raise result  # that is no fault of the repository
            else:
                failures.append((source.name, result))
        if not found and len(failures) == 1:
            raise failures[0][1]
        for name, failure in failures:
            self.events.emit(Warned(f"the repository {name} is left out: {failure.message}", failure.where))
        if not found:
            raise failures[0][1]
        return RepositoryPackages(found, whole=not failures)

    def ask(self, sources: Sequence[R], one: Callable[[R, EventSink], T]) -> list[T | TreebuildError]:
        """What `one` found of each repository, in their order. Raises Cancelled, and what opening the store raises."""
        from treebuilder.app.asking import are_waited_for, ask

        if are_waited_for(sources):
            self._opened()  # before there are threads
        return ask(sources, one, self.events, self._cancel)

    def sync(
        self, source: RepositorySource, events: EventSink, *, whole: bool = True, fresh: bool = False
    ) -> SyncedRepository:
        """One repository as it is now, with all that describes its packages unless only its index is wanted.

        `fresh`: what was last read does not stand in for it.

        Raises what `repository.sync` raises.
        """
        from treebuilder.repository import sync

        watcher = None
        if self._plugins is not None:
            from treebuilder.app.plugin_builds import ToldTransfers

            watcher = ToldTransfers(self._plugins)
        return sync(source, self.store, events, self._cancel, watcher=watcher, whole=whole, fresh=fresh)

    def download(self, url: str) -> bytes:
        """A small document. Raises TransportError, IntegrityError."""
        from treebuilder.oci.download import Downloader

        digest = Downloader(self.store, self._cancel, max_bytes=1 << 20).fetch(url, None)
        return self.store.blob_path(digest).read_bytes()

    def warn(self, message: str) -> None:
        self.events.emit(Warned(message))

    @contextmanager
    def reading(self) -> Iterator[SystemDatabase]:
        """The system database, to look at. Nothing is locked or settled."""
        self._look_for_luet()
        database = database_of(self.settings.root, make=False)
        try:
            yield database
        finally:
            database.close()

    @contextmanager
    def writing(self) -> Iterator[SystemDatabase]:
        """The system database, to change records without touching files."""
        self._look_for_luet()
        with self._client.opened(self.settings.root):
            database = database_of(self.settings.root, make=True)
            try:
                yield database
            finally:
                database.close()

    def _look_for_luet(self) -> None:
        """Warns, once, of packages that only luet's own database knows."""
        if self._looked_for_luet or not self.settings.root.record:
            return
        self._looked_for_luet = True
        found = luet_database(self.settings.root)
        if found is not None:
            self.warn(
                f"{found} is luet's own database: what it lists counts as not installed, until luet's "
                "`database get-all-installed --output FILE` and then our `database import FILE` have taken it over"
            )

    def run(self, operation: str, plan: Callable[[SystemDatabase], Change], manner: Manner) -> ChangeReport:
        self._look_for_luet()
        root = replace(self.settings.root, cache=place_in(self.root, self._cache))
        if self._plugins is None:
            return self._client.run(operation, root, plan, manner)
        from treebuilder.app.plugins import ToldChange

        told = ToldChange(self._plugins, upgrade=operation == "upgrade" and not manner.download_only)
        try:
            return self._client.run(operation, root, plan, told.manner(manner))
        except TreebuildError as err:
            told.failed(err)
            raise

    @cached_property
    def _plugins(self) -> Plugins | None:
        """Raises ConfigError for one that is not there."""
        names = self.settings.plugins()
        if not names:
            return None
        from treebuilder.app.plugins import Plugins

        plugins = Plugins(names, self.events, self._cancel)
        plugins.check()
        return plugins

    # operations ------------------------------------------------------------------------------------------------------
    def install(self, wish: InstallWish, manner: Manner, first: UpgradeRequest | None = None) -> ChangeReport:
        """What is installed stays as it is; what was there as a dependency counts as asked for from then on.

        `first` is an upgrade that comes before it, in one change with it.
        """
        repositories = self.repositories
        needed: list[PackageId] = []

        def plan(database: SystemDatabase) -> Change:
            before, installed = Change(), database.packages()
            if first is not None:
                before = room.operations.upgrade(first, repositories, database, self.root)
                gone = {found.package.id for found in before.remove}
                installed = (
                    *(package for package in installed if package.id not in gone), *(i.package for i in before.add)
                )  # fmt: skip
            wanted = wish.packages
            if wish.as_luet:
                wanted = room.operations.without_installed(wanted, installed)
                if not wanted:
                    return before
            request = InstallRequest(wanted, wish.nodeps, onlydeps=wish.onlydeps)
            if wish.onlydeps and not wish.some:
                from treebuilder.client.choose import dependencies

                needed.extend(dependencies(request, repositories, installed, database.holds()))
            chosen = self._chosen(request, installed, database.holds(), some=wish.some)
            return room.operations.merged(before, Change(add=chosen, force=wish.force))

        with self._asking_for(wish, manner, needed):
            return self.run("install", plan, manner)

    def _chosen(
        self, request: InstallRequest, installed: tuple[Package, ...], holds: frozenset[str], *, some: bool
    ) -> tuple[Planned, ...]:
        from treebuilder.client.choose import choose, choose_some

        if not some:
            return choose(request, self.repositories, installed, holds)
        found, left = choose_some(request, self.repositories, installed, holds)
        for ref, why in left:
            self.events.emit(Warned(f"{ref.pkgname} is left out: {why.message}"))
        return found

    @contextmanager
    def _asking_for(self, wish: InstallWish, manner: Manner, needed: Sequence[PackageId] = ()) -> Iterator[None]:
        """What is wanted and was there as a dependency, by its own name or one that it provides, is asked for then.

        Where only dependencies are wanted that is what is `needed`.
        """
        try:
            yield
        except room.AfterChange:
            self._ask_for(wish, manner, needed)
            raise
        self._ask_for(wish, manner, needed)

    def _ask_for(self, wish: InstallWish, manner: Manner, needed: Sequence[PackageId]) -> None:
        if manner.dry_run or manner.download_only or not self.settings.root.record:
            return
        from treebuilder.client.installed import answering

        with self.reading() as database:
            records = database.records()
        waiting = {found.package.id for found in records if not found.requested}
        if not waiting:
            return
        packages = tuple(found.package for found in records)
        named = tuple(needed) if wish.onlydeps else answering(wish.packages, packages)
        if not waiting.isdisjoint(named):
            with self.writing() as database:
                database.request(named)

    def upgrade(self, request: UpgradeRequest, manner: Manner) -> ChangeReport:
        repositories = self.repositories

        def plan(database: SystemDatabase) -> Change:
            if request.missing:  # that depends on the root, too
                return room.operations.upgrade(request, repositories, database, self.root)
            key, state = self._upgrade_state(request, database)
            if self.store.index.note(_NOTHING_NEW, key) == state:
                return Change()
            change = room.operations.upgrade(request, repositories, database, self.root)
            if not change:
                self.store.index.set_notes(_NOTHING_NEW, {key: state})
            return change

        return self.run("upgrade", plan, manner)

    def _upgrade_state(self, request: UpgradeRequest, database: SystemDatabase) -> tuple[str, bytes]:
        """What names an upgrade of this root, and what its answer follows from."""
        from treebuilder.app.unchanged import code_stamp

        root = f"{self.root.absolute()} {self.settings.root.database_path}"
        seen = Digest.of(repr((self.repositories.state(), str(database.state()), request, code_stamp())).encode())
        return Digest.of(os.fsencode(root)).hex, seen.hex.encode()

    def uninstall(self, request: UninstallRequest, manner: Manner) -> ChangeReport:
        from treebuilder.client.uninstall import uninstall

        return self.run("uninstall", lambda database: uninstall(request, database), manner)

    def autoremove(self, manner: Manner) -> ChangeReport:
        from treebuilder.client.uninstall import autoremove

        return self.run("autoremove", autoremove, manner)

    def replace(self, old: tuple[PackageRef, ...], wish: InstallWish, manner: Manner, *, check: bool) -> ChangeReport:
        repositories = self.repositories
        request = InstallRequest(wish.packages, wish.nodeps, onlydeps=wish.onlydeps)

        def plan(database: SystemDatabase) -> Change:
            change = room.operations.replace_packages(
                old, request, repositories, database, check=check, force=wish.force
            )
            return change.over_installed() if wish.as_luet else change

        with self._asking_for(wish, manner):
            return self.run("replace", plan, manner)

    def reinstall(
        self, refs: tuple[PackageRef, ...], manner: Manner, *, force: bool, nodeps: bool, over_installed: bool = False
    ) -> ChangeReport:
        repositories = self.repositories

        def plan(database: SystemDatabase) -> Change:
            change = room.operations.reinstall(refs, repositories, database, force=force, nodeps=nodeps)
            return change.over_installed() if over_installed else change

        return self.run("reinstall", plan, manner)

    def reclaim(self, manner: Manner) -> ChangeReport:
        repositories = self.repositories
        return self.run("reclaim", lambda d: room.operations.reclaim(repositories, d, self.root), manner)

    def oscheck(self) -> dict[str, tuple[str, ...]]:
        """Packages that have lost files, and which."""
        with self.reading() as database:
            found = {str(p.id): room.operations.missing(database, p.id, self.root) for p in database.packages()}
        return {name: files for name, files in found.items() if files}

    def repair(self, manner: Manner, *, nodeps: bool) -> ChangeReport:
        """Reinstalls what has lost files."""
        repositories = self.repositories

        def plan(database: SystemDatabase) -> Change:
            hurt = [p.id for p in database.packages() if room.operations.missing(database, p.id, self.root)]
            refs = tuple(id.exact for id in hurt)
            if not refs:
                return Change()
            return room.operations.reinstall(refs, repositories, database, force=True, nodeps=nodeps)

        return self.run("oscheck", plan, manner)

    def hold(self, refs: tuple[PackageRef, ...], *, on: bool) -> tuple[str, ...]:
        """Holds installed packages at their version, or lets them go; all that are held then.

        Raises TreebuildError (reason "not-installed").
        """
        from treebuilder.client.installed import not_installed

        if refs:
            with self.writing() as database:
                installed = {package.id.pkgname for package in database.packages()}
                for ref in refs:
                    if on and ref.pkgname not in installed:
                        raise not_installed(ref)
                database.hold([ref.pkgname for ref in refs], on)
        with self.reading() as database:
            return tuple(sorted(database.holds()))
