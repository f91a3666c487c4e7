"""Work of pure Python that another processor does meanwhile: threads of one process would take turns.

It is done by a copy of this process as it stands, which reads and gives bytes back, and does nothing that lasts.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_READ = 1 << 20


@contextmanager
def beside(work: Callable[[], bytes]) -> Iterator[Callable[[], bytes | None]]:
    """Begins `work`. What is yielded waits for it and gives what came of it.

    None stands for nothing: it failed, or was not begun, since there is one processor only, no process more, or threads
    of ours whose locks a copy could wait for without end. Then it is the caller's to do. The copy ends with the block.
    """
    fd, copy = _begin(work) if len(os.sched_getaffinity(0)) > 1 and threading.active_count() == 1 else (-1, 0)
    status = -1

    def result() -> bytes | None:
        nonlocal status, copy
        if copy:
            status, copy = os.waitpid(copy, 0)[1], 0
        return _content(fd) if status == 0 else None

    try:
        yield result
    finally:
        if copy:
            os.kill(copy, signal.SIGKILL)
            os.waitpid(copy, 0)
        if fd >= 0:
            os.close(fd)


def _begin(work: Callable[[], bytes]) -> tuple[int, int]:
    """A file in memory for what comes of it, and the process; neither where there can be no more processes."""
    fd = os.memfd_create("beside", os.MFD_CLOEXEC)
    try:
        copy = os.fork()
    except OSError:
        os.close(fd)
        return -1, 0
    if copy:
        return fd, copy
    failed = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller hears it, too, and ends us
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        gc.disable()  # nothing is freed anyway; each look at an object would copy its page
        for opened in sorted({int(name) for name in os.listdir("/proc/self/fd")} - {0, 1, 2, fd}):
            _let_go(opened)
        _write(fd, work())
        failed = 0
    finally:
        os._exit(failed)


def _let_go(fd: int) -> None:
    """Closes what is the caller's: its locks end with it, also where it is killed."""
    try:
        os.close(fd)
    except OSError:  # of the listing itself
        return


def _write(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _content(fd: int) -> bytes:
    os.lseek(fd, 0, os.SEEK_SET)
    parts = []
    while part := os.read(fd, _READ):
        parts.append(part)
    return b"".join(parts)
