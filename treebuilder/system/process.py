"""The only place that starts programs: lists, no shell, a short environment, its own process group.

Cancelling a run kills the whole group. The tail of what a program wrote is kept for the error.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from treebuilder.annotations import IO, TYPE_CHECKING
from treebuilder.errors import Cancelled, MissingProgram, ToolFailed
from treebuilder.records import record
from treebuilder.system import clock

if TYPE_CHECKING:
    import subprocess

_ALLOWED_ENV = (
    "HOME", "LANG", "TERM", "TMPDIR", "SOURCE_DATE_EPOCH", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "DOCKER_HOST",
)  # fmt: skip
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TAIL_LINES = 30
_LEFT_S = 2.0
_GLANCE_S = 0.05
NO_INPUT = _NULL = -3  # of subprocess, which is loaded when a program is started
_PIPE, _MERGED = -1, -2

PACKAGES = {
    "apt-get": "apt", "blkid": "util-linux", "bwrap": "bubblewrap", "dpkg-deb": "dpkg", "grub-install": "grub2-common",
    "grub-mkimage": "grub-common", "mcopy": "mtools", "mkfs.ext4": "e2fsprogs", "mkfs.vfat": "dosfstools",
    "mksquashfs": "squashfs-tools", "mmd": "mtools", "mmdebstrap": "mmdebstrap",
    "newgidmap": "uidmap", "newuidmap": "uidmap", "qemu-system-x86_64": "qemu-system-x86", "sfdisk": "fdisk",
    "unshare": "util-linux", "wipefs": "util-linux",
    "unsquashfs": "squashfs-tools", "xorriso": "xorriso",
}  # fmt: skip


@record
class Completed:
    """`status` is the exit code, negative for a signal. `tail` holds the last lines of what was not captured."""

    status: int
    stdout: bytes
    tail: tuple[str, ...]


class Cancel:
    """A flag that stops running programs. Safe to set from any thread or a signal handler: there is no lock in it."""

    def __init__(self) -> None:
        self._is_set = False
        self.on_wait: Callable[[str], None] | None = None  # is told why somebody waits

    def set(self) -> None:
        self._is_set = True

    def is_set(self) -> bool:
        return self._is_set

    def check(self) -> None:
        if self._is_set:
            raise Cancelled("interrupted")

    def pause(self, seconds: float, why: str = "") -> None:
        """Waits so long; `why` is for people who should know. Raises Cancelled soon after it is set."""
        if why and self.on_wait is not None:
            self.on_wait(why)
        until = clock.monotonic_s() + seconds
        while not self._is_set and (left := until - clock.monotonic_s()) > 0:
            clock.sleep(min(left, _GLANCE_S))
        self.check()


def search_path() -> str:
    """The user's PATH with the system's folders behind it: root's tools live in sbin."""
    own = os.environ.get("PATH", "")
    return f"{own}:{_PATH}" if own else _PATH


def which(program: str) -> str | None:
    """The path of a program, None when no folder of the PATH has it."""
    for folder in search_path().split(":"):
        path = f"{folder or '.'}/{program}"
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def require(program: str, why: str) -> str:
    """The program's path. Raises MissingProgram with the Debian package that brings it."""
    found = which(program)
    if found is None:
        package = PACKAGES.get(program, program)
        raise MissingProgram(f"{program} is needed {why}, and is not installed", hint=f"apt-get install {package}")
    return found


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of host programs: an allow-list, PATH, and what the caller adds."""
    env = {name: os.environ[name] for name in _ALLOWED_ENV if name in os.environ}
    env["PATH"] = search_path()
    env.setdefault("LANG", "C.UTF-8")
    env.update(extra or {})
    return env


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Ends a program and everything it started. It leads its own group (start_new_session)."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()


def spawn(
    argv: Sequence[str | Path],
    *,
    cwd: Path | str | None = None,
    env: Mapping[str, str] | None = None,
    bare_env: bool = False,
    stdin: int | IO[bytes] = _NULL,
    stdout: int | IO[bytes] = _NULL,
    stderr: int | IO[bytes] = _MERGED,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Starts a program for callers that talk to it while it runs (VMs, servers, containers)."""
    import subprocess

    words = [os.fspath(word) for word in argv]
    full = dict(env or {}) if bare_env else environment(env)
    try:
        return subprocess.Popen(
            words, cwd=cwd, env=full, stdin=stdin, stdout=stdout, stderr=stderr,
            pass_fds=pass_fds, start_new_session=True,
        )  # fmt: skip
    except FileNotFoundError as err:
        if err.filename is not None and os.fspath(err.filename) != words[0]:
            raise
        program = Path(words[0]).name
        raise MissingProgram(
            f"{program} is not installed", hint=f"apt-get install {PACKAGES.get(program, program)}"
        ) from err


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | str | None = None,
    env: Mapping[str, str] | None = None,
    input: bytes | None = None,
    timeout_s: float | None = None,
    check: bool = True,
    on_line: Callable[[str], None] | None = None,
    cancel: Cancel | None = None,
) -> Completed:
    """Runs a program to its end.

    Without `on_line`, stdout is returned whole and stderr kept as the tail. With it, stdout and stderr are merged
    and handed over line by line. Raises ToolFailed for an exit code other than 0 (unless `check` is False) and for
    a passed time limit, Cancelled when `cancel` is set meanwhile, MissingProgram.
    """
    process = spawn(
        argv, cwd=cwd, env=env, stdin=_PIPE if input is not None else _NULL,
        stdout=_PIPE, stderr=_MERGED if on_line is not None else _PIPE,
    )  # fmt: skip
    talk = _Conversation(process, input, on_line)
    name = Path(os.fspath(argv[0])).name
    try:
        timed_out = wait(process, timeout_s, cancel)
    finally:
        if process.poll() is None:
            kill_group(process)
            process.wait()
        talk.close()
    if cancel is not None:
        cancel.check()
    done = talk.completed()
    if timed_out:
        raise ToolFailed(f"{name} took longer than {timeout_s:g} s and was ended", tail=done.tail)
    if check and done.status != 0:
        how = f"exit code {done.status}" if done.status > 0 else f"signal {-done.status}"
        raise ToolFailed(f"{name} failed with {how}", exit_status=done.status, tail=done.tail)
    return done


