"""Frees what a registry does not need: blobs that no manifest mentions, and uploads that nobody goes on with.

A client that pushes relies on blobs it pushed, mounted or was told are there until it pushes the manifest. So nothing
of a repository goes before an hour after the last such use of any blob there that no manifest mentions, or the last
byte of an upload: what is pushed over hours, layer by layer, stays.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from treebuilder.errors import TreebuildError
from treebuilder.records import record
from treebuilder.serve.storage import Storage
from treebuilder.serve.uploads import Uploads
from treebuilder.system import clock

UNUSED_S = 3600
_EVERY_S = 600


@record
class Freed:
    """What was deleted. Blobs are counted once for each repository that had them."""

    blobs: int = 0
    uploads: int = 0
    size_bytes: int = 0


def tidy(storage: Storage, uploads: Uploads, now_epoch_s: float) -> Freed:
    """Deletes what has not been used for an hour (uploads: a day). Raises TreebuildError.

    No manifest goes, tagged or not: the index of an older snapshot names the archives of packages that were built anew
    by the digests of blobs, which only manifests without a tag still mention.
    """
    count, size_bytes = uploads.sweep(now_epoch_s)
    blobs = 0
    before = now_epoch_s - UNUSED_S
    for repository, found in storage.unused().items():
        if max(uploads.last_use(repository), *(used for _, used in found)) >= before:
            continue
        for digest, _ in found:
            freed = storage.forget_unused(repository, digest, before)
            if freed is not None:
                blobs += 1
                size_bytes += freed
    return Freed(blobs, count, size_bytes)


class Tidying:
    """Tidies at once and every ten minutes, on a thread of its own."""

    def __init__(self, storage: Storage, uploads: Uploads, log: Callable[[str], None]) -> None:
        self._storage, self._uploads, self._log = storage, uploads, log
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tidy", daemon=True)

    def __enter__(self) -> Tidying:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                freed = tidy(self._storage, self._uploads, clock.now_epoch_s())
                if freed != Freed():
                    self._log(
                        f"tidied: {freed.blobs} unused blobs, {freed.uploads} uploads, {freed.size_bytes} bytes freed"
                    )
            except (TreebuildError, OSError) as err:
                self._log(f"error: tidying: {err}")
            if self._stop.wait(_EVERY_S):
                return
