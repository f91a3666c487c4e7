"""The sink that every verb has: it keeps the warnings for the result, and loads what shows events at the first one."""

from __future__ import annotations

from _thread import allocate_lock  # threading itself costs every start more than half a millisecond
from collections.abc import Callable, Iterable, Mapping

from treebuilder.annotations import Any
from treebuilder.errors import Place
from treebuilder.events import Event, EventSink, Warned
from treebuilder.records import asdict, replace


class KeepingSink:
    """Passes events on to what `make` makes, and keeps the warnings for the result."""

    def __init__(self, make: Callable[[], EventSink]) -> None:
        self._make = make
        self._shown: EventSink | None = None
        self._making = allocate_lock()
        self._warned: list[Warned] = []

    def emit(self, event: Event) -> None:
        if isinstance(event, Warned):
            from treebuilder.ui.failures import shortened

            event = replace(event, message=shortened(event.message))
            self._warned.append(event)
        self._made().emit(event)

    def _made(self) -> EventSink:
        with self._making:  # events come from any thread
            if self._shown is None:
                self._shown = self._make()
            return self._shown

    def warnings(self) -> list[dict[str, Any]]:
        """The warnings so far, as a JSON document has them."""
        return [asdict(event) for event in self._warned]

    def again(self, warnings: Iterable[Mapping[str, Any]]) -> None:
        """Says what a result that is shown again was warned of."""
        for found in warnings:
            where = found["where"] and Place(found["where"]["file"], found["where"]["line"])
            self.emit(Warned(found["message"], where, found["hint"]))

    def close(self) -> None:
        close = getattr(self._shown, "close", None)
        if close is not None:
            close()
