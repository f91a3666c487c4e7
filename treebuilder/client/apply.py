"""Packages get into a root, and out of it, whole or not at all, however the change ends.

An empty root is filled straight, under a mark: what a killed run left is thrown away by the next. A root in use gets
its packages in two steps: they are unpacked beside it, on the same file system, and a journal is written; from then on
the change happens, by renames and removals that can be done again after a kill.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from treebuilder.archive.compress import decompressed
from treebuilder.archive.entry import Entry, scan
from treebuilder.archive.extract import unpack_package
from treebuilder.client import journal
from treebuilder.client.api import Change, Planned, Record, SystemRoot
from treebuilder.client.choose import Claims
from treebuilder.client.database import SystemDatabase
from treebuilder.client.journal import STAGING, Journal
from treebuilder.client.opening import database_of
from treebuilder.client.places import Places
from treebuilder.client.protect import Protection, divert
from treebuilder.client.removal import doomed
from treebuilder.errors import ConflictError
from treebuilder.model.package import Finalizer
from treebuilder.records import record
from treebuilder.system.files import disk_errors, remove_tree
from treebuilder.system.inside import resolve

FILLING = ".treebuild-filling"


@record
class Applied:
    """What happened: records of packages that came, and new forms of protected files, as paths."""

    records: tuple[Record, ...]
    diverted: tuple[str, ...] = ()


def is_empty(root: SystemRoot) -> bool:
    return not any(root.folder.iterdir())


def fill(
    root: SystemRoot, change: Change, blobs: tuple[Path, ...], finalizers: tuple[Finalizer, ...],
    claims: Claims, before_each: Callable[[Planned], None],
) -> Applied:  # fmt: skip
    """Unpacks into an empty root, and leaves an empty one when that fails. Raises ConflictError, IntegrityError."""
    mark = root.folder / FILLING
    with disk_errors(f"installing into {root.folder}", root.folder):
        mark.touch()
        records = []
        try:
            for item, blob in zip(change.add, blobs, strict=True):
                before_each(item)
                records.append(_unpack(item, blob, root.folder, claims, own=root.same_owner))
            if root.record:
                database = database_of(root, make=True)
                try:
                    database.add(records, finalizers)
                finally:
                    database.close()
        except BaseException:
            _empty(root.folder)
            raise
        mark.unlink()
    return Applied(tuple(records))


def _empty(folder: Path) -> None:
    for path in sorted(folder.iterdir(), key=lambda path: path.name == FILLING):  # the mark goes last
        remove_tree(path)


@record
class Rules:
    """How a change is checked and laid: what is protected, and who claims which file."""

    claims: Claims
    protection: Protection
    database: SystemDatabase


def stage(
    root: SystemRoot, change: Change, blobs: tuple[Path, ...], finalizers: tuple[Finalizer, ...],
    rules: Rules, before_each: Callable[[Planned], None],
) -> Applied:  # fmt: skip
    """Unpacks beside the system, decides, and switches. Raises ConflictError before anything has changed."""
    staging = root.folder / STAGING
    with disk_errors(f"changing {root.folder}", root.folder):
        try:
            staging.mkdir(mode=0o700)
            records, diverted = [], []
            for position, (item, blob) in enumerate(zip(change.add, blobs, strict=True)):
                before_each(item)
                place = staging / str(position)
                place.mkdir(mode=0o755)
                found = _unpack(item, blob, place, rules.claims, own=root.same_owner)
                records.append(found)
                diverted += _protect(root.folder, place, found, rules.protection)
            written = _journal(root, change, (*records, *change.adopt), finalizers, rules)
        except BaseException:
            remove_tree(staging)
            raise
        os.sync()
        journal.write(root, written)
        journal.finish(root, written, database_of)
    return Applied((*records, *change.adopt), tuple(diverted))


def _journal(
    root: SystemRoot, change: Change, records: tuple[Record, ...], finalizers: tuple[Finalizer, ...], rules: Rules
) -> Journal:
    """Everything that the switch will do, decided. Raises ConflictError."""
    places = Places(root.folder)
    fresh: dict[str, str] = {}  # real places and whether they are folders
    owners: dict[str, Planned] = {}
    for position, item in enumerate(change.add):
        for entry in scan(str(root.folder / STAGING / str(position))):
            real = places.real(entry.path)
            fresh[real] = "d" if entry.kind == "d" else "f"
            owners[real] = item
        # what was diverted keeps its place, for it belongs to the new package
        fresh |= {places.real(path): "f" for path, kind in records[position].entries if kind != "d"}
    fresh |= {places.real(path): kind for found in change.adopt for path, kind in found.entries}
    going = doomed(root.folder, change, rules.database, (), rules.protection)
    obstacles = _obstacles(root.folder, fresh, owners, dict(going))
    first = set(obstacles)
    rest = [(path, kind) for path, kind in going if path not in fresh and (path, kind) not in first]
    removed = tuple(found.package.id for found in change.remove)
    return Journal(records, removed, tuple(obstacles), tuple(rest), finalizers, root.database_path, root.record)


def _obstacles(
    root: Path, fresh: dict[str, str], owners: dict[str, Planned], going: dict[str, str]
) -> list[tuple[str, str]]:
    """What must go before the new things come, for it is of another kind; in order of removal.

    A file may replace a file, a folder may meet a folder; everything else would destroy something. Raises
    ConflictError for what does not go anyway.
    """
    found: list[tuple[str, str]] = []
    for place, kind in fresh.items():
        path = root / place
        try:
            mode = path.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        who = f"{owners[place].package.id}" if place in owners else "a package"
        if kind != "d" and stat.S_ISDIR(mode):
            below = [f"{place}/{entry.path}" for entry in scan(str(path))]
            if place not in going or any(name not in going for name in below):
                raise ConflictError(f"/{place} is a folder of the system, and no folder in {who}")
            found += [(name, going[name]) for name in reversed(below)]
            found.append((place, "d"))
        elif kind == "d" and not stat.S_ISDIR(mode):
            behind = resolve(root, place)
            if behind is not None and behind.is_dir():
                continue
            if place not in going:
                raise ConflictError(f"/{place} is a folder in {who}, and no folder in the system")
            found.append((place, going[place]))
    return found


def _protect(root: Path, staged: Path, found: Record, protection: Protection) -> list[str]:
    """Sets aside what would replace a protected file; the new names."""
    diverted = []
    for path, kind in found.entries:
        if kind in "fh" and protection.covers(path, found.package):
            other = divert(root, staged, path)
            if other is not None:
                diverted.append(other)
    return diverted


def recover(root: SystemRoot) -> bool:
    """Finishes or undoes what a killed run began. True when there was something."""
    if os.path.lexists(root.folder / FILLING):
        with disk_errors(f"settling {root.folder}", root.folder):
            _empty(root.folder)
        return True
    staging = root.folder / STAGING
    if not staging.is_dir() or staging.is_symlink():
        return False
    with disk_errors(f"settling {root.folder}", root.folder):
        found = journal.read(root)
        if found is not None:
            settled = SystemRoot(root.folder, found.database_path, found.record)
            journal.finish(settled, found, database_of)
        else:
            remove_tree(staging)
    return True


def _unpack(item: Planned, blob: Path, folder: Path, claims: Claims, *, own: bool) -> Record:
    """Unpacks one package; what its archive really holds is claimed, whatever its index said."""
    found: list[tuple[str, str]] = []

    def note(entry: Entry) -> None:
        if entry.kind != "d":
            claims.claim(item.package.id, entry.path)
        found.append((entry.path, entry.kind))

    with blob.open("rb") as source:
        what, bound = str(item.package.id), item.repository.bound(item.artifact)
        unpack_package(decompressed(source, bound, what), str(folder), what, own=own, bound=bound, on_entry=note)
    home, artifact = item.repository.source.name, item.artifact
    return Record(
        item.package, home, artifact.sha256, artifact.build_time, tuple(found), item.requested, item.finalizer
    )
