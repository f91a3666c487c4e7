"""What the library says while it works. It never prints: a sink in `ui/` decides how this looks.

Tasks are named by a `task` id that is unique within a run ("build app/x-1.0", "iso squashfs").
"""

from __future__ import annotations

from treebuilder.annotations import Protocol
from treebuilder.errors import Place
from treebuilder.records import record


@record
class Event:
    """Base of all events."""


@record
class Started(Event):
    """A task began. `total` is in `unit`s ("bytes", "packages"), None when it is not known."""

    task: str
    text: str
    total: int | None = None
    unit: str = ""


@record
class Progressed(Event):
    """`done` of the task's total, or a new text (the step that runs now). `total` is a new one, as it becomes known."""

    task: str
    done: int | None = None
    text: str = ""
    total: int | None = None


@record
class Finished(Event):
    """A task ended. `state` is "ok", "cached", "failed" or "skipped"."""

    task: str
    state: str = "ok"
    text: str = ""
    seconds: float = 0.0


@record
class LogLine(Event):
    """One line that a program or a container wrote."""

    task: str
    line: str


@record
class Warned(Event):
    """`standing`: it is so each time and by itself, and nothing went wrong."""

    message: str
    where: Place | None = None
    hint: str | None = None
    standing: bool = False


@record
class Said(Event):
    """A plain sentence for people, of no meaning to programs."""

    message: str


@record
class Told(Event):
    """What an operation came to, for a log: people are told by the verb itself."""

    message: str


class EventSink(Protocol):
    """Takes events from any thread; must not raise and must not block for long."""

    def emit(self, event: Event) -> None: ...


class Silent:
    """The sink that drops everything."""

    def emit(self, event: Event) -> None:
        return


class Recorder:
    """Keeps every event, for tests and for reports."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)
