"""Runs a command in a root of its own through bubblewrap (docs/adr/0005).

Own mount, pid, ipc and uts namespaces, a short capability list, no new privileges, a seccomp filter, a minimal /dev,
a time limit. The whole container dies with us: bubblewrap is its pid 1 and follows its parent's death.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from treebuilder.container import seccomp
from treebuilder.errors import Cancelled
from treebuilder.records import field, record
from treebuilder.system import clock
from treebuilder.system.process import NO_INPUT, Cancel, kill_group, require, spawn, wait

HOSTNAME = "treebuild"
CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_SETUID", "CAP_SETGID", "CAP_SETFCAP",
    "CAP_SYS_CHROOT", "CAP_KILL",
)  # fmt: skip


@record
class Sandbox:
    """What a command sees. `binds` are (host path, path inside, writable); `root` becomes `/`.

    `env` is the whole environment. `devices` adds MKNOD, `mounts` SYS_ADMIN (bootstraps only, which mount for
    themselves). `step_timeout_s` counts anew from each marker the command prints (see `engine.driver`).
    """

    root: Path
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str = "/"
    binds: tuple[tuple[str, str, bool], ...] = ()
    network: bool = True
    devices: bool = False
    mounts: bool = False
    root_writable: bool = True
    extra: tuple[str, ...] = field(default=())


def words(sandbox: Sandbox, seccomp_fd: int | None) -> list[str]:
    """The bubblewrap command line, in the order in which it acts."""
    line = [require("bwrap", "to run containers"), "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    line += ["--hostname", HOSTNAME, "--die-with-parent", "--new-session"]
    if not sandbox.network:
        line.append("--unshare-net")
    line += ["--bind" if sandbox.root_writable else "--ro-bind", str(sandbox.root), "/"]
    line += ["--dev", "/dev", "--proc", "/proc"]
    for outside, inside, writable in sandbox.binds:
        line += ["--bind" if writable else "--ro-bind", outside, inside]
    line += ["--cap-drop", "ALL"]
    capabilities = list(CAPABILITIES)
    if sandbox.devices:
        capabilities.append("CAP_MKNOD")
    if sandbox.mounts:
        capabilities.append("CAP_SYS_ADMIN")
    for name in capabilities:
        line += ["--cap-add", name]
    if seccomp_fd is not None:
        line += ["--seccomp", str(seccomp_fd)]
    line += ["--chdir", sandbox.cwd, *sandbox.extra, "--clearenv"]
    for key, value in sorted(sandbox.env.items()):
        line += ["--setenv", key, value]
    return [*line, "--", *sandbox.argv]


def run(
    sandbox: Sandbox,
    *,
    log: Callable[[bytes], None],
    cancel: Cancel,
    timeout_s: float | None = None,
    idle_reset: Callable[[], float] | None = None,
    meanwhile: Callable[[], bool] = lambda: False,
    stdin: int = NO_INPUT,
) -> int | None:
    """Runs to the end. Returns the exit status (negative for a signal), None when the time limit passed.

    `log` gets what the command writes, chunk by chunk; `stdin` is a descriptor that it reads from. `idle_reset` tells
    when the current step began (monotonic seconds); the limit counts from there. `meanwhile` is called while there is
    nothing to read, until it says False.
    Raises Cancelled after everything inside has been killed.
    """
    program = None if sandbox.mounts else seccomp.program()
    with os.fdopen(os.memfd_create("seccomp"), "wb", buffering=0) as filter_file:
        fds: list[int] = []
        if program is not None:
            filter_file.write(program)
            filter_file.seek(0)
            fds.append(filter_file.fileno())
        read_end, write_end = os.pipe()
        with os.fdopen(read_end, "rb", buffering=0) as output:
            line = words(sandbox, fds[0] if fds else None)
            with os.fdopen(write_end, "wb") as pipe:
                process = spawn(line, bare_env=True, env={}, stdin=stdin, stdout=pipe, pass_fds=fds)
            try:
                timed_out = _pump(output.fileno(), log, cancel, timeout_s, idle_reset, meanwhile)
                if not timed_out and not cancel.is_set():
                    timed_out = wait(process, timeout_s, cancel)
            finally:
                if process.poll() is None:
                    kill_group(process)
                process.wait()
    if cancel.is_set():
        raise Cancelled("interrupted")
    return None if timed_out else process.returncode


def _pump(
    fd: int,
    log: Callable[[bytes], None],
    cancel: Cancel,
    timeout_s: float | None,
    idle_reset: Callable[[], float] | None,
    meanwhile: Callable[[], bool],
) -> bool:
    """Hands output over until its end; True when the time limit passed first."""
    import select

    began = clock.monotonic_s()
    poller = select.poll()
    poller.register(fd, select.POLLIN | select.POLLHUP)
    while True:
        if cancel.is_set():
            return False
        if timeout_s is not None:
            since = idle_reset() if idle_reset is not None else began
            if clock.monotonic_s() - since > timeout_s:
                return True
        if not poller.poll(0) and (meanwhile() or not poller.poll(100)):
            continue
        data = os.read(fd, 1 << 16)
        if not data:
            return False
        log(data)
