"""Health checks: programs that say whether a version works, run in the order of their names after each boot.

Each is called with the word `check`, has a time limit, and says by its exit code 0 that all is well. A program that
cannot be started has not said so. All are run, so that one look tells everything that is wrong.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from treebuilder.annotations import Any
from treebuilder.errors import MissingProgram, ToolFailed
from treebuilder.events import EventSink, Finished, LogLine, Started, Warned
from treebuilder.records import record
from treebuilder.system import clock
from treebuilder.system.files import write_atomic
from treebuilder.system.process import Cancel, run

TIME_LIMIT_S = 120.0
SCHEMA = "treebuild.device-health/1"
_MAX_LINE = 500


@record
class Checked:
    """What one check said. `status` is None when it took too long or could not be started; `output` its last lines."""

    name: str
    good: bool
    status: int | None
    seconds: float
    output: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name, "good": self.good, "status": self.status, "seconds": round(self.seconds, 1),
            "output": list(self.output),
        }  # fmt: skip


def find(folders: Iterable[Path], events: EventSink) -> tuple[Path, ...]:
    """Executable files, by name; of equal names those of earlier folders first.

    A folder that cannot be read has none: a partition that is damaged says nothing about the version.
    """
    found = []
    for position, folder in enumerate(folders):
        try:
            for path in folder.iterdir() if folder.is_dir() else ():
                if path.is_file() and os.access(path, os.X_OK) and not path.name.startswith("."):
                    found.append((path.name, position, path))
        except OSError as err:
            events.emit(Warned(f"{folder} cannot be read, so its checks do not count: {err.strerror}"))
    return tuple(path for _, _, path in sorted(found))


def check(programs: Iterable[Path], time_limit_s: float, events: EventSink, cancel: Cancel) -> tuple[Checked, ...]:
    """Runs all of them, one after the other. Raises Cancelled."""
    return tuple(_one(program, time_limit_s, events, cancel) for program in programs)


def _one(program: Path, time_limit_s: float, events: EventSink, cancel: Cancel) -> Checked:
    task = f"health {program.name}"
    lines: list[str] = []

    def heard(line: str) -> None:
        lines.append(line[:_MAX_LINE])
        del lines[:-40]
        events.emit(LogLine(task, line))

    began = clock.monotonic_s()
    events.emit(Started(task, f"checking {program.name}"))
    status: int | None = None
    try:
        status = run(
            [program, "check"], timeout_s=time_limit_s, check=False, on_line=heard, cancel=cancel, cwd="/"
        ).status
    except (ToolFailed, MissingProgram) as err:
        heard(err.message)
    except OSError as err:
        heard(f"it cannot be started: {err.strerror}")
    seconds = clock.monotonic_s() - began
    events.emit(Finished(task, "ok" if status == 0 else "failed", seconds=seconds))
    return Checked(program.name, status == 0, status, seconds, tuple(lines))


def keep(folder: Path, results: tuple[Checked, ...], boot_id: str) -> None:
    """Writes what the last checks said beside the journal, for whoever looks after a fall-back."""
    value = {"schema": SCHEMA, "at": clock.now_epoch_s(), "boot": boot_id, "checks": [r.to_json() for r in results]}
    write_atomic(folder / "health.json", (json.dumps(value, indent=1) + "\n").encode())


def passed(folder: Path, boot_id: str) -> bool:
    """The checks were run in this boot, and all said that all is well; False too where that cannot be read."""
    try:
        value = json.loads((folder / "health.json").read_bytes())
        return bool(value["boot"] == boot_id and all(each["good"] is True for each in value["checks"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
