"""Whom a configuration trusts with a repository: `trust: {keys, threshold, name}` or `trust: none`.

Loads nothing, for every verb that reads a configuration passes by here.
"""

from __future__ import annotations

from collections.abc import Mapping

from treebuilder.annotations import TYPE_CHECKING, Literal
from treebuilder.errors import ConfigError, Place
from treebuilder.records import record

if TYPE_CHECKING:
    from treebuilder.trust.keys import PublicKey

Unsigned = Literal["refuse", "warn", "accept", "insecure"]
_MOST = 16


@record
class Trust:
    """Whose word counts for a repository: at least `threshold` of `keys`. `name` is the repository they speak of.

    Without keys, `unsigned` says what becomes of a repository that comes over a network; `insecure` is `accept` with
    a warning.
    """

    keys: tuple[PublicKey, ...] = ()
    threshold: int = 1
    name: str = ""
    unsigned: Unsigned = "refuse"


UNVERIFIED = Trust(unsigned="accept")


@record
class TrustSetting:
    """What stands under `trust:`. `keys` are PEM, or names of files with it. Not `given`: the general rules count."""

    given: bool = False
    keys: tuple[str, ...] = ()
    threshold: int = 1
    name: str = ""


def read_setting(value: object, where: Place) -> TrustSetting:
    """`value` is plain YAML. Raises ConfigError: what is not understood must not end in less trust than was meant."""
    if value is None:
        return TrustSetting()
    if isinstance(value, str) and value.lower() == "none":
        return TrustSetting(given=True)
    if not isinstance(value, Mapping):
        raise _wrong("none, or a map with keys", where)
    unknown = sorted(str(key) for key in value if key not in ("keys", "threshold", "name"))
    if unknown:
        raise _wrong(f"keys, threshold and name, and not {unknown[0]}", where)
    keys, threshold, name = value.get("keys"), value.get("threshold", 1), value.get("name", "")
    keys = [keys] if isinstance(keys, str) else keys
    if not isinstance(keys, (list, tuple)) or not 0 < len(keys) <= _MOST or any(type(key) is not str for key in keys):
        raise _wrong(f"with keys: 1 to {_MOST} files or PEM texts", where)
    if isinstance(threshold, str) and threshold.isascii() and threshold.isdigit():
        threshold = int(threshold[:4])
    if type(threshold) is not int or not 0 < threshold <= len(keys):
        raise _wrong(f"with a threshold from 1 to the number of keys, {len(keys)}", where)
    if not isinstance(name, str):
        raise _wrong("with the repository's own name as a text", where)
    return TrustSetting(True, tuple(keys), threshold, name)


def _wrong(said: str, where: Place) -> ConfigError:
    return ConfigError(
        f"trust: is {said}", where=where, reason="bad-trust",
        hint="trust: {keys: [/etc/treebuild/keys.d/team.pub]}, or trust: none",
    )  # fmt: skip
