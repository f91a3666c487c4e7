"""The journal of a change: once it is written the change happens, however often it has to be begun again."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING, Any, Protocol
from treebuilder.client.api import Record, SystemRoot
from treebuilder.client.database import SystemDatabase
from treebuilder.client.forms import finalizer_from_json, finalizer_to_json, record_from_json, record_to_json
from treebuilder.client.names import RESERVED, STAGING, fault
from treebuilder.client.places import delete
from treebuilder.errors import StateCorrupt
from treebuilder.model.package import Finalizer, PackageId
from treebuilder.records import record
from treebuilder.system.files import remove_tree, write_atomic

if TYPE_CHECKING:
    from treebuilder.archive.entry import Entry
    from treebuilder.archive.extract import Writer

_NAME = "journal.json"
_VERSION = 2


@record
class Journal:
    """What is left to do: `first` goes before the staged packages (folders by position) come, `later` after them.

    Both hold real places as (path, kind). `finalizers` are what will have to run.
    """

    records: tuple[Record, ...]
    removed: tuple[PackageId, ...]
    first: tuple[tuple[str, str], ...]
    later: tuple[tuple[str, str], ...]
    finalizers: tuple[Finalizer, ...]
    database_path: str
    record: bool


class Room(Protocol):
    """Space that is kept until it is needed."""

    def release(self, what: str) -> None: ...


def write(root: SystemRoot, journal: Journal) -> None:
    """From here on the change is certain."""
    value = {
        "version": _VERSION,
        "records": [record_to_json(found) for found in journal.records],
        "removed": [[id.category, id.name, id.version] for id in journal.removed],
        "first": [list(item) for item in journal.first],
        "later": [list(item) for item in journal.later],
        "finalizers": [finalizer_to_json(finalizer) for finalizer in journal.finalizers],
        "database_path": journal.database_path,
        "record": journal.record,
    }
    write_atomic(root.folder / STAGING / _NAME, json.dumps(value).encode())


def read(root: SystemRoot) -> Journal | None:
    """The journal that a killed run left; None when it had not got that far. Raises StateCorrupt."""
    path = root.folder / STAGING / _NAME
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_bytes())
        if value.get("version") != _VERSION:
            raise StateCorrupt(
                f"the journal {path} was written by another version of treebuild",
                hint=f"use that version once: it finishes the change of {root.folder} that it has begun",
            )
        records = tuple(record_from_json(item) for item in value["records"])
        _check_paths(path for found in records for path, _ in found.entries)
        removed = tuple(PackageId(*item) for item in value["removed"])
        finalizers = tuple(finalizer_from_json(item) for item in value["finalizers"])
        return Journal(
            records, removed, _pairs(value["first"]), _pairs(value["later"]), finalizers,
            str(value["database_path"]), bool(value["record"]),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise StateCorrupt(
            f"the journal {path} cannot be read: {err}",
            hint=f"remove {path.parent}: the change of {root.folder} stays half done, and oscheck says what is missing",
        ) from err


def _pairs(value: Any) -> tuple[tuple[str, str], ...]:  # noqa: ANN401 - straight from JSON
    pairs = tuple((path, kind) for path, kind in value)
    _check_paths(path for path, _ in pairs)
    return pairs


def _check_paths(paths: Iterable[str]) -> None:
    for path in paths:
        wrong = fault(path)
        if wrong:
            raise ValueError(f"it names the path {path!r}, which {wrong}")


def give_up(root: SystemRoot) -> None:
    """Throws away what was staged. The journal goes first: without it the rest is rubbish, with it a promise."""
    (root.folder / STAGING / _NAME).unlink(missing_ok=True)
    remove_tree(root.folder / STAGING)


def finish(
    root: SystemRoot, journal: Journal, open_database: Callable[..., SystemDatabase], room: Room | None = None
) -> None:
    """Everything that the journal promises. What was done before is not there any more and is passed over."""
    staging = root.folder / STAGING
    if room is not None:
        room.release("switch")
    delete(root.folder, list(journal.first))
    for position in range(len(journal.records)):
        folder = staging / str(position)
        if folder.is_dir():
            if _move_package(folder, root.folder):
                os.sync()  # a rename is kept in order by its file system; of a copy only what is here is certain
            remove_tree(folder)
    delete(root.folder, list(journal.later))
    if room is not None:
        room.release("database")
    if root.record:
        database = open_database(root, make=True)
        try:
            database.settle(journal.removed, journal.records, journal.finalizers)
        finally:
            database.close()
    give_up(root)


def _move_package(folder: Path, root: Path) -> bool:
    """True when something was copied, into another file system.

    A folder that is new goes with all it holds: so it has its owner, mode and time whenever this is killed.
    """
    from treebuilder.archive.entry import scan
    from treebuilder.archive.extract import Writer

    copied, whole = False, "/"
    into = Writer(str(root), follow=True, keep_existing_dirs=True, reserved=RESERVED)
    with Writer(str(folder), follow=True) as source, into as target:
        for entry in list(scan(str(folder))):
            if entry.path.startswith(whole):
                continue
            try:
                if entry.kind != "d":
                    _rename(source, target, entry.path)
                elif _is_new(target, entry.path) and _goes_whole(source, target, entry.path):
                    whole = f"{entry.path}/"
                else:
                    target.add(entry, None)
            except OSError as err:
                if err.errno != errno.EXDEV or entry.kind == "d":
                    raise OSError(err.errno, err.strerror, str(root / entry.path)) from err
                _copy_over(folder, entry, target)
                copied = True
    return copied


def _rename(source: Writer, target: Writer, path: str) -> None:
    from_fd, from_name = source.parent(path)
    to_fd, to_name = target.parent(path)
    os.rename(from_name, to_name, src_dir_fd=from_fd, dst_dir_fd=to_fd)


def _is_new(target: Writer, path: str) -> bool:
    parent, name = target.parent(path)
    try:
        os.lstat(name, dir_fd=parent)
    except FileNotFoundError:
        return True
    return False


def _goes_whole(source: Writer, target: Writer, path: str) -> bool:
    """False where the new place is another file system, and for a folder of ours that we may not write to."""
    try:
        _rename(source, target, path)
    except OSError as err:
        if err.errno in (errno.EXDEV, errno.EACCES, errno.EPERM):
            return False
        raise
    return True


def _copy_over(folder: Path, entry: Entry, target: Writer) -> None:
    """For a folder of the root that is another file system. A link to a file that was moved away is the file again."""
    if entry.kind == "f" or entry.kind == "h":
        real = folder / entry.path
        with real.open("rb") as content:
            target.add(entry._replace(kind="f", link="", size=real.lstat().st_size), content)
    else:
        target.add(entry, None)
