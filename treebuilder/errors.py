"""The error tree. Every failure a user can cause or meet is one of these; anything else is a bug.

TreebuildError                 exit 2, `reason` is stable and machine readable
├── ConfigError                exit 1  settings, flags that contradict each other
├── LockHeld                   exit 1  somebody else works here (pid, since)
├── SpecError                  a specfile, template or image spec is wrong (file:line)
├── Unsatisfiable              no set of packages answers the request (chain of reasons)
├── BuildFailed                a command in a container failed (node, command, exit code, log)
├── ToolFailed                 a program of the host failed (argv, exit code, tail)
├── MissingProgram             a program of the host is not there (and the package that brings it)
├── EngineUnavailable          no way to run containers (what each probe said)
├── TransportError             network; `temporary` ones may be retried
├── IntegrityError             bytes are not what their digest promises; never retried
├── NotReproducible            one build key, two results
├── UnsafeArchive              an archive that tries to leave its root
├── ConflictError              two packages own one path
├── NoSpace                    the disk is full
├── StateCorrupt               our own state cannot be read
├── UpdateRefused              an upgrade that the rules do not allow
└── Cancelled                  exit 130
"""

from __future__ import annotations

from collections.abc import Mapping

from treebuilder.records import record


@record
class Place:
    """Where in the user's files something is said. `line` counts from 1; 0 means the whole file."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


class TreebuildError(Exception):
    """Root of all expected failures: what failed, where, and what to do about it."""

    reason: str = "error"
    exit_code: int = 2

    def __init__(
        self, message: str, *, hint: str | None = None, where: Place | None = None, reason: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where
        if reason is not None:
            self.reason = reason

    def detail(self) -> tuple[str, ...]:
        """Further lines that belong to the message (a log's tail, a chain of reasons)."""
        return ()

    def document(self) -> Mapping[str, object]:
        """What was done all the same, as a document of it says that."""
        return {}


class ConfigError(TreebuildError):
    reason = "configuration"
    exit_code = 1


class LockHeld(TreebuildError):
    reason = "lock-held"
    exit_code = 1


class SpecError(TreebuildError):
    reason = "spec"


class Unsatisfiable(TreebuildError):
    """No solution. `chain` holds one sentence per reason, most general first."""

    reason = "unsatisfiable"

    def __init__(
        self,
        message: str,
        *,
        chain: tuple[str, ...] = (),
        hint: str | None = None,
        where: Place | None = None,
        reason: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint, where=where, reason=reason)
        self.chain = chain

    def detail(self) -> tuple[str, ...]:
        return self.chain


class BuildFailed(TreebuildError):
    """A command inside a container failed; `exit_status` is negative for a signal, None for a time limit."""

    reason = "step-failed"

    def __init__(
        self,
        message: str,
        *,
        command: str = "",
        exit_status: int | None = None,
        log: str = "",
        tail: tuple[str, ...] = (),
        hint: str | None = None,
        where: Place | None = None,
        reason: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint, where=where, reason=reason)
        self.command = command
        self.exit_status = exit_status
        self.log = log
        self.tail = tail

    def detail(self) -> tuple[str, ...]:
        return self.tail


class ToolFailed(TreebuildError):
    reason = "tool-failed"

    def __init__(
        self, message: str, *, exit_status: int | None = None, tail: tuple[str, ...] = (), hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.exit_status = exit_status
        self.tail = tail

    def detail(self) -> tuple[str, ...]:
        return self.tail


class MissingProgram(TreebuildError):
    reason = "missing-program"


class EngineUnavailable(TreebuildError):
    reason = "engine-unavailable"


class TransportError(TreebuildError):
    """`temporary` failures may pass if tried again; authentication and missing names never do.

    `retry_after_s` is how long the other side asks us to wait.
    """

    reason = "transport"

    def __init__(
        self, message: str, *, temporary: bool = False, status: int | None = None, hint: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s
        self.temporary = temporary
        self.status = status


class IntegrityError(TreebuildError):
    reason = "integrity"


class NotReproducible(TreebuildError):
    reason = "not-reproducible"


class UnsafeArchive(TreebuildError):
    reason = "unsafe-archive"


class ConflictError(TreebuildError):
    reason = "file-conflict"


class NoSpace(TreebuildError):
    reason = "no-space"


class StateCorrupt(TreebuildError):
    reason = "state-corrupt"


class UpdateRefused(TreebuildError):
    reason = "update-refused"


class Cancelled(TreebuildError):
    reason = "cancelled"
    exit_code = 130
