"""Several layers as the one layer that has the same effect on what lies below."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from treebuilder.archive.entry import Entry, scan
from treebuilder.archive.extract import Writer
from treebuilder.model.digest import Digest
from treebuilder.oci.seal import Sealed, seal
from treebuilder.oci.store import Store
from treebuilder.oci.view import StackView


def squash(store: Store, layers: tuple[Digest, ...], below: StackView, epoch_s: int) -> Sealed:
    """The union of `layers` (bottom first), sealed against `below`; its folder is in the store."""
    with store.scratch() as work:
        made = work / "layer"
        made.mkdir()
        for layer in layers:
            with Writer(str(made)) as writer:
                folder = store.tree_path(layer)
                for entry in scan(str(folder)):
                    _put(writer, made, folder, entry)
        sealed = seal(str(made), below, epoch_s)
        store.add_tree(made, sealed.content, sealed.listing)
    return sealed


def _put(writer: Writer, made: Path, folder: Path, entry: Entry) -> None:
    place = made / entry.path
    before = os.lstat(place) if os.path.lexists(place) else None
    if entry.kind == "d" and before is not None and (entry.opaque or not stat.S_ISDIR(before.st_mode)):
        # What was deleted or replaced and is a folder again shows nothing of the folder that may lie below.
        writer.remove(entry.path)
        entry = entry._replace(opaque=True)
    if entry.kind == "f":
        with (folder / entry.path).open("rb", buffering=0) as content:
            writer.add(entry, content)
        return
    writer.add(entry, None)
