"""A few threads that do tasks and say which are done; `concurrent.futures` would load `logging` for every verb.

Tasks that take no longer than a container needs to start are best done by a thread that waits for one (`help`): two
threads of Python that do small things at once mostly wait for each other.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection
from queue import Empty, SimpleQueue
from types import TracebackType

from treebuilder.annotations import Generic, TypeVar
from treebuilder.system.process import Cancel

T = TypeVar("T")
R = TypeVar("R")
_LEAVE_S = 2.0


class Pool(Generic[T]):
    """Threads are started as tasks come, at most `size`. Leaving the context waits for what runs.

    One thread submits and waits; any thread may `help`.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._threads: list[threading.Thread] = []
        self._todo: SimpleQueue[tuple[T, Callable[[], object]] | None] = SimpleQueue()
        self._small: deque[tuple[T, Callable[[], object]]] = deque()
        self._done: SimpleQueue[tuple[T, BaseException | None, bool]] = SimpleQueue()
        self._large = 0
        self._waiting = 0

    @property
    def running(self) -> int:
        """How many tasks are not told of yet."""
        return self._large + self._waiting

    @property
    def idle(self) -> bool:
        """Whether a thread has nothing to do."""
        return self._large < self._size

    def submit(self, tag: T, task: Callable[[], object]) -> None:
        """Queues a task for a thread of the pool; `tag` names it when it is done."""
        self._large += 1
        self._todo.put((tag, task))
        if len(self._threads) < min(self._size, self._large):
            thread = threading.Thread(target=self._work, name=f"pool-{len(self._threads)}", daemon=True)
            thread.start()
            self._threads.append(thread)  # after it has begun: an interrupt in between leaves nothing to join

    def submit_small(self, tag: T, task: Callable[[], object]) -> None:
        """Queues a task for whoever has a moment, which is the waiting thread if nobody else has."""
        self._waiting += 1
        self._small.append((tag, task))

    def help(self) -> bool:
        """Does one small task now, if there is any."""
        try:
            tag, task = self._small.popleft()
        except IndexError:
            return False
        error = _error_of(task)
        self._done.put((tag, error, True))
        if isinstance(error, KeyboardInterrupt):  # it was meant for the one that helped, which is the main thread
            raise error
        return True

    def wait(self, timeout_s: float) -> tuple[T, BaseException | None] | None:
        """The next finished task and what it raised; None when none finished in time."""
        if self._small and (not self._large or timeout_s <= 0):
            self.help()
        try:
            found = self._done.get(timeout=min(timeout_s, _PATIENCE_S) if self._small else timeout_s)
        except Empty:
            if not self.help():
                return None
            found = self._done.get()
        if found[2]:
            self._waiting -= 1
        else:
            self._large -= 1
        return found[:2]

    def _work(self) -> None:
        while (item := self._todo.get()) is not None:
            self._done.put((item[0], _error_of(item[1]), False))

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
        while self.help():
            pass
        for thread in self._threads:
            thread.join()
        self._threads.clear()


_PATIENCE_S = 0.02


def _error_of(task: Callable[[], object]) -> BaseException | None:
    try:
        task()
    except BaseException as err:
        return err
    return None


class _SkippedError(Exception):
    """What had not begun when something else failed."""


def in_parallel(
    items: Collection[T], work: Callable[[T], R], threads: int, cancel: Cancel | None = None,
    done: Callable[[int], object] = lambda _: None,
) -> list[R]:  # fmt: skip
    """The results of a function, in the order of the items; `done` is told how many of them are there.

    An error or `cancel` stops what has not begun; of several errors the first in the order of the items is raised. An
    interrupt stops what runs, too, by `cancel`, and waits a moment for it: a thread that a server lets wait says
    nothing more to anybody.
    """
    failed = threading.Event()

    def begin(item: T) -> R:
        if failed.is_set():
            raise _SkippedError
        try:
            if cancel is not None:
                cancel.check()
            return work(item)
        except BaseException:
            failed.set()
            raise

    if len(items) < 2:
        found = [begin(item) for item in items]
        done(len(found))
        return found
    from concurrent.futures import ThreadPoolExecutor, wait

    pool = ThreadPoolExecutor(min(threads, len(items)))
    futures = [pool.submit(begin, item) for item in items]
    found = []
    try:
        for future in futures:
            found.append(future.result())
            done(len(found))
    except KeyboardInterrupt:
        failed.set()  # what waits ends at once: if it were taken away from the threads, `wait` would take all its time
        if cancel is not None:
            cancel.set()
        pool.shutdown(wait=False)
        wait(futures, _LEAVE_S)
        raise
    except BaseException as err:
        failed.set()
        pool.shutdown()
        if not isinstance(err, _SkippedError):
            raise
        errors = (future.exception() for future in futures)
        raise next(error for error in errors if error is not None and not isinstance(error, _SkippedError)) from None
    pool.shutdown()
    return found
