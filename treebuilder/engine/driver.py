"""The program that runs a job's commands one by one inside the container, and the reader of what it prints.

Each command is its own `sh -c` (a Dockerfile RUN), so `cd` and variables do not carry over, and all share one
container. A marker line with a random word tells which command runs; only the exit status decides about success.
Errors go the way of the output, so that lines stay in order, and the umask is the same whoever calls.
"""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

from treebuilder.container.sandbox import HOSTNAME
from treebuilder.errors import BuildFailed
from treebuilder.events import EventSink, LogLine, Progressed
from treebuilder.model.image import DEFAULT_PATH
from treebuilder.system import clock

_TAIL_LINES = 25
_MAX_COMMAND = 131_000  # one argument of a program is at most 128 KiB

# $1: marker word, then the shell's words, "--", then the commands.
_SCRIPT = """exec 2>&1; umask 022
m=$1; shift
s=; while [ "$1" != -- ]; do s="$s '$1'"; shift; done; shift
n=0
for c do
 n=$((n+1)); echo "$m $n"
 eval "$s \\"\\$c\\"" </dev/null || exit $?
done"""


def argv(marker: str, shell: tuple[str, ...], commands: tuple[str, ...]) -> tuple[str, ...]:
    """The command line that runs all commands. Raises BuildFailed for one too long for the kernel."""
    for command in commands:
        if len(command.encode()) > _MAX_COMMAND:
            raise BuildFailed("a step is longer than 128 KiB", command=command[:80], hint="put it into a script file")
    return ("/bin/sh", "-c", _SCRIPT, "treebuild", marker, *shell, "--", *commands)


_STARS = b"***"


def new_marker() -> str:
    return f"::step-{os.urandom(8).hex()}"


def environment(job_env: tuple[tuple[str, str], ...], epoch_s: int, bound: dict[str, str]) -> dict[str, str]:
    """A command's whole environment: defaults, what is bound in from the host, then the image's own."""
    return {
        "PATH": DEFAULT_PATH,
        "HOME": "/root",
        "HOSTNAME": HOSTNAME,
        **bound,
        "SOURCE_DATE_EPOCH": str(epoch_s),
        **dict(job_env),
    }


class Output:
    """Splits a job's output into lines, writes the log, follows the markers.

    `hidden` are texts (each line of them) that stars stand for in all that comes out.
    """

    def __init__(
        self, task: str, marker: str, commands: tuple[str, ...], log: Path, events: EventSink,
        hidden: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        lines = {line.strip() for text in hidden for line in text.splitlines()}
        self._hidden = tuple(
            sorted((line.encode("utf-8", "surrogateescape") for line in lines if line), key=len, reverse=True)
        )
        self._task = task
        self._marker = f"{marker} ".encode()
        self._commands = commands
        self._events = events
        self._log = log.open("wb")
        self._rest = b""
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self.step = 0
        self.step_began = clock.monotonic_s()

    def __call__(self, data: bytes) -> None:
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > 1 << 16:  # a progress bar without line ends
            whole = self._shown(self._rest)
            cut = len(whole) - max(map(len, self._hidden), default=0)  # half a secret may stand at its end
            lines.append(whole[:cut])
            self._rest = whole[cut:]
        for line in lines:
            self._line(line)

    def _shown(self, raw: bytes) -> bytes:
        for text in self._hidden:
            raw = raw.replace(text, _STARS)
        return raw

    def _line(self, raw: bytes) -> None:
        if raw.startswith(self._marker) and raw[len(self._marker) :].isdigit():
            self.step = int(raw[len(self._marker) :])
            self.step_began = clock.monotonic_s()
            command = self.command
            self._log.write(b"+ " + command.encode() + b"\n")
            self._events.emit(Progressed(self._task, text=command.strip().splitlines()[0] if command.strip() else ""))
            return
        raw = self._shown(raw)
        text = raw.decode("utf-8", "replace").rstrip("\r")
        self._tail.append(text)
        self._log.write(raw + b"\n")
        self._events.emit(LogLine(self._task, text))

    @property
    def command(self) -> str:
        return self._commands[self.step - 1] if 0 < self.step <= len(self._commands) else ""

    @property
    def first(self) -> str:
        return next(iter(self._commands), "")

    @property
    def tail(self) -> tuple[str, ...]:
        return tuple(self._tail)

    def close(self) -> None:
        if self._rest:
            self._line(self._rest)
            self._rest = b""
        self._log.close()


def failure(name: str, status: int | None, output: Output, log: Path, limit_s: float | None) -> BuildFailed:
    """The error of a job whose command ended with `status` (None: the time limit passed)."""
    reason = "step-failed"
    if status is None:
        said, reason = f"took longer than {limit_s or 0:g} s", "step-timeout"
    elif status < 0 or status > 128:
        said = f"was killed by signal {-status if status < 0 else status - 128}"
    else:
        said = f"failed with exit code {status}"
    if output.step:
        message, hint = f"{name}: step {output.step} {said}", None
    else:
        message, hint = f"{name}: step 1 did not begin: the shell {said}", "is there a /bin/sh in the base image?"
    return BuildFailed(
        message, command=output.command or output.first, exit_status=status, log=str(log), tail=output.tail,
        reason=reason, hint=hint,
    )  # fmt: skip
