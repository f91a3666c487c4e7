"""The system database: which packages a root holds and which files are theirs. It lies inside the root it describes.

One SQLite file; a change is one transaction. It keeps no times, so equal installations give equal records.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from treebuilder.client.api import Record
from treebuilder.errors import StateCorrupt
from treebuilder.model.digest import Digest
from treebuilder.model.package import Finalizer, Package, PackageId, PackageRef
from treebuilder.model.packageset import MemoryPackages

VERSION = 1
_SCHEMA = """
CREATE TABLE packages (id INTEGER PRIMARY KEY, category TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL,
  repository TEXT NOT NULL, sha256 TEXT NOT NULL, build_time TEXT NOT NULL, definition TEXT NOT NULL,
  UNIQUE (category, name, version));
CREATE TABLE files (path BLOB NOT NULL, package INTEGER NOT NULL REFERENCES packages (id) ON DELETE CASCADE,
  position INTEGER NOT NULL, kind TEXT NOT NULL, PRIMARY KEY (path, package)) WITHOUT ROWID;
CREATE INDEX files_package ON files (package, position);
CREATE TABLE pending (position INTEGER PRIMARY KEY, finalizer TEXT NOT NULL);
"""


class SystemDatabase:
    """Opened on first use. A file that does not exist is an empty system until something is written; without a path
    there is none, and nothing can be written."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as err:
            raise StateCorrupt(f"the system database {self._path} cannot be used: {err}") from err

    def _open(self, *, create: bool) -> sqlite3.Connection | None:
        if self._connection is None:
            if self._path is None or (not create and not self._path.exists()):
                return None
            with self._errors():
                db = sqlite3.connect(self._path, timeout=60, isolation_level=None)
                db.execute("PRAGMA foreign_keys=ON")
                version = db.execute("PRAGMA user_version").fetchone()[0]
                if version == 0:
                    db.execute("BEGIN IMMEDIATE")
                    for statement in _SCHEMA.split(";\n"):
                        db.execute(statement)
                    db.execute(f"PRAGMA user_version={VERSION}")
                    db.execute("COMMIT")
                elif version != VERSION:
                    db.close()
                    raise StateCorrupt(f"{self._path} was written by another version of treebuild ({version})")
            self._connection = db
        return self._connection

    # reading -----------------------------------------------------------------------------------------------------
    def packages(self) -> tuple[Package, ...]:
        """Installed packages, sorted. Raises StateCorrupt."""
        db = self._open(create=False)
        if db is None:
            return ()
        with self._errors():
            rows = db.execute("SELECT definition FROM packages ORDER BY category, name, version").fetchall()
        return tuple(_package(json.loads(row[0])) for row in rows)

    def package_set(self) -> MemoryPackages:
        return MemoryPackages(self.packages())

    def record(self, id: PackageId) -> Record | None:
        """What is known of one installed package."""
        db = self._open(create=False)
        if db is None:
            return None
        with self._errors():
            row = db.execute(
                "SELECT id, repository, sha256, build_time, definition FROM packages "
                "WHERE category = ? AND name = ? AND version = ?", (id.category, id.name, id.version),
            ).fetchone()  # fmt: skip
            if row is None:
                return None
            files = db.execute("SELECT path, kind FROM files WHERE package = ? ORDER BY position", (row[0],)).fetchall()
        entries = tuple((bytes(path).decode("utf-8", "surrogateescape"), str(kind)) for path, kind in files)
        return Record(_package(json.loads(row[4])), row[1], Digest(row[2]), row[3], entries)

    def owner(self, path: str) -> PackageId | None:
        """The installed package that a path belongs to; folders belong to nobody."""
        db = self._open(create=False)
        if db is None:
            return None
        with self._errors():
            row = db.execute(
                "SELECT p.category, p.name, p.version FROM files f JOIN packages p ON p.id = f.package "
                "WHERE f.path = ? AND f.kind != 'd' ORDER BY p.id LIMIT 1", (_bytes(path),),
            ).fetchone()  # fmt: skip
        return None if row is None else PackageId(*row)

    def pending(self) -> tuple[tuple[int, Finalizer], ...]:
        """Finalizers of installed packages that have not run to their end."""
        db = self._open(create=False)
        if db is None:
            return ()
        with self._errors():
            rows = db.execute("SELECT position, finalizer FROM pending ORDER BY position").fetchall()
        return tuple((position, finalizer_from_json(json.loads(text))) for position, text in rows)

    # writing -----------------------------------------------------------------------------------------------------
    def add(self, records: Iterable[Record], finalizers: Iterable[Finalizer]) -> None:
        """Records packages and what is still to run for them. The same records again change nothing."""
        db = self._open(create=True)
        assert db is not None
        with self._errors():
            db.execute("BEGIN IMMEDIATE")
            try:
                for record in records:
                    _insert(db, record)
                known = {row[0] for row in db.execute("SELECT finalizer FROM pending")}
                for finalizer in finalizers:
                    text = json.dumps(finalizer_to_json(finalizer))
                    if text not in known:
                        db.execute("INSERT INTO pending (finalizer) VALUES (?)", (text,))
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def finalized(self, position: int) -> None:
        db = self._open(create=True)
        assert db is not None
        with self._errors():
            db.execute("DELETE FROM pending WHERE position = ?", (position,))


