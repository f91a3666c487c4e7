"""Packages get into a root whole or not at all, however the installation ends.

An empty root is filled straight, under a mark: what a killed run left is thrown away by the next. A root in use gets
its packages in two steps: they are unpacked beside it, on the same file system, and a journal is written; from then on
the installation happens, by renames that can be done again after a kill.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from treebuilder.archive.compress import decompressed
from treebuilder.archive.entry import Entry, scan
from treebuilder.archive.extract import Writer, unpack_package
from treebuilder.client.api import DATABASE_NAME, Planned, Record, SystemRoot
from treebuilder.client.choose import Claims
from treebuilder.client.database import (
    SystemDatabase,
    finalizer_from_json,
    finalizer_to_json,
    record_from_json,
    record_to_json,
)
from treebuilder.errors import ConflictError, StateCorrupt
from treebuilder.model.package import Finalizer
from treebuilder.system.files import disk_errors, remove_tree, write_atomic

FILLING = ".treebuild-filling"
STAGING = ".treebuild-staging"
_JOURNAL = "journal.json"
_MAX_LINKS = 40


def database_of(root: SystemRoot, *, make: bool) -> SystemDatabase:
    """The root's database; links on the way to it stay inside the root. `make` creates its folder."""
    path = root.database_path.strip("/") + "/" + DATABASE_NAME
    found = _look(root.folder, path)
    if found is not None and not found.is_symlink():
        return SystemDatabase(found)
    if found is not None:
        raise StateCorrupt(f"the system database {found} is a link, which is not followed")
    if not make:
        return SystemDatabase(None)
    with Writer(str(root.folder), follow=True) as writer:
        parent, name = writer.parent(path)
        return SystemDatabase(Path(os.readlink(f"/proc/self/fd/{parent}"), name))


def is_empty(root: SystemRoot) -> bool:
    return not any(root.folder.iterdir())


def fill(
    root: SystemRoot, plan: tuple[Planned, ...], blobs: tuple[Path, ...], finalizers: tuple[Finalizer, ...],
    claims: Claims, before_each: Callable[[Planned], None],
) -> tuple[Record, ...]:  # fmt: skip
    """Unpacks into an empty root, and leaves an empty one when that fails. Raises ConflictError, IntegrityError."""
    mark = root.folder / FILLING
    with disk_errors(f"installing into {root.folder}", root.folder):
        mark.touch()
        records = []
        try:
            for item, blob in zip(plan, blobs, strict=True):
                before_each(item)
                records.append(_unpack(item, blob, root.folder, claims))
            if root.record:
                _record(root, records, finalizers)
        except BaseException:
            _empty(root.folder)
            raise
        mark.unlink()
    return tuple(records)


def _empty(folder: Path) -> None:
    for path in sorted(folder.iterdir(), key=lambda path: path.name == FILLING):  # the mark goes last
        remove_tree(path)


def stage(
    root: SystemRoot, plan: tuple[Planned, ...], blobs: tuple[Path, ...], finalizers: tuple[Finalizer, ...],
    claims: Claims, before_each: Callable[[Planned], None],
) -> tuple[Record, ...]:  # fmt: skip
    """Unpacks beside the system, decides, and moves. Raises ConflictError before anything has changed."""
    staging = root.folder / STAGING
    with disk_errors(f"installing into {root.folder}", root.folder):
        try:
            staging.mkdir(mode=0o700)
            records = []
            for position, (item, blob) in enumerate(zip(plan, blobs, strict=True)):
                before_each(item)
                (staging / str(position)).mkdir(mode=0o755)
                records.append(_unpack(item, blob, staging / str(position), claims))
            for position in range(len(plan)):
                _check_places(root.folder, staging / str(position), plan[position])
        except BaseException:
            remove_tree(staging)
            raise
        os.sync()
        journal = {
            "records": [record_to_json(record) for record in records],
            "finalizers": [finalizer_to_json(finalizer) for finalizer in finalizers],
            "database_path": root.database_path,
            "record": root.record,
        }
        write_atomic(staging / _JOURNAL, json.dumps(journal).encode())
        _move(root, journal)
    return tuple(records)