class _Conversation:
    """Threads that feed a program and read what it says, so that neither side waits for a full pipe."""

    def __init__(
        self, process: subprocess.Popen[bytes], input: bytes | None, on_line: Callable[[str], None] | None
    ) -> None:
        import threading  # by who starts programs, and not by every start of our own

        self._process = process
        self._on_line = on_line
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._chunks: list[bytes] = []
        assert process.stdout is not None
        read = self._read_lines if on_line is not None else self._read_all
        self._threads = [threading.Thread(target=read, args=(process.stdout,), daemon=True)]
        if process.stderr is not None:
            self._threads.append(threading.Thread(target=self._read_lines, args=(process.stderr,), daemon=True))
        if process.stdin is not None:
            feed = threading.Thread(target=self._feed, args=(process.stdin, input or b""), daemon=True)
            self._threads.append(feed)
        for thread in self._threads:
            thread.start()

    def _read_lines(self, pipe: IO[bytes]) -> None:
        for raw in pipe:
            line = raw.decode("utf-8", "replace").rstrip("\r\n")
            self._tail.append(line)
            if self._on_line is not None:
                self._on_line(line)

    def _read_all(self, pipe: IO[bytes]) -> None:
        self._chunks.append(pipe.read())

    def _feed(self, pipe: IO[bytes], data: bytes) -> None:
        try:
            pipe.write(data)
            pipe.close()
        except BrokenPipeError:
            return

    def close(self) -> None:
        """Ends the talk. Something that the program left behind may hold its pipes open: it is ended with it."""
        if not self._quiet():
            kill_group(self._process)
            if not self._quiet():  # it left the group too
                return  # closing a pipe that is being read would wait for it for ever
        for pipe in (self._process.stdout, self._process.stderr, self._process.stdin):
            if pipe is not None:
                pipe.close()

    def _quiet(self) -> bool:
        """Whether nobody writes any more, after a while of waiting for it."""
        until = clock.monotonic_s() + _LEFT_S
        for thread in self._threads:
            thread.join(max(0.0, until - clock.monotonic_s()))
        return not any(thread.is_alive() for thread in self._threads)

    def completed(self) -> Completed:
        return Completed(self._process.returncode, b"".join(self._chunks), tuple(self._tail))


def wait(process: subprocess.Popen[bytes], timeout_s: float | None, cancel: Cancel | None) -> bool:
    """Waits for the end, the time limit (then True) or the cancel; the caller kills what still runs."""
    import subprocess

    waited = 0.0
    if cancel is None:
        try:
            process.wait(timeout_s)
            return False
        except subprocess.TimeoutExpired:
            return True
    while True:
        try:
            process.wait(0.05 if timeout_s is None else min(0.05, max(0.0, timeout_s - waited)))
            return False
        except subprocess.TimeoutExpired:
            waited += 0.05
            if cancel.is_set():
                return False
            if timeout_s is not None and waited >= timeout_s:
                return True
