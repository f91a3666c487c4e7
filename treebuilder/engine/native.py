"""The embedded engine: an overlay and bubblewrap, no daemon. A trivial step costs about 15 ms.

As root it works directly; an ordinary user's process has been started again as root of a user namespace with a range
of ids (`container.namespace`), and then only device nodes are impossible.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from treebuilder.container import namespace, overlay, sandbox, syscalls
from treebuilder.container.sandbox import Sandbox
from treebuilder.engine import driver, host, user
from treebuilder.engine.api import Job, Outcome, Probe, RunOptions
from treebuilder.engine.workplace import Workplace
from treebuilder.events import EventSink
from treebuilder.model.digest import Digest
from treebuilder.oci.seal import seal
from treebuilder.oci.store import Store
from treebuilder.oci.view import StackView
from treebuilder.system import clock
from treebuilder.system.files import remove_tree
from treebuilder.system.pool import Pool
from treebuilder.system.process import Cancel, which


class NativeEngine:
    """Runs jobs over overlay mounts in this process's private mount namespace."""

    name = "native"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._own = ExitStack()
        self._cleaning = Pool[str](1)
        self._used: deque[Workplace] = deque()
        self._free: deque[Workplace] = deque()
        self._leaving: dict[str, threading.Event] = {}
        self._folder: Path | None = None
        self._sys = ""
        self._inits: dict[tuple[str, ...], str] = {}

    def probe(self) -> Probe:
        if which("bwrap") is None:
            return Probe(self.name, False, "bwrap is not installed (fix: apt-get install bubblewrap)")
        if os.geteuid() != 0:  # asked by `doctor`; whoever builds has been started again
            missing = namespace.why_not_unprivileged()
            return Probe(self.name, not missing, missing or "usable without root, in a user namespace")
        try:
            supported = "\toverlay\n" in Path("/proc/filesystems").read_text(encoding="ascii")
        except OSError:
            supported = False
        if not supported:
            return Probe(self.name, False, "the kernel has no overlayfs (fix: modprobe overlay)")
        return Probe(self.name, True, f"overlayfs and {which('bwrap')}")

    def run(self, job: Job, store: Store, options: RunOptions, events: EventSink, cancel: Cancel) -> Outcome:
        namespace.enter_private_mounts()
        lowers = [store.tree_folder(digest) for digest in job.layers]
        view = StackView(tuple(lowers))
        identity = user.identity(job.user, view, job.name)
        log = log_path(options, job.name)
        marker = driver.new_marker()
        unprivileged = namespace.in_user_namespace()
        with ExitStack() as used:
            place = self._place(store)
            used.callback(remove_tree, place.folder)
            files = host.host_files(view, place.private, network=job.network)
            init = self._init(store, files.mount_points)
            box = Sandbox(
                place.root, driver.argv(marker, (*user.prefix(identity), *job.shell), job.commands),
                driver.environment(job.env, job.epoch_s, {**files.env, **user.environment(identity)}), job.cwd,
                (("/sys" if unprivileged else self._sysfs(store), "/sys", False), *files.binds), job.network,
                devices=not unprivileged,
            )  # fmt: skip
            output = driver.Output(job.name, marker, job.commands, log, events, job.hidden)
            mount = used.enter_context(ExitStack())
            stack = [init, *lowers]
            self._wait_for(job.layers)
            mount.enter_context(overlay.mounted(stack, place.upper, place.work, place.root, unprivileged=unprivileged))
            try:
                status = sandbox.run(
                    box,
                    log=output,
                    cancel=cancel,
                    timeout_s=job.step_timeout_s,
                    idle_reset=lambda: output.step_began,
                    meanwhile=lambda: self._tidy() or options.meanwhile(),
                )
            finally:
                output.close()
            if status != 0:
                error = driver.failure(job.name, status, output, log, job.step_timeout_s)
                if unprivileged and any("not permitted" in line for line in error.tail):
                    error.hint = "without root there are no device nodes and no foreign mounts: build this as root"
                if options.keep_failed is not None:
                    from treebuilder.engine.kept import keep

                    mount.close()
                    error = keep(error, job, place.folder, init, lowers, options.keep_failed, events)
                raise error
            # Nothing runs in the overlay any more, so its upper folder is complete while it is still mounted; the
            # kernel takes 1 to 2 ms to let it go, and nobody has to wait for that.
            layer = seal(str(place.upper), view, job.epoch_s)
            store.add_tree(place.upper, layer.content, layer.listing)
            self._later(layer.content, mount.pop_all().close, place)
            used.pop_all()
        return Outcome(layer, log)

    def _place(self, store: Store) -> Workplace:
        """A place for a job: one that is free, or a new one, which is gone when the engine is closed."""
        try:
            return self._free.popleft()
        except IndexError:
            with self._lock:
                return Workplace(self._own.enter_context(store.scratch()))

    def _later(self, layer: Digest, unmount: Callable[[], None], place: Workplace) -> None:
        """Cleans up after a job: the mount on a thread of its own, for its layer is still the top of it; then files."""
        done = threading.Event()

        def task() -> None:
            try:
                unmount()
                self._used.append(place)
            finally:
                self._leaving.pop(layer.hex, None)
                done.set()

        with self._lock:
            self._leaving[layer.hex] = done
            self._cleaning.submit(layer.hex, task)

    def _tidy(self) -> bool:
        """Makes the place of one job ready for another, if there is any to tidy."""
        try:
            place = self._used.popleft()
        except IndexError:
            return False
        place.tidy()
        self._free.append(place)
        return True

    def _wait_for(self, layers: tuple[Digest, ...]) -> None:
        """The kernel warns of a layer that is the top of one mount and below another."""
        for layer in layers:
            leaving = self._leaving.get(layer.hex)
            if leaving is not None:
                leaving.wait()

    def _init(self, store: Store, files: tuple[str, ...]) -> str:
        """The bottommost layer of a run: empty folders and files to mount on, which no result contains."""
        with self._lock:
            known = self._inits.get(files)
            if known is None:
                known = f"{self._own_folder(store)}/init{len(self._inits)}"
                _mount_points(known, files)
                self._inits[files] = known
            return known

    def _own_folder(self, store: Store) -> Path:
        if self._folder is None:
            self._folder = self._own.enter_context(store.scratch())
        return self._folder

    def _sysfs(self, store: Store) -> str:
        """The kernel's /sys without what the host has mounted in it: binding that costs 1 ms a step."""
        with self._lock:
            if not self._sys:
                place = self._own_folder(store) / "sys"
                place.mkdir()
                syscalls.mount("sysfs", str(place), "sysfs", syscalls.MS_RDONLY, "")
                self._own.callback(syscalls.unmount, str(place))
                self._sys = str(place)
            return self._sys

    def close(self) -> None:
        """Ends what is still being cleaned up. Raises what went wrong with it."""
        self._cleaning.close()
        self._used.clear()
        self._free.clear()
        self._own.close()
        while (done := self._cleaning.wait(0)) is not None:
            if done[1] is not None:
                raise done[1]
        self._folder, self._sys = None, ""
        self._inits.clear()


def _mount_points(folder: str, files: tuple[str, ...]) -> None:
    for name in (*host.MOUNT_POINTS, "luetbuild"):
        os.makedirs(f"{folder}/{name}", mode=0o755)
    for name in files:
        os.makedirs(os.path.dirname(f"{folder}/{name}"), exist_ok=True)
        Path(folder, name).touch()


def log_path(options: RunOptions, name: str) -> Path:
    """A log file of its own for a job, named for people."""
    os.makedirs(options.log_folder, exist_ok=True)
    plain = "".join(c if c.isalnum() or c in "-._+" else "-" for c in name)[:120]
    return options.log_folder / f"{plain}-{clock.now_ns():x}.log"
