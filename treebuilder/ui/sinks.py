"""Event sinks: plain lines, a live last line on a terminal, JSON lines for programs."""

from __future__ import annotations

import json
import os
import sys
import threading

from treebuilder.annotations import TextIO
from treebuilder.events import Event, Finished, LogLine, Progressed, Said, Started, Warned
from treebuilder.records import asdict
from treebuilder.system import clock
from treebuilder.ui.tables import size
from treebuilder.ui.terminal import harmless, one_line, printed, say

_TICK_S = 0.1


class PlainSink:
    """One line per beginning and end of a task; logs only when asked (`live_output`)."""

    def __init__(self, stream: TextIO, *, live_output: bool, quiet: bool = False) -> None:
        self._stream = stream
        self._live_output = live_output
        self._quiet = quiet
        self._lock = threading.Lock()

    def emit(self, event: Event) -> None:
        line = self._line(event)
        if line:
            with self._lock:
                say(line, self._stream)

    def _line(self, event: Event) -> str:
        """What is written of an event. Lines after the first are indented: none looks like another event."""
        return harmless(self._text(event), "     ")

    def _text(self, event: Event) -> str:
        match event:
            case Warned(message, where, hint):
                place = f"{where}: " if where is not None and where.file else ""
                return f"warning: {place}{message}" + (f" ({hint})" if hint else "")
            case _ if self._quiet:
                return ""
            case Started(_, text):
                return f"-> {text}"
            case Progressed(task, _, text) if text and self._live_output:
                return f"   {task}: {text}"
            case Finished(task, state, text, seconds):
                took = f" ({seconds:.1f} s)" if seconds >= 0.1 else ""
                return f"   {task}: {state}{took}" + (f": {text}" if state == "failed" and text else "")
            case LogLine(task, line) if self._live_output:
                return f"   {task} | {printed(line)}"
            case Said(message):
                return message
            case _:
                return ""


class _Task:
    """What a line says of a task that runs."""

    def __init__(self, began_s: float, total: int, unit: str) -> None:
        self._began_s, self._total, self._unit = began_s, total, unit
        self._done, self._text = 0, ""

    def take(self, event: Progressed) -> None:
        self._text = event.text or self._text
        self._total = event.total or self._total
        self._done = event.done if event.done is not None else self._done

    def shown(self, task: str, now_s: float) -> str:
        parts = [self._text] if self._text else []
        if self._done and self._unit == "bytes":
            parts.append(size(self._done) + (f" of {size(self._total)}" if self._total else ""))
        elif self._done and self._total:
            parts.append(f"{self._done} of {self._total} {self._unit}".rstrip())
        return one_line(f"{task} {now_s - self._began_s:.0f}s" + (f" ({', '.join(parts)})" if parts else ""))


class LiveSink(PlainSink):
    """On a terminal: finished tasks scroll by, the last line shows what runs now and for how long."""

    def __init__(self, stream: TextIO, *, live_output: bool, quiet: bool = False) -> None:
        super().__init__(stream, live_output=live_output, quiet=quiet)
        self._running: dict[str, _Task] = {}
        self._drawn = 0.0

    def emit(self, event: Event) -> None:
        with self._lock:
            if isinstance(event, Started):
                self._running[event.task] = _Task(clock.monotonic_s(), event.total or 0, event.unit)
            elif isinstance(event, Progressed) and event.task in self._running:
                self._running[event.task].take(event)
            elif isinstance(event, Finished):
                self._running.pop(event.task, None)
            line = "" if isinstance(event, Started) else self._line(event)
            now = clock.monotonic_s()
            if line:
                self._stream.write(f"\r\x1b[K{line}\n")
            if line or now - self._drawn > _TICK_S:
                self._draw(now)
            self._stream.flush()

    def _draw(self, now: float) -> None:
        self._drawn = now
        parts = [found.shown(task, now) for task, found in sorted(self._running.items())]
        import shutil  # live progress only: it loads every kind of archive

        width = shutil.get_terminal_size().columns - 1
        self._stream.write("\r\x1b[K" + " · ".join(parts)[:width])

    def close(self) -> None:
        self._stream.write("\r\x1b[K")
        self._stream.flush()


class JsonSink:
    """One JSON object a line on stderr: `{"event": "Started", …}`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def emit(self, event: Event) -> None:
        text = json.dumps({"event": type(event).__name__, **asdict(event)}, sort_keys=True)
        with self._lock:
            say(text, self._stream)


def make(kind: str, *, live_output: bool, quiet: bool) -> PlainSink | JsonSink:
    """The sink for stderr: "auto", "plain", "live" or "json"."""
    if kind == "json":
        return JsonSink(sys.stderr)
    live = kind == "live" or (kind == "auto" and sys.stderr.isatty() and os.environ.get("TERM") != "dumb")
    return (LiveSink if live else PlainSink)(sys.stderr, live_output=live_output, quiet=quiet)
