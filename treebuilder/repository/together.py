"""Packages read and recipes packed for a repository: by two processes where there are many, in whatever order."""

from __future__ import annotations

import marshal
import mmap
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext

from treebuilder.annotations import TypeVar
from treebuilder.repository.metadata import BuiltPackage, BuiltPackages
from treebuilder.system.beside import beside

T = TypeVar("T")
_MANY = 500  # packages: reading fewer takes less time than a process more costs
_STEP = 64


def read_together(
    reader: BuiltPackages, fingerprints: tuple[str, ...], pack: Callable[[], bytes], load: Callable[[], T]
) -> tuple[T, Mapping[str, BuiltPackage], bytes]:
    """What `load` gives, the packages of all fingerprints in their order, and what `pack` gives.

    `pack` changes nothing but its answer. Faults come as if one had been done after the other.
    Raises what the three raise.
    """
    ends = _Ends(len(fingerprints))

    def other() -> bytes:
        packed = pack()
        return marshal.dumps((packed, [reader.given(fingerprints[at]) for at in ends.backward()]))

    with beside(other) if len(fingerprints) >= _MANY else nullcontext(_nothing) as result:
        loaded = load()
        for at in ends.forward():
            reader.read(fingerprints[at])
        came = result()
        packed = b""
        if came is not None:
            packed, given = marshal.loads(came)  # noqa: S302 - a copy of this process wrote it
            for item in given:
                reader.take(item)
        built = {fingerprint: reader.read(fingerprint) for fingerprint in fingerprints}
        return loaded, built, pack() if came is None else packed


def _nothing() -> bytes | None:
    return None


class _Ends:
    """How far two processes are in one list of `size` items, which they take from its two ends.

    Each says what it takes before it begins with that: nothing is left out, and what both take at once is done twice.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken = memoryview(mmap.mmap(-1, 16)).cast("q")  # from the start, from the end; shared with copies

    def forward(self) -> Iterator[int]:
        for first in range(0, self._size, _STEP):
            if first >= self._size - self._taken[1]:
                return
            self._taken[0] = first + _STEP
            yield from range(first, min(first + _STEP, self._size))

    def backward(self) -> Iterator[int]:
        for end in range(self._size, 0, -_STEP):
            if end <= self._taken[0]:
                return
            first = max(end - _STEP, 0)
            self._taken[1] = self._size - first
            yield from range(first, end)
