"""Daemons for tests: each is started in a folder of its own and ended by its process id. Nothing is installed.

What `scripts/setup test` installs is promised everywhere: without it a test fails and says so. What no command can
bring, root or a kernel that lets users make namespaces, skips a test on a developer's machine and fails it in CI.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

_PRIVATELY = """
import os, sys
from treebuilder.container import namespace
namespace.enter_private_mounts()
os.execvp(sys.argv[1], sys.argv[1:])
"""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def installed(condition: bool, package: str) -> None:
    """Fails the test unless `condition`: the project's own setup brings what tests start."""
    if not condition:
        pytest.fail(f"{package} is not installed (`scripts/setup test` installs what tests need)")


def need(condition: bool, why: str) -> None:
    """Skips the test unless `condition`, which nothing that we install can change; fails it where CI=true promises it.

    The one place that skips: whoever is not root, or works in a chroot, still runs all the rest, and CI never skips.
    """
    if condition:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI lacks something: {why}")
    pytest.skip(why)  # no setup makes a user root, or a kernel allow namespaces; where CI=true it failed above


def program(name: str, package: str) -> str:
    """The path of a program, or the end of this test."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_PATH}")
    installed(found is not None, f"{name} (package {package})")
    assert found is not None
    return found


def privately(script: str, *words: str) -> list[str]:
    """A command line for a shell with mounts of its own; `words` are its $0, $1 and on.

    Not `unshare --mount`: in a chroot, whose root is no mount point, that is refused.
    """
    return [sys.executable, "-c", _PRIVATELY, "sh", "-c", script, *words]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(argv: Sequence[str], log: Path, ready: Callable[[], bool], *, limit_s: float = 60) -> Iterator[int]:
    """Runs a server until the block ends; yields its process id once `ready` says so."""
    with log.open("wb") as out:
        server = subprocess.Popen([*argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    try:
        end = time.monotonic() + limit_s
        while not ready():
            if server.poll() is not None or time.monotonic() > end:
                pytest.fail(f"{argv[0]} does not start:\n{log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.05)
        yield server.pid
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


@contextmanager
def docker_daemon() -> Iterator[str]:
    """A private dockerd without a bridge; yields its URL. Needs root."""
    daemon = program("dockerd", "docker.io")
    need(os.geteuid() == 0, "dockerd needs root")
    folder = Path(tempfile.mkdtemp(prefix="treebuild-dockerd-"))
    address = folder / "docker.sock"

    def ready() -> bool:
        if not address.exists():
            return False
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(address))
                probe.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return b" 200 " in probe.recv(64)
            except OSError:
                return False

    argv = [
        daemon, "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "-H", f"unix://{address}",
        "-p", f"{folder}/pid", "--iptables=false", "--bridge=none",
    ]  # fmt: skip
    try:
        with running(argv, folder / "log", ready):
            yield f"unix://{address}"
    finally:
        subprocess.run(["umount", "-R", "-l", f"{folder}/data"], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def registry(*, delete: bool = False) -> Iterator[str]:
    """An empty registry on loopback, without TLS; yields `127.0.0.1:PORT`. `delete`: it deletes what it is told to."""
    server = program("docker-registry", "docker-registry")
    folder = Path(tempfile.mkdtemp(prefix="treebuild-registry-"))
    address = f"127.0.0.1:{free_port()}"
    config = folder / "config.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: warn}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder}/data}}, delete: {{enabled: {str(delete).lower()}}}}}\n"
        f"http: {{addr: '{address}'}}\n"
    )
    try:
        with running([server, "serve", str(config)], folder / "log", lambda: answers(f"http://{address}/v2/")):
            yield address
    finally:
        shutil.rmtree(folder, ignore_errors=True)
