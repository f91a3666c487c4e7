"""Who wants to know how far a download is."""

from __future__ import annotations

import threading
from collections.abc import Callable

from treebuilder.annotations import Protocol


class Arriving(Protocol):
    """Is told of the bytes of one file as they come."""

    def add(self, size: int, /) -> None:
        """So many more came."""
        ...

    def kept(self, size: int, /) -> None:
        """So many are there from before; less than nothing where they must come again."""
        ...

    def expect(self, size: int, /) -> None:
        """So many there will be. It may be said more than once."""
        ...


class _Unseen:
    def add(self, size: int, /) -> None:
        return

    def kept(self, size: int, /) -> None:
        return

    def expect(self, size: int, /) -> None:
        return


UNSEEN: Arriving = _Unseen()


class Undone:
    """Tells `progress` what it is told, until what came is of no use and something else comes in its place."""

    def __init__(self, progress: Arriving) -> None:
        self._progress = progress
        self._shown = 0

    def add(self, size: int, /) -> None:
        self._shown += size
        self._progress.add(size)

    def kept(self, size: int, /) -> None:
        self._shown += size
        self._progress.kept(size)

    def expect(self, size: int, /) -> None:
        self._progress.expect(size)

    def undo(self) -> None:
        """Nothing is there any more, and nothing expected. That bytes came stays true."""
        self._progress.kept(-self._shown)
        self._shown = 0
        self._progress.expect(0)


class Total:
    """Adds up several downloads, which may come at once. `told` gets the bytes that are there and those expected.

    `moved_bytes` are those that came: without what was there from before, and with what came twice.
    """

    def __init__(self, told: Callable[[int, int], None]) -> None:
        self._told = told
        self._lock = threading.Lock()
        self._done = self._expected = self.moved_bytes = 0

    def file(self) -> Arriving:
        """One of the downloads."""
        return _File(self._change)

    def _change(self, done: int, expected: int, moved: int) -> None:
        with self._lock:
            self._done += done
            self.moved_bytes += moved
            self._expected += expected
            self._told(self._done, self._expected)


class _File:
    def __init__(self, change: Callable[[int, int, int], None]) -> None:
        self._change = change
        self._expected = 0

    def add(self, size: int, /) -> None:
        if size:
            self._change(size, 0, size)

    def kept(self, size: int, /) -> None:
        if size:
            self._change(size, 0, 0)

    def expect(self, size: int, /) -> None:
        if size != self._expected:
            more, self._expected = size - self._expected, size
            self._change(0, more, 0)
