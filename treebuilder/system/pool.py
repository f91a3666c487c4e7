"""A few threads that do tasks and say which are done; `concurrent.futures` would load `logging` for every verb."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Pool(Generic[T]):
    """Threads are started as tasks come, at most `size`. Leaving the context waits for what runs."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._threads: list[threading.Thread] = []
        self._todo: SimpleQueue[tuple[T, Callable[[], object]] | None] = SimpleQueue()
        self._done: SimpleQueue[tuple[T, BaseException | None]] = SimpleQueue()
        self.running = 0

    def submit(self, tag: T, task: Callable[[], object]) -> None:
        """Queues a task; `tag` names it when it is done."""
        self.running += 1
        self._todo.put((tag, task))
        if len(self._threads) < min(self._size, self.running):
            thread = threading.Thread(target=self._work, name=f"pool-{len(self._threads)}")
            self._threads.append(thread)
            thread.start()

    @property
    def idle(self) -> bool:
        """Whether a thread has nothing to do."""
        return self.running < self._size

    def wait(self, timeout_s: float) -> tuple[T, BaseException | None] | None:
        """The next finished task and what it raised; None when none finished in time."""
        try:
            found = self._done.get(timeout=timeout_s)
        except Empty:
            return None
        self.running -= 1
        return found

    def _work(self) -> None:
        while (item := self._todo.get()) is not None:
            tag, task = item
            error: BaseException | None = None
            try:
                task()
            except BaseException as err:
                error = err
            self._done.put((tag, error))

    def __enter__(self) -> Pool[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Waits for all that was submitted and ends the threads; `wait` still tells what became of it."""
        for _ in self._threads:
            self._todo.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()
