"""The document of a channel: a small JSON object in a fixed form, and what is refused of anything else.

A document comes from outside. It is bounded before it is parsed, every key is one that is known, every value has its
type and range, and whatever is wrong is one `IntegrityError` with the reason "bad-channel".
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping

from treebuilder.annotations import Any, NoReturn
from treebuilder.channel.rules import WHOLE, Channel, Limit, Step
from treebuilder.errors import IntegrityError
from treebuilder.model.digest import Digest
from treebuilder.model.version import Version

SCHEMA = "treebuild.channel/1"
MAX_DOCUMENT_BYTES = 8 << 10
MAX_STEPS = 64
_LONGEST = 256  # characters of a text
_BIGGEST = 1 << 53  # what every JSON reader holds exactly
_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-")
_KEYS = {
    "schema", "name", "revision", "package", "snapshot", "index", "version", "expires", "minimum_version", "not_before",
    "percentage", "steps", "critical", "halted", "halt_reason", "report_url", "halt_at",
}  # fmt: skip


def channel_bytes(channel: Channel) -> bytes:
    """The document, sorted and indented, so a person can read it and a tool can compare it."""
    return (json.dumps(channel_json(channel), sort_keys=True, indent=1) + "\n").encode()


def channel_json(channel: Channel) -> dict[str, Any]:
    """The document as plain values. Times are seconds since 1970, shares are percentages."""
    return {
        "schema": SCHEMA, "name": channel.name, "revision": channel.revision, "package": channel.package,
        "snapshot": channel.snapshot, "index": str(channel.index), "version": channel.version,
        "expires": channel.expires_epoch_s, "minimum_version": channel.minimum_version,
        "not_before": channel.not_before_epoch_s, "percentage": percentage(channel.share),
        "steps": [{"at": step.at_epoch_s, "percentage": percentage(step.share)} for step in channel.steps],
        "critical": channel.critical, "halted": channel.halted, "halt_reason": channel.halt_reason,
        "report_url": channel.report_url,
        "halt_at": {"failures": channel.limit.least, "percentage": percentage(channel.limit.share)},
    }  # fmt: skip


def read_channel(data: bytes, what: str) -> Channel:
    """Reads a document. `what` names it in errors. Raises IntegrityError (reason "bad-channel")."""
    if len(data) > MAX_DOCUMENT_BYTES:
        _refuse(what, f"longer than {MAX_DOCUMENT_BYTES} bytes")
    try:
        value = json.loads(data.decode(), parse_float=_Decimal, parse_constant=_Decimal, object_pairs_hook=_once)
    except (ValueError, RecursionError) as err:
        raise IntegrityError(f"{what} is no channel: no JSON of one", reason="bad-channel") from err
    try:
        return _channel(_object(value, _KEYS))
    except ValueError as err:
        raise IntegrityError(f"{what} is no channel: {err}", reason="bad-channel") from err


def name_ok(name: str) -> bool:
    """True for what a channel, and so its file, may be called."""
    return 0 < len(name) <= 64 and name[0].isalnum() and _NAME.issuperset(name)


def percentage(share: int) -> int | float:
    """A share as a number for people: at most two decimals."""
    return share / 100 if share % 100 else share // 100


def share_of(text: str) -> int:
    """`12.5` as hundredths of a percent. Raises ValueError for more than 100 or two decimals."""
    whole, dot, part = text.partition(".")
    if not (text.isascii() and whole.isdigit() and len(whole) <= 3 and (part.isdigit() if dot else True)):
        raise ValueError(f"{text[:40]!r} is no percentage")
    if len(part) > 2 or (share := int(whole) * 100 + int(part.ljust(2, "0"))) > WHOLE:
        raise ValueError(f"{text} is no percentage from 0 to 100 with at most two decimals")
    return share


class _Decimal(str):
    """A number with a point, as it is written."""

    __slots__ = ()


def _refuse(what: str, why: str) -> NoReturn:
    raise IntegrityError(f"{what} is no channel: {why}", reason="bad-channel")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _channel(value: Mapping[str, Any]) -> Channel:
    if value["schema"] != SCHEMA:
        raise ValueError(f"its schema is not {SCHEMA}")
    limit = _object(value["halt_at"], {"failures", "percentage"})
    channel = Channel(
        _text(value, "name"), _number(value, "revision"), _text(value, "package"), _text(value, "snapshot"),
        Digest.parse(_text(value, "index")), _version(value, "version"), _number(value, "expires"),
        _version(value, "minimum_version", empty=True), _number(value, "not_before"), _share(value["percentage"]),
        _steps(value["steps"]), _flag(value, "critical"), _flag(value, "halted"), _text(value, "halt_reason"),
        _text(value, "report_url"), Limit(_number(limit, "failures"), _share(limit["percentage"])),
    )  # fmt: skip
    if not name_ok(channel.name) or not snapshot_ok(channel.snapshot):
        raise ValueError("its name or its snapshot's is not one")
    if channel.report_url and not channel.report_url.startswith(("http://", "https://")):
        raise ValueError("results are posted to http or https only")
    category, _, name = channel.package.rpartition("/")
    if not category or not name:
        raise ValueError("its package is not category/name")
    return channel


def snapshot_ok(text: str) -> bool:
    """True for the name of a snapshot: part of a file's name, in any case of letters."""
    return 0 < len(text) <= 64 and text[0].isalnum() and _NAME.issuperset(text.lower()) and text.isascii()


def _object(value: object, keys: set[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict) or value.keys() != keys:
        raise ValueError("keys are missing, or there are some that nobody knows")
    return value


def _text(value: Mapping[str, Any], key: str) -> str:
    found = value[key]
    if not isinstance(found, str) or isinstance(found, _Decimal) or len(found) > _LONGEST or not found.isprintable():
        raise ValueError(f"{key} is no short text")
    return found


def _version(value: Mapping[str, Any], key: str, *, empty: bool = False) -> str:
    found = _text(value, key)
    if not (empty and not found) and not Version.parse(found).valid:
        raise ValueError(f"{key} is no version")
    return found


def _number(value: Mapping[str, Any], key: str) -> int:
    found = value[key]
    if type(found) is not int or not 0 <= found < _BIGGEST:
        raise ValueError(f"{key} is no number")
    return found


def _flag(value: Mapping[str, Any], key: str) -> bool:
    found = value[key]
    if not isinstance(found, bool):
        raise ValueError(f"{key} is neither true nor false")
    return found


def _share(value: object) -> int:
    if type(value) is int or isinstance(value, _Decimal):
        return share_of(str(value)[:40])
    raise ValueError("a percentage is no number")


def _steps(value: object) -> tuple[Step, ...]:
    if not isinstance(value, list) or len(value) > MAX_STEPS:
        raise ValueError(f"its steps are no list of at most {MAX_STEPS}")
    objects = [_object(item, {"at", "percentage"}) for item in value]
    steps = tuple(Step(_number(item, "at"), _share(item["percentage"])) for item in objects)
    for one, other in itertools.pairwise(steps):
        if one.at_epoch_s >= other.at_epoch_s or one.share > other.share:
            raise ValueError("its steps do not rise")
    return steps
