"""Use cases of channels: a snapshot of a repository published to a fleet, promoted, rolled out, halted, looked at."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.app.workspace import Workspace
from treebuilder.channel import files, places, publishing
from treebuilder.channel.document import share_of, snapshot_ok
from treebuilder.channel.places import Place
from treebuilder.channel.publishing import Growth, Release, Terms
from treebuilder.channel.rules import Channel, Limit, share_at
from treebuilder.channel.sealing import missing_signers
from treebuilder.errors import ConfigError, IntegrityError, SpecError
from treebuilder.events import Warned
from treebuilder.model.digest import Digest
from treebuilder.records import record
from treebuilder.repository import INDEX_NAME, RepositoryBackend, RepositorySource, SyncedRepository
from treebuilder.repository.api import SIGNATURE_SUFFIX
from treebuilder.repository.index import parse_index
from treebuilder.system import clock

if TYPE_CHECKING:
    from treebuilder.trust.keys import PublicKey

SCHEMA = "treebuild.channel-shown/1"
UNSIGNED = "nothing says whose word this is: devices believe no unsigned channel over a network (--sign, --trust)"
_MAX_KEY_BYTES = 1 << 16
_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@record
class Chosen:
    """What is published: a snapshot of the repository, and which package of it. "" for the newest version in it."""

    snapshot: str
    package: str
    version: str = ""


def publish(work: Workspace, place: Place, name: str, chosen: Chosen, terms: Terms) -> Channel:
    """Makes or changes a channel. In a registry, keys that sign it or are trusted must have signed the snapshot too.

    Raises SpecError (reasons no-repository, no-snapshot, no-package), ConfigError, UpdateRefused, IntegrityError (also
    the reasons of `trust.faults`), TransportError, LockHeld (also reason raced).
    """
    files.file_name(name)
    places.check_writable(place)
    release = _release(work, place, opened(work, place), chosen)
    return _changed(
        work, place, name, lambda _, before: publishing.publish(before, name, release, terms, clock.now_epoch_s())
    )


def promote(work: Workspace, place: Place, source: str, target: str, terms: Terms) -> Channel:
    """What one channel names is named by another one. Raises as `publish` does; SpecError (reason no-channel)."""

    def named(backend: RepositoryBackend, before: Channel | None) -> Channel:
        found = files.load(backend, source, place.seal)
        if found.halted:
            raise ConfigError(f"{source} is halted: {found.halt_reason}", reason="halted", hint="promote what is good")
        return publishing.promote(before, target, found, terms, clock.now_epoch_s())

    if source == target:  # it would begin anew, with the whole fleet at once
        raise ConfigError(f"{source} is promoted to another channel, and not to itself", reason="usage")
    return _changed(work, place, target, named)


def roll_out(work: Workspace, place: Place, name: str, terms: Terms, *, resume: bool) -> Channel:
    """Changes who is offered the version.

    Raises ConfigError (reason halted), SpecError, IntegrityError, TransportError, LockHeld (also reason raced).
    """

    def rolled(_: RepositoryBackend, before: Channel | None) -> Channel:
        return publishing.roll_out(files.needed(before, name), terms, clock.now_epoch_s(), resume=resume)

    return _changed(work, place, name, rolled)


def halt(work: Workspace, place: Place, name: str, reason: str, *, snapshot: str = "") -> Channel:
    """Stops a rollout; of that `snapshot` only, where one is named, and once.

    Raises SpecError, IntegrityError, TransportError, LockHeld (also reason raced).
    """

    def halted(_: RepositoryBackend, before: Channel | None) -> Channel:
        found = files.needed(before, name)
        if snapshot and (snapshot != found.snapshot or found.halted):
            return found
        return publishing.halt(found, reason, clock.now_epoch_s())

    return _changed(work, place, name, halted)


def show(work: Workspace, place: Place, name: str) -> Channel:
    """Raises SpecError (reason no-channel), IntegrityError, TransportError, ConfigError."""
    return files.load(opened(work, place), name, place.seal)


def opened(work: Workspace, place: Place) -> RepositoryBackend:
    """Raises ConfigError (reason "repository-type")."""
    return places.opened(place, work.store, work.cancel)


def warnings(place: Place, channel: Channel, now_epoch_s: int) -> tuple[str, ...]:
    """What its author should know."""
    said = []
    if place.remote and not place.keys:
        said.append(UNSIGNED)
    if channel.halted:
        return (*said, "the channel is halted: nobody is offered this version")
    if not channel.report_url:
        said.append("nothing will halt this rollout by itself: devices report nowhere (--report-url, channel watch)")
    elif channel.limit.least == 0:
        said.append("nothing will halt this rollout by itself: no failures are too many (--halt-at)")
    if now_epoch_s >= channel.expires_epoch_s:
        said.append("the channel has expired: no device believes it")
    if share_at(channel, channel.expires_epoch_s) == 0:
        said.append("nobody is offered this version")
    return tuple(said)


def seal_of(keys: tuple[str, ...], trusted: tuple[str, ...]) -> files.Seal:
    """Files of private keys that sign, and of public ones that are believed too. Raises ConfigError."""
    if not keys and not trusted:
        return files.Unsigned()
    from treebuilder.app import trusting
    from treebuilder.channel.sealing import Signed

    signers = tuple(map(trusting.private_key, keys))
    public = (*(key.public for key in signers), *(_public(file) for file in trusted))
    return Signed(signers, public)


def _public(file: str) -> PublicKey:
    from treebuilder.trust.keys import read_public

    try:
        return read_public(Path(file).read_bytes()[:_MAX_KEY_BYTES], file)
    except OSError as err:
        raise ConfigError(f"the key {file} cannot be read: {err.strerror}", reason="bad-key") from err


# what is written on a command line -----------------------------------------------------------------------------------
def parse_span(text: str) -> int:
    """`90m`, `6h`, `2d`, `1w` as seconds. Raises ConfigError."""
    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdigit() and len(number) < 6 and unit in _UNITS):
        raise ConfigError(f"{text!r} is no length of time", hint="a number and one of m, h, d, w: 6h")
    return int(number) * _UNITS[unit]


def parse_time(text: str, now_epoch_s: int) -> int:
    """`+6h`, or `2026-12-24T18:00Z` (UTC without a zone), as seconds since 1970. Raises ConfigError."""
    if text.startswith("+"):
        return now_epoch_s + parse_span(text[1:])
    from datetime import UTC, datetime

    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{text!r} is no time", hint="for example 2026-12-24T18:00Z, or +6h") from None
    return max(0, int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()))


def parse_share(text: str) -> int:
    """`12.5` or `12.5%`. Raises ConfigError."""
    try:
        return share_of(text.removesuffix("%"))
    except ValueError as err:
        raise ConfigError(str(err)) from err


def parse_steps(text: str) -> tuple[Growth, ...]:
    """`1@0h,10@6h,100@1d`: percentages, and how long after the beginning. Raises ConfigError."""
    steps = []
    for item in text.split(","):
        share, at, span = item.strip().partition("@")
        if not at:
            raise ConfigError(f"{item!r} is no step of a rollout", hint="PERCENTAGE@TIME: 1@0h,10@6h,100@1d")
        steps.append(Growth(parse_span(span), parse_share(share)))
    for one, other in pairwise(steps):
        if one.after_s >= other.after_s or one.share > other.share:
            raise ConfigError(f"the steps {text!r} do not rise", hint="1@0h,10@6h,100@1d")
    return tuple(steps)


def parse_limit(text: str) -> Limit:
    """`5:2%`: at least 5 failures that are 2 % of all results; `0` for never. Raises ConfigError."""
    least, _, share = text.partition(":")
    if not (least.isascii() and least.isdigit() and len(least) < 8):
        raise ConfigError(f"{text!r} says not when to halt", hint="FAILURES:PERCENTAGE, for example 5:2%")
    return Limit(int(least), parse_share(share) if share else 0)


# parts ---------------------------------------------------------------------------------------------------------------
def _changed(
    work: Workspace, place: Place, name: str, change: Callable[[RepositoryBackend, Channel | None], Channel]
) -> Channel:
    """Publishes what `change` makes of the channel as it is; what is the same is not written again."""
    files.file_name(name)
    backend = opened(work, place)
    with places.alone(place, work.store):
        data = files.read(backend, name)
        before = None if data is None else files.believed(data, name, place.seal)
        channel = change(backend, before)
        if channel != before:
            written = places.replace(backend, place, data, channel)
            missing = () if data is None else missing_signers(data, written)
            if missing:
                work.events.emit(
                    Warned(
                        f"{name} was signed by {', '.join(missing)} too: devices that need that do not believe it now",
                        hint="--sign every key until no device needs it any more",
                    )
                )
        return channel


def _release(work: Workspace, place: Place, backend: RepositoryBackend, chosen: Chosen) -> Release:
    if not snapshot_ok(chosen.snapshot):
        raise ConfigError(f"{chosen.snapshot[:80]!r} is no name of a snapshot", hint="create-repo --snapshot-id ID")
    reference = f"{chosen.snapshot}-{INDEX_NAME}"
    data = backend.index(reference)
    if data is None:
        type = "--type docker --push-images " if place.remote else ""
        raise SpecError(
            f"{place} has no snapshot {chosen.snapshot}", reason="no-snapshot",
            hint=f"treebuild create-repo {type}--output {place} --snapshot-id {chosen.snapshot}",
        )  # fmt: skip
    index = parse_index(data, f"{place}: {reference}")
    if place.remote and place.keys:
        _check_signed(place, reference, data, backend.index(reference + SIGNATURE_SUFFIX), index.name)
    source = RepositorySource(reference, place.type, (place.url,), reference=reference)
    synced = SyncedRepository(source, index, backend, (), work.store, work.events)
    built = [found for found in synced.packages() if found.id in synced.artifacts]
    for package in built:  # newest first
        id = package.id
        if f"{id.category}/{id.name}" == chosen.package and chosen.version in ("", id.version):
            return Release(chosen.package, chosen.snapshot, Digest.of(data), id.version)
    wanted = f"{chosen.package}@{chosen.version}" if chosen.version else chosen.package
    raise SpecError(f"the snapshot {chosen.snapshot} holds no {wanted}", reason="no-package")


def _check_signed(place: Place, reference: str, data: bytes, signature: bytes | None, name: str) -> None:
    """Devices take what a channel names for signed: so it must be, as for any client that trusts these keys.

    Raises IntegrityError, its reason one of `trust.faults.REASONS`.
    """
    from treebuilder.trust.index import believe
    from treebuilder.trust.policy import Trust

    what = f"{place}: {reference}"
    try:
        now_s = clock.now_epoch_s()
        believe(data, signature, Trust(place.keys), (), reference=reference, name=name, now_s=now_s, what=what)
    except IntegrityError as err:
        raise IntegrityError(
            err.message, reason=err.reason,
            hint="treebuild create-repo --sign KEY signs the snapshot; --trust PUBLIC-KEY takes the word of who did",
        ) from err  # fmt: skip
