"""One record of a whole tree: all that a listing of it needs.

20,000 folders have 20,000 records in the index; of an unchanged tree they need not be looked at one by one, and of one
with a few changes most need only be compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from treebuilder.annotations import Any
from treebuilder.records import record
from treebuilder.tree import stored
from treebuilder.tree.index import FileStamp, SpecIndex

PREFIX = "tree//cells//"
_SHAPE = "1"


@record
class WholeTree:
    """`roots` holds the columns of each root's `Rows`, good for all that stands under `base`.

    `state` says of which stats they tell everything; empty where there is more to be said than they hold.
    """

    base: bytes
    state: str
    roots: tuple[tuple[Any, ...], ...]

    def rows(self, number: int) -> tuple[Any, ...]:
        """The columns of a root."""
        return self.roots[number]


def _stamp(roots: Sequence[str]) -> FileStamp:
    key = hashlib.sha256("\0".join((_SHAPE, *roots)).encode("utf-8", "surrogateescape")).hexdigest()
    return FileStamp(PREFIX + key, 0, 0, 0, 0)


def load(index: SpecIndex, roots: Sequence[str], base: bytes) -> WholeTree | None:
    """What was saved of these roots under this base of 32 bytes."""
    data = index.get(_stamp(roots))
    if data is None or data[: len(base)] != base:
        return None
    found = stored.load(data, len(base))
    return None if found is None else WholeTree(base, *found)


def save(index: SpecIndex, roots: Sequence[str], whole: WholeTree) -> None:
    """Replaces what is known of these roots."""
    index.put(_stamp(roots), stored.dump((whole.state, whole.roots), whole.base))
