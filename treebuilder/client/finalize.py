"""Finalizers: commands of packages that run in the root they were installed to, in a sandbox without a network."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

from treebuilder.client.api import AfterChange, Change, ChangeReport, FinalizerFailed, FinalizerWaits, Record
from treebuilder.errors import MissingProgram
from treebuilder.events import EventSink, LogLine
from treebuilder.model.package import Finalizer
from treebuilder.records import record, replace
from treebuilder.system.process import Cancel, require

_TIMEOUT_S = 600.0
_TAIL_LINES = 20
_LONGEST_LINE = 1 << 16


@record
class Environment:
    """What finalizers see beside PATH and HOME, and how long one may take. `epoch_s` 0 for none."""

    epoch_s: int = 0
    more: tuple[tuple[str, str], ...] = ()
    timeout_s: float = _TIMEOUT_S


def uninstalling(change: Change) -> Iterator[tuple[Record, Finalizer]]:
    """What is to run for packages that go: their `uninstall` commands, which run after the files are gone.

    A package that comes in another version, or again, is not uninstalled: its commands would take its data along.
    """
    stay = {item.package.id.pkgname for item in change.add}
    for found in change.remove:
        if found.finalizer is not None and found.finalizer.uninstall and found.package.id.pkgname not in stay:
            yield found, Finalizer(found.finalizer.shell, found.finalizer.uninstall)


def finalizers_of(change: Change) -> tuple[Finalizer, ...]:
    """All that is to run for a change, with whose it is; equal ones count once, at their first place."""
    found: dict[Finalizer, list[str]] = {}
    for gone, one in uninstalling(change):
        found.setdefault(one, []).append(gone.package.id.human)
    for item in change.add:
        if item.finalizer is not None and item.finalizer.install:
            one = Finalizer(item.finalizer.shell, item.finalizer.install)
            found.setdefault(one, []).append(item.package.id.human)
    return tuple(
        replace(one, whose=names[0] + (f" and {len(names) - 1} more" if names[1:] else ""))
        for one, names in found.items()
    )


def load_sandbox() -> None:
    """Loads what running takes, before a change that may bring another Python or another treebuild.

    Raises MissingProgram.
    """
    require("bwrap", "to run finalizers")
    for name in ("select", "subprocess", "treebuilder.container.sandbox"):
        import_module(name)


def run_finalizer(
    finalizer: Finalizer, root: Path, environment: Environment, events: EventSink, cancel: Cancel
) -> None:  # fmt: skip
    """Runs every command, each as a program of its own. Raises FinalizerFailed at the first that fails, Cancelled;
    FinalizerWaits where none can be started now, and one may be later."""
    from treebuilder.container import sandbox
    from treebuilder.container.sandbox import Sandbox
    from treebuilder.model.image import DEFAULT_PATH

    env = {"PATH": DEFAULT_PATH, "HOME": "/root"} | dict(environment.more)
    if environment.epoch_s:
        env["SOURCE_DATE_EPOCH"] = str(environment.epoch_s)
    made = [root / name for name in ("dev", "proc") if not os.path.lexists(root / name)]
    try:
        for command in finalizer.install:
            lines = _Lines(events)
            box = Sandbox(root, (*finalizer.shell, command), env, network=False)
            try:
                status = sandbox.run(box, log=lines.add, cancel=cancel, timeout_s=environment.timeout_s)
            except MissingProgram as err:
                raise FinalizerWaits(err.message, hint=err.hint) from err
            except OSError as err:
                if err.errno != errno.E2BIG:
                    what = f"the finalizer `{_first(command)}` of {_whose(finalizer)} in {root}"
                    raise FinalizerWaits(f"{what} cannot be started now: {err.strerror}") from err
                how = f"cannot be started: {err.strerror} ({len(os.fsencode(command))} bytes)"
            else:
                lines.end()
                if status == 0:
                    continue
                how = f"took longer than {environment.timeout_s:g} s" if status is None else f"ended with {status}"
            raise FinalizerFailed(
                f"the finalizer `{_first(command)}` of {_whose(finalizer)} in {root} {how}", tail=tuple(lines.tail),
                hint="the change is done, and the finalizer does not run again: run it, or reinstall its package",
            )  # fmt: skip
    finally:
        for folder in made:  # the sandbox mounts there, and makes what is missing
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def together(failures: Sequence[AfterChange], report: ChangeReport) -> AfterChange:
    """What a change came to, and all that failed after it (one at least), as one error."""
    found = tuple(one for failure in failures for one in failure.failures or (failure,))
    error = found[0]
    if len(found) > 1:
        lines = [line for one in found for line in (one.message, *(f"  {text}" for text in one.detail()))]
        error = FinalizerFailed(
            f"{len(found)} finalizers did not succeed", tail=tuple(lines),
            hint="the change is done, and what failed does not run again: run it, or reinstall its package",
        )  # fmt: skip
        error.failures = found
    error.report = report
    return error


def _whose(finalizer: Finalizer) -> str:
    return finalizer.whose or "an earlier change"


def _first(command: str) -> str:
    """The first line of a command, which may be empty."""
    return next(iter(command.strip().splitlines()), "")


class _Lines:
    """What a command writes, line by line, however it comes in pieces; the last ones are kept."""

    def __init__(self, events: EventSink) -> None:
        self._events = events
        self._rest = b""
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)

    def add(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            whole, self._rest = [*whole, self._rest], b""
        for line in whole:
            self._say(line)

    def end(self) -> None:
        if self._rest:
            self._say(self._rest)
        self._rest = b""

    def _say(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip("\r")
        self.tail.append(text)
        self._events.emit(LogLine("install finalizers", text))
