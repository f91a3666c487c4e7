"""Finalizers: commands of packages that run in the root they were installed to, in a sandbox without a network."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from pathlib import Path

from treebuilder.client.api import FinalizerFailed
from treebuilder.container import sandbox
from treebuilder.container.sandbox import Sandbox
from treebuilder.events import EventSink, LogLine
from treebuilder.model.image import DEFAULT_PATH
from treebuilder.model.package import Finalizer
from treebuilder.system.process import Cancel

_TIMEOUT_S = 600.0
_TAIL_LINES = 20


def distinct(finalizers: Iterable[Finalizer | None]) -> tuple[Finalizer, ...]:
    """Those that have something to run on installation; equal ones count once, at their first place."""
    return tuple(dict.fromkeys(
        Finalizer(found.shell, found.install) for found in finalizers if found is not None and found.install
    ))  # fmt: skip


def run_finalizer(finalizer: Finalizer, root: Path, epoch_s: int, events: EventSink, cancel: Cancel) -> None:
    """Runs every command, each as a program of its own. Raises FinalizerFailed at the first that fails, Cancelled."""
    env = {"PATH": DEFAULT_PATH, "HOME": "/root"} | ({"SOURCE_DATE_EPOCH": str(epoch_s)} if epoch_s else {})
    made = [root / name for name in ("dev", "proc") if not (root / name).exists()]
    try:
        for command in finalizer.install:
            tail: deque[str] = deque(maxlen=_TAIL_LINES)

            def log(data: bytes, tail: deque[str] = tail) -> None:
                for line in data.decode("utf-8", "replace").splitlines():
                    tail.append(line)
                    events.emit(LogLine("install finalizers", line))

            box = Sandbox(root, (*finalizer.shell, command), env, network=False)
            status = sandbox.run(box, log=log, cancel=cancel, timeout_s=_TIMEOUT_S)
            if status != 0:
                how = f"took longer than {_TIMEOUT_S:g} s" if status is None else f"ended with {status}"
                first = command.strip().splitlines()[0]
                raise FinalizerFailed(f"the finalizer `{first}` {how}", tail=tuple(tail))
    finally:
        for folder in made:  # the sandbox mounts there, and makes what is missing
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
