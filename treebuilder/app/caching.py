"""The use cases of `cache`: what is kept, what may go, whether it is undamaged."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from treebuilder.annotations import Any
from treebuilder.events import EventSink, Warned
from treebuilder.model.digest import Digest
from treebuilder.oci.seal import measure
from treebuilder.oci.store import Store
from treebuilder.records import record
from treebuilder.system import clock
from treebuilder.system.files import remove_tree, remove_unfinished


@record
class Kept:
    """One layer or archive on disk. `names` are the packages whose records mention it, sorted."""

    kind: str
    digest: Digest
    size_bytes: int
    names: tuple[str, ...]


def _mentions(store: Store) -> dict[str, set[str]]:
    """Digests (hex) that records name, and the packages of those records."""
    found: dict[str, set[str]] = {}

    def visit(name: str, value: Any) -> None:  # noqa: ANN401 - JSON
        if isinstance(value, str) and len(value) == 64:
            found.setdefault(value, set()).add(name)
        elif isinstance(value, dict):
            for item in value.values():
                visit(name, item)
        elif isinstance(value, list):
            for item in value:
                visit(name, item)

    for kind in ("plan", "build", "artifact", "packed", "base", "foreign"):
        for _, name, value, _ in store.index.all(kind):
            visit(name, value)
    return found


def size_of(path: Path) -> int:
    """Bytes on disk of a file or a folder."""
    if not path.is_dir():
        return path.lstat().st_blocks * 512
    total = 0
    for folder, _, files in os.walk(path):
        total += sum(os.lstat(f"{folder}/{name}").st_blocks * 512 for name in files)
    return total


def listing(store: Store) -> list[Kept]:
    """Everything the cache holds, largest first."""
    names = _mentions(store)
    kept = []
    for kind, folder in (("layer", _trees(store)), ("archive", store.folder / "blobs" / "sha256")):
        for path, digest in _stored(folder):
            kept.append(Kept(kind, digest, size_of(path), tuple(sorted(names.get(path.name, set()) - {""}))))
    return sorted(kept, key=lambda k: (-k.size_bytes, k.digest))


def _stored(folder: Path) -> list[tuple[Path, Digest]]:
    """What is stored in a folder, sorted. Other names are half-written files of killed runs, or somebody else's."""
    found = []
    for path in sorted(folder.iterdir()):
        with suppress(ValueError):
            found.append((path, Digest(path.name)))
    return found


def _trees(store: Store) -> Path:
    return store.folder / "trees" / store.mapping / "sha256"


def collect(store: Store, *, older_than_s: int, dry_run: bool) -> list[Kept]:
    """Removes what no record mentions, and records not used for so long with what only they mention.

    A run that is under way keeps what it made in the last hour.
    """
    limit = clock.now_epoch_s() - older_than_s
    dropped: list[str] = []
    for kind in ("plan", "build", "artifact", "packed", "base", "document", "foreign"):
        dropped += [key for key, _, _, used in store.index.all(kind) if used <= limit]
    mentioned = _mentions_without(store, set(dropped))
    young = clock.now_epoch_s() + 1 - min(3600, older_than_s)
    gone = [
        kept for kept in listing(store)
        if kept.digest.hex not in mentioned and _path(store, kept).lstat().st_ctime <= young
    ]  # fmt: skip
    if not dry_run:
        for key in dropped:
            store.index.drop(key)
        for kept in gone:
            remove_tree(_path(store, kept))
        remove_unfinished(store.folder / "blobs" / "sha256")
        store.index.drop_notes("unchanged")
    return gone


def _mentions_without(store: Store, dropped: set[str]) -> set[str]:
    text = "\n".join(
        str(value)
        for kind in ("plan", "build", "artifact", "packed", "base", "foreign")
        for key, _, value, _ in store.index.all(kind)
        if key not in dropped
    )
    return {word for word in text.replace("'", " ").split() if len(word) == 64}


def _path(store: Store, kept: Kept) -> Path:
    return store.tree_path(kept.digest) if kept.kind == "layer" else store.blob_path(kept.digest)


def verify(store: Store, events: EventSink) -> tuple[int, list[Digest]]:
    """Reads every byte. What is damaged is removed, so that it is built again. Returns (good, damaged)."""
    good, damaged = 0, []
    for _, digest in _stored(store.folder / "blobs" / "sha256"):
        if store.verify_blob(digest):
            good += 1
        else:
            damaged.append(digest)
    for path, digest in _stored(_trees(store)):
        if path.is_dir() and measure(str(path)).content == digest:
            good += 1
            continue
        damaged.append(digest)
        remove_tree(path)
    for digest in damaged:
        events.emit(Warned(f"{digest} was damaged and is removed"))
    if damaged:
        store.index.drop_notes("unchanged")
    return good, damaged
