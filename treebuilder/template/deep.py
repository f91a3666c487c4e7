"""Room for templates that call each other up to 1000 deep, which is more than Python's stack holds by default."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

from treebuilder.annotations import TypeVar

_Result = TypeVar("_Result")
_STACK_BYTES = 256 * 1024 * 1024  # reserved, not used, unless it is needed
_FRAMES = 50_000
_one_at_a_time = threading.Lock()


def with_deep_stack(work: Callable[[], _Result]) -> _Result:
    """Runs `work` in a thread with a large stack and returns or raises what it does.

    The recursion limit is the interpreter's, so it is raised for the moment only, and by one caller at a time.
    """
    results: list[_Result] = []
    faults: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as err:
            faults.append(err)

    with _one_at_a_time:
        limit, size = sys.getrecursionlimit(), threading.stack_size(_STACK_BYTES)
        sys.setrecursionlimit(max(limit, _FRAMES))
        try:
            thread = threading.Thread(target=run, name="templates")
            thread.start()
            thread.join()
        finally:
            sys.setrecursionlimit(limit)
            threading.stack_size(size)
    if faults:
        raise faults[0]
    return results[0]
