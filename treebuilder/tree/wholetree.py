"""One record of a whole tree: all that a listing of it needs, under its fingerprint.

20,000 folders have 20,000 records in the index; of an unchanged tree they need not be looked at one by one.
"""

from __future__ import annotations

import hashlib
import marshal
from collections.abc import Sequence
from typing import Any

from treebuilder.records import record
from treebuilder.tree import stored
from treebuilder.tree.index import FileStamp, SpecIndex

PREFIX = "tree//"
Items = tuple[tuple[Any, Any, Any], ...]  # definition, sub-packages and view of each package, encoded, as in a `Cell`
Listed = list[tuple[str, bytes]]  # folders, relative to their root, in walk order, and their `pack`ed items


@record
class WholeTree:
    """`roots` holds for each root what its folders define; `recipes`: all of them were read whole."""

    recipes: bool
    roots: tuple[Listed, ...]


def pack(items: Items) -> bytes:
    """As bytes they take a tenth of the memory."""
    return marshal.dumps(items)


def unpack(data: bytes) -> Items:
    found: Items = marshal.loads(data)  # noqa: S302 - checked with the record they stand in
    return found


def _stamp(roots: Sequence[str]) -> FileStamp:
    key = hashlib.sha256("\0".join(roots).encode("utf-8", "surrogateescape")).hexdigest()
    return FileStamp(PREFIX + key, 0, 0, 0, 0)


def load(index: SpecIndex, roots: Sequence[str], key: bytes) -> WholeTree | None:
    """What was saved of these roots under this very key of 32 bytes."""
    data = index.get(_stamp(roots))
    if data is None or data[: len(key)] != key:
        return None
    found = stored.load(data[len(key) :])
    return None if found is None else WholeTree(*found)


def save(index: SpecIndex, roots: Sequence[str], key: bytes, whole: WholeTree) -> None:
    """Replaces what is known of these roots."""
    index.put(_stamp(roots), key + stored.dump((whole.recipes, whole.roots)))
