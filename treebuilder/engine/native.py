"""The embedded engine: an overlay and bubblewrap, no daemon. A trivial step costs about 15 ms.

As root it works directly; an ordinary user's process has been started again as root of a user namespace with a range
of ids (`container.namespace`), and then only device nodes are impossible.
"""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

from treebuilder.container import namespace, overlay, sandbox
from treebuilder.container.sandbox import Sandbox
from treebuilder.engine import driver, host, user
from treebuilder.engine.api import Job, Outcome, Probe, RunOptions
from treebuilder.errors import BuildFailed, TreebuildError
from treebuilder.events import EventSink, Said
from treebuilder.oci.seal import seal
from treebuilder.oci.store import Store
from treebuilder.oci.view import StackView
from treebuilder.system import clock
from treebuilder.system.process import Cancel, which


class NativeEngine:
    """Runs jobs over overlay mounts in this process's private mount namespace."""

    name = "native"

    def probe(self) -> Probe:
        if which("bwrap") is None:
            return Probe(self.name, False, "bwrap is not installed (fix: apt-get install bubblewrap)")
        if not namespace.is_root():  # asked by `doctor`; whoever builds has been started again
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
        lowers = [str(store.tree_path(digest)) for digest in job.layers]
        view = StackView(tuple(lowers))
        identity = user.identity(job.user, view, job.name)
        log = log_path(options, job.name)
        marker = driver.new_marker()
        with store.scratch() as work:
            upper, merged = work / "upper", work / "root"
            for folder in (upper, work / "work", merged):
                folder.mkdir(mode=0o755)
            files = host.host_files(view, work, network=job.network)
            init = _mount_points(work / "init", files.mount_points)
            box = Sandbox(
                merged, driver.argv(marker, (*user.prefix(identity), *job.shell), job.commands),
                driver.environment(job.env, job.epoch_s, {**files.env, **user.environment(identity)}), job.cwd,
                _binds(files), job.network,
                devices=not namespace.in_user_namespace(),
            )  # fmt: skip
            output = driver.Output(job.name, marker, job.commands, log, events)
            unprivileged = namespace.in_user_namespace()
            try:
                with overlay.mounted([str(init), *lowers], upper, work / "work", merged, unprivileged=unprivileged):
                    status = sandbox.run(
                        box, log=output, cancel=cancel, timeout_s=job.step_timeout_s,
                        idle_reset=lambda: output.step_began,
                    )  # fmt: skip
            finally:
                output.close()
            if status != 0:
                error = driver.failure(job.name, status, output, log, job.step_timeout_s)
                if unprivileged and any("not permitted" in line for line in error.tail):
                    error.hint = "without root there are no device nodes and no foreign mounts: build this as root"
                if options.keep_failed is not None:
                    error = keep(error, job, work, init, lowers, options.keep_failed, events)
                raise error
            layer = seal(str(upper), view, job.epoch_s)
            store.add_tree(upper, layer.content)
        return Outcome(layer, log)

    def close(self) -> None:
        return


def _binds(files: host.HostFiles) -> tuple[tuple[str, str, bool], ...]:
    return (("/sys", "/sys", False), *files.binds)


def _mount_points(folder: Path, files: tuple[str, ...]) -> Path:
    """The bottommost layer of a run: empty folders and files to mount on, which no result contains."""
    for name in (*host.MOUNT_POINTS, "luetbuild"):
        (folder / name).mkdir(parents=True, mode=0o755)
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def log_path(options: RunOptions, name: str) -> Path:
    """A log file of its own for a job, named for people."""
    options.log_folder.mkdir(parents=True, exist_ok=True)
    plain = "".join(c if c.isalnum() or c in "-._+" else "-" for c in name)[:120]
    return options.log_folder / f"{plain}-{clock.now_ns():x}.log"


def keep(
    error: BuildFailed, job: Job, work: Path, init: Path, lowers: list[str], folder: Path, events: EventSink
) -> BuildFailed:
    """Moves what a failed job left to `folder`, with a script `enter` that opens a shell in it."""
    place = folder / work.name
    try:
        place.mkdir(parents=True, exist_ok=True)
        shutil.move(str(work / "upper"), place / "upper")
        shutil.move(str(init), place / "init")
        (place / "work").mkdir()
        (place / "root").mkdir()
        enter = place / "enter"
        enter.write_text(_enter_script(job, place, lowers), encoding="utf-8")
        enter.chmod(0o755)
    except OSError as err:
        raise TreebuildError(f"cannot keep the failed root in {place}: {err}") from error
    events.emit(Said(f"the failed root is kept; enter it with: {shlex.quote(str(enter))}"))
    return BuildFailed(
        error.message, command=error.command, exit_status=error.exit_status, log=error.log, tail=error.tail,
        reason=error.reason, hint=f"enter the failed root with: {shlex.quote(str(enter))}",
    )  # fmt: skip


def _enter_script(job: Job, place: Path, lowers: list[str]) -> str:
    stack = ":".join(reversed(overlay.distinct([str(place / "init"), *lowers])))
    env = " ".join(shlex.quote(f"{k}={v}") for k, v in driver.environment(job.env, job.epoch_s, {}).items())
    options = f"lowerdir={stack},upperdir={place}/upper,workdir={place}/work,index=off,metacopy=off"
    user = ""
    if namespace.in_user_namespace():
        options, user = f"{options},userxattr", "--user --map-root-user --map-auto "
    return f"""#!/bin/sh
# Opens a shell in the root of a step that failed; what you change stays in {place}/upper.
chroot=$(PATH="$PATH:/usr/sbin:/sbin" command -v chroot)
exec unshare {user}--mount --pid --fork --kill-child sh -ec '
mount -t overlay overlay -o "$1" "$2/root"
mount -t proc proc "$2/root/proc"; mount --rbind /dev "$2/root/dev"
cd "$2/root"; exec env -i {env} "$3" . /bin/sh -c "cd {job.cwd} && exec /bin/sh -i"
' sh {shlex.quote(options)} {shlex.quote(str(place))} "$chroot"
"""
