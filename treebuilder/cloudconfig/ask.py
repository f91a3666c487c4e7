"""What is asked of the network: URLs and limits, without the client."""

from __future__ import annotations

from collections.abc import Mapping

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.errors import ConfigError
from treebuilder.records import field, record

if TYPE_CHECKING:
    from urllib.parse import SplitResult


@record
class Ask:
    """What is fetched, and for how long: `socket_s` for each wait, `total_s` for all of it (None: no end)."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "GET"
    limit_bytes: int = 16 << 20
    socket_s: float = 10.0
    total_s: float | None = 60.0
    proxied: bool = True


def is_url(text: str) -> bool:
    return text.lower().startswith(("http://", "https://"))


def shown(url: str) -> str:
    """A URL as messages have it: without a password."""
    head, slashes, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{head}{slashes}{host.rpartition('@')[2]}{slash}{path}"


def split(url: str) -> SplitResult:
    """The parts of an http or https URL. Raises ConfigError (reason "url")."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as err:
        raise ConfigError(f"{shown(url)} is no URL: {err}", reason="url") from err
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{shown(url)} is no http or https URL", reason="url")
    return parts
