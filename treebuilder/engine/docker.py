"""The Docker engine: a daemon runs the commands, and what they changed comes back into our store.

Docker is a place where jobs run, not where results live: containers and temporary images never outlast their job,
base images stay for the next run as long as it stands on them, and what a killed run left is removed by a later one.
"""

from __future__ import annotations

import shlex
import threading
from pathlib import Path

from treebuilder.container.sandbox import CAPABILITIES, HOSTNAME
from treebuilder.engine import docker_base, driver, host, user
from treebuilder.engine.api import Job, Outcome, Probe, RunOptions
from treebuilder.engine.docker_daemon import Daemon, Wish
from treebuilder.engine.docker_upper import copy_upper, keep_hostname, unpack_saved
from treebuilder.engine.native import log_path
from treebuilder.errors import BuildFailed, EngineUnavailable, TreebuildError
from treebuilder.events import EventSink, Said
from treebuilder.oci.seal import seal
from treebuilder.oci.store import Store
from treebuilder.oci.view import StackView
from treebuilder.system import clock
from treebuilder.system.process import Cancel

_POLL_S = 0.05


class DockerEngine:
    """Runs jobs through the Docker API. `url` is empty for DOCKER_HOST or the default socket.

    `read_upper` False takes results by commit and save even where the upper folder could be read.
    """

    name = "docker"

    def __init__(self, url: str = "", *, read_upper: bool = True) -> None:
        self.url = url
        self._read_upper = read_upper
        self._lock = threading.Lock()
        self._loading: dict[str, threading.Lock] = {}
        self._known: Daemon | None = None
        self._used: set[str] = set()

    def probe(self) -> Probe:
        try:
            daemon = self._daemon()
        except (TreebuildError, ImportError) as err:
            return Probe(self.name, False, str(err))
        how = "overlay2, results read in place" if daemon.server.plain_upper else "results read through images"
        return Probe(self.name, True, f"docker {daemon.server.version} ({how})")

    def _daemon(self) -> Daemon:
        with self._lock:
            if self._known is None:
                self._known = Daemon(self.url)
                self._known.sweep()
            return self._known

    def run(self, job: Job, store: Store, options: RunOptions, events: EventSink, cancel: Cancel) -> Outcome:
        daemon = self._daemon()
        view = StackView(tuple(str(store.tree_path(digest)) for digest in job.layers))
        log = log_path(options, job.name)
        marker = driver.new_marker()
        identity = user.identity(job.user, view, job.name)
        with store.scratch() as work:
            base = docker_base.base_image(job.layers, store, work)
            container = self._create(daemon, base, _wish(job, marker, base.tag, identity, daemon))
            output = driver.Output(job.name, marker, job.commands, log, events, job.hidden)
            try:
                try:
                    status = _follow(daemon, container, output, cancel, job.step_timeout_s)
                finally:
                    output.close()
                if status != 0:
                    error = driver.failure(job.name, status, output, log, job.step_timeout_s)
                    if options.keep_failed is not None:
                        error = _keep(error, daemon, container, job, events)
                    raise error
                upper = work / "upper"
                upper.mkdir(mode=0o755)
                self._result(daemon, container, len(base.parts), work, upper)
            finally:
                daemon.remove(container)
            layer = seal(str(upper), view, job.epoch_s)
            store.add_tree(upper, layer.content, layer.listing)
        return Outcome(layer, log)

    def close(self) -> None:
        """Forgets the base images that no job of this run stood on, if there was any job."""
        daemon, self._known = self._known, None
        if daemon is None:
            return
        try:
            if self._used:
                for tag in sorted(daemon.bases().keys() - self._used):
                    daemon.remove_image(tag)
        except EngineUnavailable:
            pass  # the daemon went away first
        finally:
            daemon.close()

    # bases -------------------------------------------------------------------------------------------------------
    def _create(self, daemon: Daemon, base: docker_base.BaseImage, wish: Wish) -> str:
        """A container on the base, which is loaded unless it is there. Another run may remove it meanwhile: again."""
        for _ in range(3):
            self._load(daemon, base)
            container = daemon.create(wish)
            if container is not None:
                return container
        raise EngineUnavailable(f"docker loads the image {base.tag} and then has it not")

    def _load(self, daemon: Daemon, base: docker_base.BaseImage) -> None:
        with self._lock:
            lock = self._loading.setdefault(base.tag, threading.Lock())
            self._used.add(base.tag)
        with lock:
            present = daemon.bases()
            if base.tag in present:
                return
            have = max((_common(base.diff_ids, other) for other in present.values()), default=0)
            try:
                daemon.load(docker_base.archive(base, have))
            except TreebuildError:
                if not have:
                    raise
                daemon.load(docker_base.archive(base, 0))  # a daemon that wants every layer in the archive

    # results -----------------------------------------------------------------------------------------------------
    def _result(self, daemon: Daemon, container: str, base_layers: int, work: Path, upper: Path) -> None:
        source, hostname = daemon.places(container) if self._read_upper else (None, None)
        if source is not None:
            copy_upper(source, upper)
            if hostname is not None:
                keep_hostname(hostname, upper, f"{HOSTNAME}\n")
            return
        image = f"treebuild-result:{container[:32]}"
        daemon.commit(container, image, temporary=True)
        try:
            unpack_saved(daemon.save(image), base_layers, work, upper)
        finally:
            daemon.remove_image(image)