def _insert(db: sqlite3.Connection, record: Record) -> None:
    id = record.package.id
    key = (id.category, id.name, id.version)
    db.execute("DELETE FROM packages WHERE category = ? AND name = ? AND version = ?", key)
    definition = json.dumps(_definition(record.package), sort_keys=True)
    cursor = db.execute(
        "INSERT INTO packages (category, name, version, repository, sha256, build_time, definition) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (*key, record.repository, record.sha256.hex, record.build_time, definition),
    )
    rows = ((_bytes(path), cursor.lastrowid, at, kind) for at, (path, kind) in enumerate(record.entries))
    db.executemany("INSERT OR REPLACE INTO files (path, package, position, kind) VALUES (?, ?, ?, ?)", rows)


def _bytes(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def _definition(package: Package) -> dict[str, Any]:
    def refs(items: tuple[PackageRef, ...]) -> list[list[str]]:
        return [[ref.category, ref.name, ref.version] for ref in items]

    id = package.id
    return {
        "id": [id.category, id.name, id.version], "requires": refs(package.requires),
        "conflicts": refs(package.conflicts), "provides": refs(package.provides), "labels": dict(package.labels),
        "annotations": dict(package.annotations), "description": package.description, "license": package.license,
        "uri": list(package.uri), "hidden": package.hidden, "use_flags": list(package.use_flags),
    }  # fmt: skip


def _package(value: dict[str, Any]) -> Package:
    def refs(key: str) -> tuple[PackageRef, ...]:
        return tuple(PackageRef(*item) for item in value[key])

    return Package(
        PackageId(*value["id"]), refs("requires"), refs("conflicts"), refs("provides"),
        tuple(sorted(value["labels"].items())), tuple(sorted(value["annotations"].items())), value["description"],
        value["license"], tuple(value["uri"]), value["hidden"], tuple(value["use_flags"]),
    )  # fmt: skip


def record_to_json(record: Record) -> dict[str, Any]:
    """For a journal."""
    return {
        "package": _definition(record.package), "repository": record.repository, "sha256": record.sha256.hex,
        "build_time": record.build_time, "entries": [list(item) for item in record.entries],
    }  # fmt: skip


def record_from_json(value: dict[str, Any]) -> Record:
    entries = tuple((path, kind) for path, kind in value["entries"])
    package = _package(value["package"])
    return Record(package, value["repository"], Digest(value["sha256"]), value["build_time"], entries)


def finalizer_to_json(finalizer: Finalizer) -> dict[str, Any]:
    return {"shell": list(finalizer.shell), "install": list(finalizer.install)}


def finalizer_from_json(value: dict[str, Any]) -> Finalizer:
    return Finalizer(tuple(value["shell"]), tuple(value["install"]))
