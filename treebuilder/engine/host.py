"""What a container gets from its host so that the network works, and which is in no layer and no key.

resolv.conf and hosts are bound over the image's; the CA bundle is bound under /dev, where no image has files, and
named by the usual variables; proxy settings are variables.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from treebuilder.oci.view import StackView

_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem")
CA_INSIDE = "/dev/treebuild-ca.crt"
MOUNT_POINTS = ("dev", "proc", "sys")


@dataclass(frozen=True, slots=True)
class HostFiles:
    """`binds` are (host path, path inside, writable False); `env` the variables that go with them."""

    binds: tuple[tuple[str, str, bool], ...]
    env: dict[str, str]
    mount_points: tuple[str, ...]


def write_hosts(folder: Path) -> Path:
    """A hosts file that knows the container's own name, so that it is the same on every machine."""
    path = folder / "hosts"
    path.write_text("127.0.0.1\tlocalhost treebuild\n::1\tlocalhost ip6-localhost ip6-loopback\n", encoding="ascii")
    return path


def host_files(view: StackView, hosts: Path, *, network: bool) -> HostFiles:
    """What to bind into a container on `view`. `mount_points` are files that must exist for that."""
    binds: list[tuple[str, str, bool]] = []
    points: list[str] = []
    env: dict[str, str] = {}
    sources = [("etc/hosts", str(hosts))]
    if network:
        sources.append(("etc/resolv.conf", "/etc/resolv.conf"))
        env = {name: os.environ[name] for name in _PROXIES if name in os.environ}
        bundle = next((b for b in (os.environ.get("SSL_CERT_FILE", ""), *_BUNDLES) if b and os.path.isfile(b)), "")
        if bundle:
            binds.append((os.path.realpath(bundle), CA_INSIDE, False))
            for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO"):
                env[name] = CA_INSIDE
    for inside, outside in sources:
        if os.path.exists(outside):
            real = view.resolve(inside)
            binds.append((os.path.realpath(outside), f"/{real}", False))
            points.append(real)
    return HostFiles(tuple(binds), env, tuple(points))
