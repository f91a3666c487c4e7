"""What the last composition of a repository came to: while nothing changed, stats of files are all that is read."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Collection, Mapping
from itertools import chain

from treebuilder import __version__
from treebuilder.annotations import TYPE_CHECKING
from treebuilder.model.digest import Digest
from treebuilder.model.package import PackageId
from treebuilder.oci.store import Store
from treebuilder.repository.index import RepoFile
from treebuilder.tree import stored

if TYPE_CHECKING:
    from treebuilder.repository.create import CreateOptions
    from treebuilder.repository.metadata import FileStat, PackageFolder

_KIND = "repository-created"
_KEPT = 64


def _numbers(stats: Collection[FileStat]) -> bytes:
    """All numbers, in a twentieth of the time that writing them out would take."""
    try:
        return array("q", chain.from_iterable(stats)).tobytes()
    except OverflowError:  # an inode of that size
        return repr(list(stats)).encode()


class Remembered:
    """The note of one repository: packages and files that a composition of this input wrote.

    `stat` tells size, times and inode of a file of the output, None without one.
    """

    def __init__(
        self, store: Store | None, options: CreateOptions, trees: str, folder: PackageFolder,
        stat: Callable[[str], FileStat | None],
    ) -> None:  # fmt: skip
        self._store = store
        self._stat = stat
        settled = all(map(folder.is_settled, folder.stats))
        given = (
            __version__, str(options.packages.absolute()), options.tree_compression, options.tree_filename,
            options.meta_compression, options.meta_filename, options.from_metadata, options.epoch_s, trees,
        )  # fmt: skip
        seen = hashlib.sha256(repr(given).encode("utf-8", "surrogatepass"))
        for names in (folder.metadata, folder.metadata.values(), folder.stats):
            seen.update(f"{len(names)}\0".encode() + "\0".join(names).encode("utf-8", "surrogatepass") + b"\0")
        seen.update(_numbers(folder.stats.values()))
        self._key = seen.hexdigest() if settled else ""

    def recall(self) -> tuple[tuple[PackageId, ...], dict[str, RepoFile]] | None:
        """Packages and files, when the input is the same and the files still are what was written."""
        noted = self._store.index.note(_KIND, self._key) if self._store is not None and self._key else None
        known = None if noted is None else stored.load(noted)
        if known is None:
            return None
        ids, files = known
        if any(self._stat(name) != seen for _, name, _, _, seen in files):
            return None
        made = {key: RepoFile(name, Digest(sha256), kind) for key, name, sha256, kind, _ in files}
        return tuple([PackageId(*id) for id in ids]), made

    def keep(self, ids: tuple[PackageId, ...], files: Mapping[str, RepoFile]) -> None:
        """Notes what was written for this input."""
        if self._store is None or not self._key:
            return
        described = tuple(
            (key, f.filename, f.sha256.hex, f.compression, self._stat(f.filename)) for key, f in files.items()
        )
        if any(found[-1] is None for found in described):
            return
        if len(self._store.index.notes(_KIND)) >= _KEPT:
            self._store.index.drop_notes(_KIND)
        value = tuple([(id.category, id.name, id.version) for id in ids]), described
        self._store.index.set_notes(_KIND, {self._key: stored.dump(value)})
