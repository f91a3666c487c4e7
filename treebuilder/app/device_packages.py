"""Sources that are repositories: the snapshot that a channel names, or the newest package there is.

Either way a package and what it requires are installed into an empty root by the package client, and that root becomes
an image. The document of a channel is verified, its digest covers the index of the snapshot, and that all the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.app.device_sources import Context, Obtained, Offer, composed, opened_store
from treebuilder.channel import files
from treebuilder.channel.rules import Channel, Verdict, goes_back, place
from treebuilder.device.followed import Channels
from treebuilder.device.following import offered
from treebuilder.device.rules import refuse_failed
from treebuilder.device.slots import Origin
from treebuilder.device.states import Device, Purpose, Slot
from treebuilder.device.workfolder import STORE, TIMES, need
from treebuilder.errors import ConfigError, IntegrityError, SpecError, TransportError, TreebuildError, UpdateRefused
from treebuilder.events import Warned
from treebuilder.model.digest import Digest
from treebuilder.model.package import PackageId, PackageRef
from treebuilder.model.version import compare
from treebuilder.records import record, replace
from treebuilder.system import clock
from treebuilder.trust.faults import EXPIRED, fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from treebuilder.app.client import PackageClient
    from treebuilder.client.api import Planned
    from treebuilder.oci.store import Store
    from treebuilder.repository import RepositoryPackages, RepositorySource, SyncedRepository


class PackageSource:
    """A package of the configured repositories. `newest`: whichever version, so nobody asked for it.

    Only an upgrade wants one that is newer than what runs: recovery, and what a reset puts into the slots, are others.
    """

    def __init__(
        self, ref: PackageRef, context: Context, *, newest: bool, purpose: Purpose = Purpose.UPGRADE
    ) -> None:  # fmt: skip
        self._ref, self._context, self._newest, self._purpose = ref, context, newest, purpose
        self._version = ""

    def look(self, device: Device, folder: Path) -> Offer:
        """Raises UpdateRefused (reason "failed-before"), Unsatisfiable, SpecError, TransportError, IntegrityError."""
        with self._client(folder) as client:
            self._version = _version_of(_plan(client.repositories, self._ref, self._context), self._ref)
        source = f"{self._ref.pkgname}@{self._version}"
        if self._newest:
            if self._purpose is Purpose.UPGRADE and compare(self._version, known_version(device)) <= 0:
                return Offer("up-to-date", self._version, source, automatic=True)
            refuse_failed(device, self._version)
        return Offer("offered", self._version, source, self._newest, self._context.size_bytes)

    def obtain(self, folder: Path) -> Obtained:
        need(folder, TIMES * self._context.size_bytes, f"an upgrade to {self._version}")
        with self._client(folder) as client:
            return _installed(client.repositories, replace(self._ref, version=self._version), folder, self._context)

    @contextmanager
    def _client(self, folder: Path) -> Iterator[PackageClient]:
        from treebuilder.app.client import PackageClient

        context = self._context
        client = PackageClient(context.settings, folder / STORE, context.events, context.cancel)
        try:
            yield client
        finally:
            client.close()


@record
class Follower:
    """Who follows a channel: its machine id, what it remembers of channels, and how it keeps that."""

    machine_id: str
    channels: Channels
    remember: Callable[[Channels], None]


class ChannelSource:
    """What a channel of one of the configured repositories names, if it is for this device and now.

    `force`: also a version that is older, or failed here.
    """

    def __init__(
        self, name: str, follower: Follower, context: Context, purpose: Purpose = Purpose.UPGRADE, *,
        force: bool = False,
    ) -> None:  # fmt: skip
        self._name, self._follower, self._context, self._purpose = name, follower, context, purpose
        self._force = force
        self._found: tuple[RepositorySource, Channel] | None = None

    def look(self, device: Device, folder: Path) -> Offer:
        """Raises IntegrityError (not to be believed, or reasons "rolled-back", "expired"), SpecError ("no-channel"),
        UpdateRefused (reasons "failed-before", "too-old"), ConfigError ("no-keys"), TransportError."""
        running = known_version(device, force=self._force) if self._purpose is Purpose.UPGRADE else ""
        with opened_store(folder) as store:
            source, channel = self._read(store)
        self._found = source, channel
        follower, now = self._follower, clock.now_epoch_s()
        key = f"{source.name}/{self._name}"
        said = offered(
            device, channel, place(follower.machine_id, channel.snapshot), follower.channels.revision(key), now,
            self._purpose, force=self._force,
        )  # fmt: skip
        follower.remember(follower.channels.saw(key, channel.revision))
        if said is Verdict.EXPIRED:
            raise fault(EXPIRED, f"the channel {self._name} has expired", "its owner renews it: channel rollout")
        if said is Verdict.TOO_OLD:
            raise UpdateRefused(
                f"{channel.version} is not for {running}: {channel.minimum_version} has to be installed first",
                reason="too-old", hint=f"treebuild device upgrade {channel.package}@{channel.minimum_version}",
            )  # fmt: skip
        state = "up-to-date" if said is Verdict.NOT_NEWER else said.value
        return Offer(
            state, channel.version, f"{channel.package}@{channel.version}", True, self._context.size_bytes,
            channel.name, channel.snapshot, channel.critical, channel.report_url,
        )  # fmt: skip

    def obtain(self, folder: Path) -> Obtained:
        assert self._found is not None
        source, channel = self._found
        need(folder, TIMES * self._context.size_bytes, f"an upgrade to {channel.version}")
        from treebuilder.repository import RepositoryPackages

        category, _, name = channel.package.rpartition("/")
        with opened_store(folder) as store:
            with closing(RepositoryPackages([_snapshot(source, channel, store, self._context)])) as packages:
                return _installed(packages, PackageRef(category, name, channel.version), folder, self._context)

    def _read(self, store: Store) -> tuple[RepositorySource, Channel]:
        """From the most preferred repository that has it."""
        sources = self._context.settings.enabled()
        failure: TreebuildError | None = None
        for source in sources:
            try:
                found = _channel_of(source, self._name, self._follower.channels, store, self._context)
            except TransportError as err:
                failure = failure or err
                continue
            if found is not None:
                return source, found
        if failure is not None:
            raise failure
        raise SpecError(
            f"no repository has a channel {self._name}", reason="no-channel",
            hint="treebuild channel publish makes one" if sources else "no repository is configured and enabled",
        )  # fmt: skip


def known_version(device: Device, *, force: bool = False) -> str:
    """The version that a newer one is newer than; "" where recovery runs because there is none.

    Raises UpdateRefused (reason "unknown-version"), unless `force` wants what is older too.
    """
    standing = device.standing
    if standing is None and device.booted is not Slot.RECOVERY and not force:
        raise UpdateRefused(
            "it is not known which version runs, so none is newer", reason="unknown-version",
            hint="name the version to install",
        )  # fmt: skip
    return "" if standing is None else standing.version


# channels -------------------------------------------------------------------------------------------------------------
class _Accepted:
    """Implements `Seal` where a configuration says that nothing is verified: signed or not, it is believed."""

    def wrap(self, document: bytes) -> bytes:
        raise ConfigError("what is not verified is not signed either")

    def unwrap(self, data: bytes, what: str) -> bytes:
        from treebuilder.channel.sealing import looks_signed
        from treebuilder.trust.envelope import read_envelope

        return read_envelope(data, what).payload if looks_signed(data) else data


def _seal(source: RepositorySource, context: Context) -> files.Seal:
    from treebuilder.channel.sealing import Signed

    trust = source.trust
    if trust.keys:
        return Signed((), trust.keys, trust.threshold)
    if source.type != "disk" and trust.unsigned == "refuse":
        raise ConfigError(
            f"the repository {source.name} comes over a network, and no keys say whose word counts for it",
            where=source.where, reason="no-keys",
            hint="trust: {keys: [FILE]} beside its urls, keys in /etc/treebuild/keys.d, or trust: none",
        )  # fmt: skip
    if trust.unsigned in ("insecure", "warn"):
        context.events.emit(Warned(f"the channels of {source.name} are used without being verified", source.where))
    return _Accepted()


def _channel_of(
    source: RepositorySource, name: str, channels: Channels, store: Store, context: Context
) -> Channel | None:
    """The channel, from the first mirror whose document is to be believed and no older than what was seen."""
    from treebuilder.repository import open_backend

    seal = _seal(source, context)
    failure: TreebuildError | None = None
    older: Channel | None = None
    for url in source.urls:
        try:
            backend = open_backend(source.type, url, store, context.cancel, source.auth, loose=not source.trust.keys)
            found = files.find(backend, name, seal)
        except (TransportError, IntegrityError) as err:
            failure = err if isinstance(err, IntegrityError) else failure or err
            continue
        if found is not None and not goes_back(channels.revision(f"{source.name}/{name}"), found):
            return found
        older = older or found
    if older is None and failure is not None:
        raise failure
    return older


def _snapshot(source: RepositorySource, channel: Channel, store: Store, context: Context) -> SyncedRepository:
    """The repository as the channel names it. Raises IntegrityError (reason "wrong-index"), TransportError."""
    from treebuilder.repository import INDEX_NAME, SyncedRepository, open_backend
    from treebuilder.repository.index import parse_index

    reference = f"{channel.snapshot}-{INDEX_NAME}"
    backends = [
        open_backend(source.type, url, store, context.cancel, source.auth, loose=not source.trust.keys)
        for url in source.urls
    ]  # fmt: skip
    failure: TreebuildError | None = None
    for position, backend in enumerate(backends):
        try:
            data = backend.index(reference)
        except TransportError as err:
            failure = failure or err
            continue
        if data is None:
            continue
        if Digest.of(data) != channel.index:
            failure = IntegrityError(
                f"the snapshot {channel.snapshot} of {source.name} is not the one that the channel names",
                reason="wrong-index",
            )
            continue
        index = parse_index(data, f"{source.name}: {reference}")
        others = (*backends[position + 1 :], *backends[:position])
        named = replace(source, reference=reference)
        return SyncedRepository(named, index, backend, others, store, context.events)
    if failure is not None:
        raise failure
    raise SpecError(f"{source.name} has no snapshot {channel.snapshot}", where=source.where, reason="no-snapshot")


# packages -------------------------------------------------------------------------------------------------------------
def _plan(packages: RepositoryPackages, ref: PackageRef, context: Context) -> tuple[Planned, ...]:
    from treebuilder.client import Installer, InstallRequest

    return Installer(packages, context.events, context.cancel).plan(InstallRequest((ref,)))


def _version_of(plan: tuple[Planned, ...], ref: PackageRef) -> str:
    for item in plan:
        if item.package.id.pkgname == ref.pkgname:
            return item.package.id.version
    return plan[-1].package.id.version  # somebody provides it


def _installed(packages: RepositoryPackages, ref: PackageRef, folder: Path, context: Context) -> Obtained:
    from treebuilder.client import Installer, InstallRequest, SystemRoot

    plan = _plan(packages, ref, context)
    epoch_s = max((_built(item.artifact.build_time) for item in plan), default=1)
    root = folder / "root"
    root.mkdir()
    report = Installer(packages, context.events, context.cancel).install(
        InstallRequest((ref,), epoch_s=epoch_s), SystemRoot(root, context.settings.root.database_path)
    )
    version = _version_of(plan, ref)
    archives = tuple(item.repository.fetch(item.artifact) for item in plan)  # they are here
    made = composed(root, folder, context, f"{ref.pkgname}@{version}", version, epoch_s)
    named = (("category", ref.category), ("name", ref.name), ("version", version))
    fingerprint = PackageId(ref.category, ref.name, version).fingerprint
    origin = Origin(f"channel://{ref.pkgname}", (*named, ("finger-print", fingerprint)))
    return replace(made, archives=archives, fetched_bytes=report.fetched_bytes, origin=origin)


def _built(text: str) -> int:
    """When a package was built, in epoch seconds; 1 where its metadata does not say."""
    try:
        return max(1, int(datetime.strptime(text[:19], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()))
    except ValueError:
        return 1
