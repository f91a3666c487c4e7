"""Blobs on their way to those that share the cache: each is sent once, however many nodes stand on it.

What a registry said that it has, or took, is not asked for again in the same run. What a folder has, is: what is
damaged there is deleted meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from treebuilder.annotations import IO
from treebuilder.build.shared_layers import Records
from treebuilder.model.digest import Digest
from treebuilder.oci.folder import FolderRepository


class Sending:
    """Of one run; for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turns: dict[tuple[Records, Digest], threading.Lock] = {}
        self._there: set[tuple[Records, Digest]] = set()

    def turn(self, target: Records, digest: Digest) -> threading.Lock:
        """Is held by the one that makes or sends it."""
        with self._lock:
            return self._turns.setdefault((target, digest), threading.Lock())

    def has(self, target: Records, blob: Digest) -> bool:
        """Whether it is there."""
        if (target, blob) in self._there:
            return True
        there = target.has_blob(blob)
        if there:
            self._note(target, blob)
        return there

    def push(self, target: Records, blob: Digest, size: int, opened: Callable[[], IO[bytes]], *, again: bool) -> None:
        """Uploads what is not there; `again`: also what is."""
        with self.turn(target, blob):
            if again or (target, blob) not in self._there:
                target.push_blob(blob, size, opened, again=again)
                self._note(target, blob)

    def _note(self, target: Records, blob: Digest) -> None:
        if not isinstance(target, FolderRepository):
            self._there.add((target, blob))