def recover(root: SystemRoot) -> bool:
    """Finishes or undoes what a killed run began. True when there was something."""
    if os.path.lexists(root.folder / FILLING):
        _empty(root.folder)
        return True
    staging = root.folder / STAGING
    if not staging.is_dir() or staging.is_symlink():
        return False
    journal = staging / _JOURNAL
    if journal.is_file():
        try:
            value = json.loads(journal.read_bytes())
        except ValueError as err:
            raise StateCorrupt(f"the journal {journal} cannot be read: {err}") from err
        _move(SystemRoot(root.folder, value["database_path"], value["record"]), value)
    else:
        remove_tree(staging)
    return True


def _unpack(item: Planned, blob: Path, folder: Path, claims: Claims) -> Record:
    """Unpacks one package; what its archive really holds is claimed, whatever its index said."""
    found: list[tuple[str, str]] = []

    def note(entry: Entry) -> None:
        if entry.kind != "d":
            claims.claim(item.package.id, entry.path)
        found.append((entry.path, entry.kind))

    with blob.open("rb") as source:
        unpack_package(decompressed(source), str(folder), str(item.package.id), on_entry=note)
    home, artifact = item.repository.source.name, item.artifact
    return Record(item.package, home, artifact.sha256, artifact.build_time, tuple(found))


def _record(root: SystemRoot, records: list[Record], finalizers: tuple[Finalizer, ...]) -> None:
    database = database_of(root, make=True)
    try:
        database.add(records, finalizers)
    finally:
        database.close()


def _move(root: SystemRoot, journal: dict[str, Any]) -> None:
    """Everything that the journal promises. What was done before is not there any more and is passed over."""
    staging = root.folder / STAGING
    for position in range(len(journal["records"])):
        folder = staging / str(position)
        if folder.is_dir():
            _move_package(folder, root.folder)
            remove_tree(folder)
    if root.record:
        records = [record_from_json(value) for value in journal["records"]]
        _record(root, records, tuple(finalizer_from_json(value) for value in journal["finalizers"]))
    # The journal goes first: without it the rest is rubbish, with it a promise.
    (staging / _JOURNAL).unlink(missing_ok=True)
    remove_tree(staging)


def _move_package(folder: Path, root: Path) -> None:
    with Writer(str(folder), follow=True) as source, Writer(str(root), follow=True, keep_existing_dirs=True) as target:
        for entry in list(scan(str(folder))):
            if entry.kind == "d":
                target.add(entry, None)
                continue
            from_fd, from_name = source.parent(entry.path)
            to_fd, to_name = target.parent(entry.path)
            try:
                os.rename(from_name, to_name, src_dir_fd=from_fd, dst_dir_fd=to_fd)
            except OSError as err:
                if err.errno != errno.EXDEV:
                    raise
                _copy_over(folder, entry, target)


def _copy_over(folder: Path, entry: Entry, target: Writer) -> None:
    """For a folder of the root that is another file system. A link to a file that was moved away is the file again."""
    if entry.kind == "f" or entry.kind == "h":
        real = folder / entry.path
        with real.open("rb") as content:
            target.add(entry._replace(kind="f", link="", size=real.lstat().st_size), content)
    else:
        target.add(entry, None)


def _check_places(root: Path, staged: Path, item: Planned) -> None:
    """A file may replace a file, a folder may meet a folder; everything else would destroy something."""
    for entry in scan(str(staged)):
        found = _look(root, entry.path)
        if found is None:
            continue
        mode = found.lstat().st_mode
        if entry.kind != "d" and stat.S_ISDIR(mode):
            raise ConflictError(f"/{entry.path} is a folder of the system, and no folder in {item.package.id}")
        if entry.kind == "d" and not stat.S_ISDIR(mode):
            behind = _look(root, entry.path, last=True)
            if behind is None or not behind.is_dir():
                raise ConflictError(f"/{entry.path} is a folder in {item.package.id}, and no folder in the system")


def _look(root: Path, name: str, *, last: bool = False) -> Path | None:
    """What stands at `name` in the root, links in its folders followed inside; with `last` a final link too."""
    rest = [part for part in reversed(name.split("/")) if part]
    at: list[str] = []
    links = 0
    while rest:
        part = rest.pop()
        if part == "..":
            del at[-1:]
            continue
        path = root.joinpath(*at, part)
        try:
            info = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not stat.S_ISLNK(info.st_mode) or (not rest and not last):
            at.append(part)
            continue
        links += 1
        if links > _MAX_LINKS:
            return None
        target = os.readlink(path)
        if target.startswith("/"):
            at.clear()
        rest.extend(piece for piece in reversed(target.split("/")) if piece not in ("", "."))
    return root.joinpath(*at)