def _common(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    count = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        count += 1
    return count


def _wish(job: Job, marker: str, image: str, identity: user.Identity | None, daemon: Daemon) -> Wish:
    net = host.connection(network=job.network)
    binds: tuple[tuple[str, str], ...] = ()
    bound = dict(net.env)
    if daemon.server.local and net.bundle:
        binds = ((net.bundle, host.CA_INSIDE),)
    else:
        bound = {key: value for key, value in bound.items() if value != host.CA_INSIDE}
    return Wish(
        image, driver.argv(marker, job.shell, job.commands),
        driver.environment(job.env, job.epoch_s, {**bound, **user.environment(identity)}), job.cwd,
        f"{identity.uid}:{identity.gid}" if identity is not None else "0:0",
        identity.groups if identity is not None else (), job.network, binds, HOSTNAME,
        tuple(name.removeprefix("CAP_") for name in (*CAPABILITIES, "CAP_MKNOD")),
    )  # fmt: skip


def _follow(daemon: Daemon, container: str, output: driver.Output, cancel: Cancel, limit_s: float | None) -> int | None:
    """Starts a container and reads it to its end. The exit status; None when a step took too long.

    Raises Cancelled. The caller removes the container, which kills what still runs.
    """
    stream = daemon.attach(container)
    output.step_began = clock.monotonic_s()
    refused = daemon.start(container)
    if refused:
        output(refused.encode() + b"\n")
        return 127
    failed: list[Exception] = []

    def read() -> None:
        try:
            for data in stream:
                output(data)
        except Exception as err:  # handed over to the thread that waits
            failed.append(err)

    reader = threading.Thread(target=read, name=f"docker {container[:12]}", daemon=True)
    reader.start()
    try:
        while reader.is_alive():
            reader.join(_POLL_S)
            if limit_s is not None and clock.monotonic_s() - output.step_began > limit_s:
                return None
            cancel.check()
    finally:
        if reader.is_alive():
            daemon.remove(container)
            reader.join(10)
    if failed:
        raise EngineUnavailable(f"docker stopped talking to us: {failed[0]}") from failed[0]
    return daemon.wait(container)


def _keep(error: BuildFailed, daemon: Daemon, container: str, job: Job, events: EventSink) -> BuildFailed:
    """Makes an image of what a failed job left, and says how to enter it."""
    image = f"treebuild-failed:{container[:12]}"
    daemon.commit(container, image, temporary=False)
    enter = shlex.join(["docker", "run", "-it", "--rm", "--network", "host", "-w", job.cwd, "--entrypoint", "/bin/sh"])
    words = f"{enter} {image}"
    events.emit(Said(f"the failed root is kept; enter it with: {words}"))
    return BuildFailed(
        error.message, command=error.command, exit_status=error.exit_status, log=error.log, tail=error.tail,
        reason=error.reason, hint=f"enter the failed root with: {words}",
    )  # fmt: skip
