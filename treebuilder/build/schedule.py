"""Which tasks may run: those that wait for nothing any more. Each task and each need is looked at once."""

from __future__ import annotations

from collections.abc import Mapping

Task = tuple[str, str]  # ("node" | "artifact" | "ahead", node id)


class Schedule:
    """`waits` says of every task what it waits for; needs that are no tasks are met."""

    def __init__(self, waits: Mapping[Task, set[Task]]) -> None:
        self._after: dict[Task, list[Task]] = {}
        self._left: dict[Task, int] = {}
        for task, needs in waits.items():
            met = needs & waits.keys()
            self._left[task] = len(met)
            for need in met:
                self._after.setdefault(need, []).append(task)
        self._ready = [task for task, count in self._left.items() if not count]
        self.later = iter([id for (kind, id), count in self._left.items() if kind == "node" and count])

    def take(self) -> list[Task]:
        """The tasks that may run now and were not taken yet."""
        found, self._ready = self._ready, []
        return found

    @property
    def has_ready(self) -> bool:
        return bool(self._ready)

    def done(self, task: Task) -> None:
        """Lets go of what waited for this task alone."""
        for other in self._after.get(task, ()):
            self._left[other] -= 1
            if not self._left[other]:
                self._ready.append(other)

    def behind(self, task: Task) -> list[Task]:
        """Everything that waits for this task, at any distance."""
        seen: dict[Task, None] = {}
        todo = list(self._after.get(task, ()))
        while todo:
            other = todo.pop()
            if other not in seen:
                seen[other] = None
                todo += self._after.get(other, ())
        return list(seen)
