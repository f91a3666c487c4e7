"""How luet talks: log lines on stdout; nothing but the result there where JSON or YAML is asked for."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.errors import BuildFailed, ConfigError, LockHeld, TreebuildError
from treebuilder.events import Event, EventSink, LogLine, Said, Started, Told, Warned
from treebuilder.ui import terminal

if TYPE_CHECKING:
    from treebuilder.client import ChangeReport

INFO, WARNING, ERROR, SUCCESS = " INFO  ", " WARNING  ", " ERROR    ", " INFO   SUCCESS "


class LuetSink:
    """Events as log lines, from a `level` on (luet's `logging.level`; no name of one is info). `fatal`: the first
    warning ends the run, as luet's `--fatal`, but for what luet has no warning for."""

    def __init__(self, *, quiet: bool, machine: bool, fatal: bool, debug: bool, level: str = "") -> None:
        self._quiet = quiet
        self._informs = not (quiet or machine or level in ("warning", "error", "fatal"))
        self._machine, self._fatal, self._debug = machine, fatal, debug or level == "debug"
        self._warns = level not in ("error", "fatal")
        self._lock = threading.Lock()

    def emit(self, event: Event) -> None:
        line = self._line(event)
        if line:
            with self._lock:
                terminal.say(line, sys.stderr if self._machine or self._quiet else sys.stdout)
        if self._fatal and isinstance(event, Warned) and not event.standing:
            raise TreebuildError(event.message, reason="fatal-warning")

    def _line(self, event: Event) -> str:
        match event:
            case Warned() if not self._warns:
                return ""
            case Warned(message, where, _):
                place = f"{where}: " if where is not None and where.file else ""
                return _headed(WARNING, f"{place}{message}")
            case _ if not self._informs:
                return ""
            case Started(_, text):
                return _headed(INFO, text)
            case LogLine(_, line) if self._debug:
                return _headed(INFO, terminal.printed(line))
            case Said(message):
                return _headed(INFO, message)
            case _:
                return ""


def _headed(head: str, text: str) -> str:
    """Each line with its level: what a stranger says in several lines is no other level's."""
    return terminal.harmless(f"{head}{text}", head)


def say(text: str, head: str = INFO) -> None:
    terminal.say(_headed(head, text))


def change(report: ChangeReport, nothing: str, events: EventSink) -> None:
    """What an operation came to, which a log is told too. `nothing` is said when there was nothing to do."""

    def done(text: str) -> None:
        events.emit(Told(text))
        say(text, SUCCESS)

    if report.state == "nothing":
        if nothing:
            say(nothing)
        return
    if report.state == "planned":
        for id in report.removed:
            say(f"Package {id} would be removed")
    for id in report.removed if report.state == "done" else ():
        done(f"Package {id} removed")
    words = {"planned": "would be installed", "downloaded": "downloaded", "done": "installed"}
    for id, _, _ in (*report.installed, *report.adopted):
        (done if report.state == "done" else say)(f"Package {id} {words[report.state]}")
    for path in report.diverted:
        say(f"Protected file kept, the new one is /{path}", WARNING)


def built(artifacts: Sequence[str], errors: Sequence[TreebuildError], *, machine: bool) -> int:
    """What a build came to, `artifacts` by path: each in a line, then what failed. Returns the exit code."""
    for path in artifacts if not machine else ():
        say(f"Artifact generated: {path}", SUCCESS)
    for error in errors:
        failed(error, machine=machine)
    if not errors:
        return 0
    terminal.say(f"{ERROR}Bailing out", sys.stderr if machine else sys.stdout)
    return 2


def validated(faults: Sequence[tuple[str, TreebuildError]]) -> int:
    """What is wrong with a tree, each with the package that it is about, if any. Returns the exit code."""
    for about, error in faults:
        failed(error, machine=False, about=f"{about}: " if about else "")
    if not faults:
        say("All good!")
    return 2 if faults else 0


def failed(error: TreebuildError, *, machine: bool, about: str = "", verb: str = "") -> int:
    """Says why, as luet's Fatal does, with `about` before it. Returns the exit code."""
    error_texts = _texts(error, verb)
    error_texts[0] = f"Error: {about}{error_texts[0]}"
    lines = [_headed(ERROR, text) for text in error_texts]
    terminal.say("\n".join(lines), sys.stderr if machine else sys.stdout)
    if isinstance(error, LockHeld):
        return 1
    if isinstance(error, ConfigError):
        # luet's own: a configuration that cannot be loaded, which has a place; not what a verb makes of its words
        return 1 if error.reason == "configuration" and error.where is not None else 2
    return error.exit_code


def _texts(error: TreebuildError, verb: str) -> list[str]:
    place = f"{error.where}: " if error.where is not None and error.where.file not in ("", "command line") else ""
    text = error.message
    about, colon, _ = text.partition(": ")
    if error.reason in ("unknown-package", "no-version") and colon and " requires " not in about:  # it was asked for
        text = f"{_not_found(about.partition(' ')[0], verb)}: {text}"
    if isinstance(error, LockHeld):
        text = f"another instance of the app is already running, exiting ({text})"
    return [
        f"{place}{text}",
        *_step(error),
        *map(terminal.printed, error.detail()),
        *((error.hint,) if error.hint else ()),
    ]


def _not_found(name: str, verb: str) -> str:
    """luet's words for it (luet.md §1.3, §1.4, §7.1)."""
    if verb == "build":
        return f"Candidate not found: No versions found for: {name}->=0"
    if "/" not in name:
        return f"Failed matching solutions against repository for {name} where are definitions coming from?!"
    return f"package '{name}' not found"


def _step(error: TreebuildError) -> list[str]:
    """Of a build, the command that failed and where all of its output is."""
    if not isinstance(error, BuildFailed):
        return []
    first = error.command.strip().partition("\n")[0]
    return [*([f"step: {first}"] if first else []), *([f"log: {error.log}"] if error.log else [])]
