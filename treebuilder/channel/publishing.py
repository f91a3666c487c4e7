"""How a channel changes: each function gives the next document. No input, no output."""

from __future__ import annotations

from treebuilder.annotations import TypeVar
from treebuilder.channel.rules import WHOLE, Channel, Limit, Step, share_at
from treebuilder.errors import ConfigError, UpdateRefused
from treebuilder.model.digest import Digest
from treebuilder.model.version import compare
from treebuilder.records import record, replace

T = TypeVar("T")
DEFAULT_LIFE_S = 90 * 86400


@record
class Release:
    """What a snapshot of a repository holds."""

    package: str
    snapshot: str
    index: Digest
    version: str


@record
class Growth:
    """A step of a rollout, counted from its beginning."""

    after_s: int
    share: int


@record
class Terms:
    """How a release is offered; None leaves what the channel said before (or the default, for a new one)."""

    share: int | None = None
    steps: tuple[Growth, ...] | None = None  # from now on, or from when the offer is no longer held back
    minimum_version: str | None = None
    not_before_epoch_s: int | None = None
    life_s: int | None = None  # how long the document is believed, from now
    critical: bool | None = None
    report_url: str | None = None
    limit: Limit | None = None


def publish(before: Channel | None, name: str, release: Release, terms: Terms, now_epoch_s: int) -> Channel:
    """The channel names a release. Who is offered it begins anew: without terms, the whole fleet at once.

    Raises UpdateRefused (reason "goes-back") for a version older than the one it names: no device would take it.
    ConfigError (reason "halted") for the snapshot that was halted: who publishes by a script must not undo that.
    """
    if before is not None and compare(release.version, before.version) < 0:
        raise UpdateRefused(
            f"{name} is at {before.version}, and {release.version} is older: devices never go back by themselves",
            reason="goes-back", hint="publish the older content as a newer version",
        )  # fmt: skip
    if before is not None and before.halted and release.index == before.index:
        raise ConfigError(
            f"{name} is halted at {before.version}: {before.halt_reason or 'no reason was given'}", reason="halted",
            hint="publish a repaired version, or go on with channel rollout --resume",
        )  # fmt: skip
    base = before or Channel(name, 0, release.package, release.snapshot, release.index, release.version, 0)
    named = replace(
        base, package=release.package, snapshot=release.snapshot, index=release.index, version=release.version,
        share=WHOLE if terms.steps is None else 0, steps=(), not_before_epoch_s=0, critical=False, halted=False,
        halt_reason="",
    )  # fmt: skip
    return _on_terms(named, terms, now_epoch_s)


def promote(before: Channel | None, name: str, source: Channel, terms: Terms, now_epoch_s: int) -> Channel:
    """The channel names what another one names. The greater minimum version of both counts, unless `terms` say one:
    a version that needs another one before it needs that everywhere. Raises as `publish` does.
    """
    known = "" if before is None else before.minimum_version
    needed = source.minimum_version
    if terms.minimum_version is None and needed and (not known or compare(needed, known) > 0):
        terms = replace(terms, minimum_version=needed)
    return publish(before, name, release_of(source), terms, now_epoch_s)


def roll_out(before: Channel, terms: Terms, now_epoch_s: int, *, resume: bool = False) -> Channel:
    """Who is offered the version changes. A share that is named replaces the steps, and steps the share.

    What is resumed goes on with the share that it had reached, and grows by what is said now.
    Raises ConfigError (reason "halted") for a channel that is halted, unless it is to be resumed.
    """
    if before.halted and not resume:
        raise ConfigError(
            f"{before.name} is halted: {before.halt_reason or 'no reason was given'}", reason="halted",
            hint="publish a repaired version, or go on with --resume",
        )  # fmt: skip
    return _on_terms(replace(before, halted=False, halt_reason=""), terms, now_epoch_s)


def halt(before: Channel, reason: str, now_epoch_s: int) -> Channel:
    """Nobody is offered the version any more. Devices that wait for a boot still boot it.

    The clock goes on while it is halted, so no step is left: whoever resumes it would offer it to all at once.
    """
    reached = before.share if now_epoch_s < before.not_before_epoch_s else share_at(before, now_epoch_s)
    halted = replace(before, halted=True, halt_reason=reason, share=reached, steps=())
    return _on_terms(halted, Terms(), now_epoch_s)


def release_of(channel: Channel) -> Release:
    """What a channel names, for another one to name it too."""
    return Release(channel.package, channel.snapshot, channel.index, channel.version)


def _on_terms(channel: Channel, terms: Terms, now_epoch_s: int) -> Channel:
    not_before = _or(terms.not_before_epoch_s, channel.not_before_epoch_s)
    begin = max(not_before, now_epoch_s)
    share, steps = channel.share, _later(channel, begin, now_epoch_s)
    if terms.share is not None:
        share, steps = terms.share, ()
    if terms.steps is not None:
        share, steps = terms.share or 0, tuple(Step(begin + step.after_s, step.share) for step in terms.steps)
    minimum = _or(terms.minimum_version, channel.minimum_version)
    if terms.minimum_version and compare(minimum, channel.version) >= 0:  # asked only then: a halt never fails
        raise ConfigError(
            f"no device is offered {channel.version}: the oldest that may install it is {minimum}",
            reason="minimum-version", hint='the version that has to be there before, or --minimum-version ""',
        )  # fmt: skip
    life = terms.life_s if terms.life_s is not None else DEFAULT_LIFE_S
    return replace(
        channel, revision=channel.revision + 1, share=share, steps=steps, expires_epoch_s=now_epoch_s + life,
        minimum_version=minimum,
        not_before_epoch_s=not_before,
        critical=_or(terms.critical, channel.critical), report_url=_or(terms.report_url, channel.report_url),
        limit=_or(terms.limit, channel.limit),
    )  # fmt: skip


def _later(channel: Channel, begin_epoch_s: int, now_epoch_s: int) -> tuple[Step, ...]:
    """The steps, those to come as much later as the offer begins, or goes on, later than was said."""
    late_s = begin_epoch_s - max(channel.not_before_epoch_s, now_epoch_s)
    return tuple(
        replace(step, at_epoch_s=step.at_epoch_s + late_s) if step.at_epoch_s > now_epoch_s else step
        for step in channel.steps
    )


def _or(new: T | None, old: T) -> T:
    return old if new is None else new
