"""What a container gets from its host so that the network works, and which is in no layer and no key.

Private copies of resolv.conf and hosts are bound over the image's: a step may write them, as it may in Docker, and
nobody sees it. The CA bundle is bound under /dev, where no image has files, and named by the usual variables; proxy
settings are variables.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from treebuilder.oci.view import StackView
from treebuilder.records import record

_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem")
CA_INSIDE = "/dev/treebuild-ca.crt"
MOUNT_POINTS = ("dev", "proc", "sys")


@record
class HostFiles:
    """`binds` are (host path, path inside, writable); `env` the variables that go with them."""

    binds: tuple[tuple[str, str, bool], ...]
    env: dict[str, str]
    mount_points: tuple[str, ...]


@record
class Connection:
    """What the network needs: a CA bundle of the host (empty: none), and variables."""

    bundle: str
    env: dict[str, str]


def connection(*, network: bool) -> Connection:
    """Proxies and certificates for a container that is on the network or not."""
    if not network:
        return Connection("", {})
    env = {name: os.environ[name] for name in _PROXIES if name in os.environ}
    bundle = next((b for b in (os.environ.get("SSL_CERT_FILE", ""), *_BUNDLES) if b and os.path.isfile(b)), "")
    if bundle:
        for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO"):
            env[name] = CA_INSIDE
    return Connection(os.path.realpath(bundle) if bundle else "", env)


# It knows the container's own name, and is the same on every machine.
_HOSTS = b"127.0.0.1\tlocalhost treebuild\n::1\tlocalhost ip6-localhost ip6-loopback\n"


def _resolv_conf() -> bytes:
    try:
        return Path("/etc/resolv.conf").read_bytes()
    except OSError:
        return b""


def host_files(view: StackView, private: Callable[[str, bytes], str], *, network: bool) -> HostFiles:
    """What to bind into a container on `view`; `private` makes a file of a name and content, and says where.

    `mount_points` are files that must exist for that.
    """
    binds: list[tuple[str, str, bool]] = []
    points: list[str] = []
    net = connection(network=network)
    if net.bundle:
        binds.append((net.bundle, CA_INSIDE, False))
    sources = [("etc/hosts", _HOSTS)]
    if network:
        sources.append(("etc/resolv.conf", _resolv_conf()))
    for inside, data in sources:
        real = view.resolve(inside)
        binds.append((private(os.path.basename(inside), data), f"/{real}", True))
        points.append(real)
    return HostFiles(tuple(binds), net.env, tuple(points))
