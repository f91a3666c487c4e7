"""Names of images as Docker reads them (`distribution/reference`)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from treebuilder.errors import SpecError
from treebuilder.model.digest import Digest
from treebuilder.model.novalue import novalue_hint
from treebuilder.records import record

DOCKER_HUB = "docker.io"
_HOST = re.compile(r"[A-Za-z0-9.-]+(:\d+)?\Z|\[[0-9A-Fa-f:]+\](:\d+)?\Z")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*\Z")
_TAG = re.compile(r"\w[\w.-]{0,127}\Z", re.ASCII)


@record
class Reference:
    """`host/repository:tag@digest`; `tag` is "latest" where neither tag nor digest is said."""

    host: str
    repository: str
    tag: str
    digest: Digest | None

    def __str__(self) -> str:
        return f"{self.host}/{self.repository}" + (f"@{self.digest}" if self.digest else f":{self.tag}")


def parse_reference(text: str) -> Reference:
    """Reads a reference as Docker does. Raises SpecError (reason "image")."""
    name, at, digest_text = text.partition("@")
    try:
        digest = Digest.parse(digest_text) if at else None
    except ValueError as err:
        raise SpecError(f"the image {text!r} has a digest that is no sha256", reason="image") from err
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        host, path = first, rest
    else:
        host, path = DOCKER_HUB, name
    path, colon, tag = path.partition(":")
    if host in (DOCKER_HUB, "index.docker.io"):
        host, path = DOCKER_HUB, path if "/" in path else f"library/{path}"
    port = re.search(r":(\d+)\Z", host)
    is_host = _HOST.match(host) and (port is None or (len(port[1]) < 6 and 0 < int(port[1]) < 1 << 16))
    if not is_host or not _REPOSITORY.match(path) or (colon and not _TAG.match(tag)):
        raise SpecError(f"{text!r} is no name of an image", hint=novalue_hint(text), reason="image")
    return Reference(host, path, tag or "latest", digest)


def is_loopback(host: str) -> bool:
    """Whether a host (with or without a port) is this machine itself, by its name alone."""
    name = host.rpartition(":")[0] if re.search(r":\d+\Z", host) else host
    if name == "localhost":
        return True
    import ipaddress

    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def speaks_plain(host: str, insecure: Iterable[str]) -> bool:
    """Whether plain HTTP is spoken with a host: with this machine, and where somebody said so, a name for all ports."""
    said = {item.removeprefix("http://").rstrip("/") for item in insecure}
    return is_loopback(host) or host in said or re.sub(r":\d+\Z", "", host) in said
