"""What a run says, also in a file: luet's `logging.path`. Lines are added; what cannot be written ends no run."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from treebuilder.errors import TreebuildError
from treebuilder.events import Event, EventSink, Finished, LogLine, Said, Started, Told, Warned
from treebuilder.system import clock
from treebuilder.system.files import disk_errors
from treebuilder.ui.terminal import one_line

LEVELS = ("debug", "info", "warning", "error", "fatal")


class LogFile:
    """A file of lines: time, level and text, or JSON objects of them."""

    def __init__(self, path: Path, level: str = "info", *, as_json: bool = False) -> None:
        """Makes the folder. Raises TreebuildError, NoSpace."""
        self._least = LEVELS.index(level) if level in LEVELS else 1
        self._json = as_json
        self._lock = threading.Lock()
        with disk_errors(f"opening the log {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._out = path.open("a", encoding="utf-8", errors="backslashreplace")

    def write(self, level: str, text: str) -> None:
        if LEVELS.index(level) < self._least:
            return
        at = clock.utc(clock.now_epoch_s(), "%Y-%m-%dT%H:%M:%SZ")
        if self._json:
            line = json.dumps({"time": at, "level": level.upper(), "message": text})
        else:
            line = "\t".join((at, level.upper(), one_line(text)))
        with self._lock:
            try:
                self._out.write(line + "\n")
                self._out.flush()
            except OSError:
                return  # a full disk: what is being done matters more than what is said of it

    def failed(self, error: TreebuildError) -> None:
        place = f"{error.where}: " if error.where is not None and error.where.file else ""
        self.write("error", f"{place}{error.message}")


class LoggedSink:
    """Hands events on, and writes them down."""

    def __init__(self, sink: EventSink, log: LogFile) -> None:
        self._sink, self._log = sink, log

    def emit(self, event: Event) -> None:
        match event:
            case Started(_, text) | Said(text) | Told(text):
                self._log.write("info", text)
            case Warned(message, where, _):
                self._log.write("warning", f"{where}: {message}" if where is not None and where.file else message)
            case Finished(task, "failed", text, _):
                self._log.write("error", f"{task}: {text}")
            case LogLine(task, line):
                self._log.write("debug", f"{task}: {line}")
            case _:
                pass
        self._sink.emit(event)
