"""Several repositories are waited for at once; what is said of them comes in their order, as if one by one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

from treebuilder.annotations import Protocol, TypeVar
from treebuilder.errors import TreebuildError
from treebuilder.events import Event, EventSink, Warned
from treebuilder.system.process import Cancel

_AT_ONCE = 8


class Repository(Protocol):
    """Somewhere to ask: in a folder of this machine ("disk"), or elsewhere."""

    @property
    def type(self) -> str: ...


R = TypeVar("R", bound=Repository)
T = TypeVar("T")


class _Held:
    """What is said of one repository: warnings wait until it is its turn, progress does not."""

    def __init__(self, events: EventSink) -> None:
        self._events = events
        self._lock = threading.Lock()
        self._held: list[Event] | None = []

    def emit(self, event: Event) -> None:
        with self._lock:
            if self._held is not None and isinstance(event, Warned):
                self._held.append(event)
                return
        self._events.emit(event)

    def release(self) -> None:
        with self._lock:
            held, self._held = self._held or [], None
        for event in held:
            self._events.emit(event)


def are_waited_for(sources: Sequence[Repository]) -> bool:
    """Whether several are asked at once. Folders alone are read one after another: there is nothing to wait for."""
    return sum(source.type != "disk" for source in sources) > 1


def ask(
    sources: Sequence[R], one: Callable[[R, EventSink], T], events: EventSink, cancel: Cancel
) -> list[T | TreebuildError]:
    """What became of each, in their order: what `one` returned for it, or its error. Raises Cancelled."""
    sinks = [_Held(events) for _ in sources]

    def result(at: int) -> T | TreebuildError:
        try:
            return one(sources[at], sinks[at])
        except TreebuildError as err:
            return err

    def told(count: int) -> None:
        sinks[count - 1].release()

    if are_waited_for(sources):
        from treebuilder.system.pool import in_parallel

        found = in_parallel(range(len(sources)), result, _AT_ONCE, cancel, told)
    else:
        found = []
        for at in range(len(sources)):
            found.append(result(at))
            told(at + 1)
    cancel.check()
    return found


def succeeded(found: Iterable[tuple[str, T | TreebuildError]], events: EventSink) -> list[T]:
    """All results, by name of repository. Raises the first failure, when the others have been warned of."""
    results: list[T] = []
    failure: TreebuildError | None = None
    for name, result in found:
        if not isinstance(result, TreebuildError):
            results.append(result)
        elif failure is None:
            failure = result
        else:
            events.emit(Warned(f"{name}: {result.message}", result.where, hint=result.hint))
    if failure is not None:
        raise failure
    return results
