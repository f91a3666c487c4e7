"""How luet talks: log lines on stdout; nothing but the result there where JSON or YAML is asked for."""

from __future__ import annotations

import sys
import threading

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.errors import ConfigError, LockHeld, TreebuildError
from treebuilder.events import Event, LogLine, Said, Started, Warned

if TYPE_CHECKING:
    from treebuilder.client import ChangeReport

INFO, WARNING, ERROR, SUCCESS = " INFO  ", " WARNING  ", " ERROR    ", " INFO   SUCCESS "


class LuetSink:
    """Events as log lines. `fatal`: the first warning ends the run, as luet's `--fatal`."""

    def __init__(self, *, quiet: bool, machine: bool, fatal: bool, debug: bool) -> None:
        self._quiet, self._machine, self._fatal, self._debug = quiet, machine, fatal, debug
        self._lock = threading.Lock()

    def emit(self, event: Event) -> None:
        line = self._line(event)
        if line:
            with self._lock:
                out = sys.stderr if self._machine or self._quiet else sys.stdout
                out.write(line + "\n")
                out.flush()
        if self._fatal and isinstance(event, Warned):
            raise TreebuildError(event.message, reason="fatal-warning")

    def _line(self, event: Event) -> str:
        match event:
            case Warned(message, where, _):
                place = f"{where}: " if where is not None and where.file else ""
                return f"{WARNING}{place}{message}"
            case _ if self._quiet or self._machine:
                return ""
            case Started(_, text):
                return f"{INFO}{text}"
            case LogLine(_, line) if self._debug:
                return f"{INFO}{line}"
            case Said(message):
                return f"{INFO}{message}"
            case _:
                return ""


def say(text: str, head: str = INFO) -> None:
    sys.stdout.write(f"{head}{text}\n")
    sys.stdout.flush()


def change(report: ChangeReport, nothing: str) -> None:
    """What an operation came to. `nothing` is said when there was nothing to do."""
    if report.state == "nothing":
        if nothing:
            say(nothing)
        return
    if report.state == "planned":
        for id in report.removed:
            say(f"Package {id} would be removed")
    for id in report.removed if report.state == "done" else ():
        say(f"Package {id} removed", SUCCESS)
    words = {"planned": "would be installed", "downloaded": "downloaded", "done": "installed"}
    for id, _, _ in (*report.installed, *report.adopted):
        say(f"Package {id} {words[report.state]}", SUCCESS if report.state == "done" else INFO)
    for path in report.diverted:
        say(f"Protected file kept, the new one is /{path}", WARNING)


def failed(error: TreebuildError, *, machine: bool) -> int:
    """Says why, as luet's Fatal does. Returns the exit code."""
    lines = [f"{ERROR}Error: {text}" if at == 0 else f"{ERROR}{text}" for at, text in enumerate(_texts(error))]
    out = sys.stderr if machine else sys.stdout
    out.write("\n".join(lines) + "\n")
    out.flush()
    if isinstance(error, LockHeld):
        return 1
    if isinstance(error, ConfigError):
        return 1 if error.reason == "configuration" else 2
    return error.exit_code


def _texts(error: TreebuildError) -> list[str]:
    place = f"{error.where}: " if error.where is not None and error.where.file not in ("", "command line") else ""
    text = error.message
    if error.reason in ("unknown-package", "no-version"):
        text = f"package '{text.partition(' ')[0].rstrip(':')}' not found: {text}"
    if isinstance(error, LockHeld):
        text = f"another instance of the app is already running, exiting ({text})"
    return [f"{place}{text}", *error.detail(), *((error.hint,) if error.hint else ())]
