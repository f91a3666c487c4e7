"""The system database: which packages a root holds and which files are theirs. It lies inside the root it describes.

One SQLite file; a change is one transaction. It keeps no times, so equal installations give equal records.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING, Any
from treebuilder.client.api import Record
from treebuilder.client.forms import finalizer_of, finalizer_text, package_of, package_text
from treebuilder.client.names import checked, fault
from treebuilder.errors import LockHeld, NoSpace, StateCorrupt, TreebuildError
from treebuilder.model.digest import Digest
from treebuilder.model.package import Finalizer, Package, PackageId
from treebuilder.model.packageset import MemoryPackages

if TYPE_CHECKING:
    import sqlite3
else:  # what the standard module passes on; its adapters of dates, which nothing here uses, cost every start 1.5 ms
    try:
        import _sqlite3 as sqlite3
    except ImportError:
        import sqlite3

VERSION = 2
_PATIENCE_S = 60  # with a program of others that has the file
_SCHEMA = """
CREATE TABLE packages (id INTEGER PRIMARY KEY, category TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL,
  repository TEXT NOT NULL, sha256 TEXT NOT NULL, build_time TEXT NOT NULL, definition TEXT NOT NULL,
  UNIQUE (category, name, version));
CREATE TABLE files (path BLOB NOT NULL, package INTEGER NOT NULL REFERENCES packages (id) ON DELETE CASCADE,
  position INTEGER NOT NULL, kind TEXT NOT NULL, PRIMARY KEY (path, package)) WITHOUT ROWID;
CREATE INDEX files_package ON files (package, position);
CREATE TABLE pending (position INTEGER PRIMARY KEY, finalizer TEXT NOT NULL);
"""
# What each version added to the one before it. Since 2: who asked for a package, what runs when it goes, holds.
_MIGRATIONS = {
    1: """
ALTER TABLE packages ADD COLUMN requested INTEGER NOT NULL DEFAULT 1;
ALTER TABLE packages ADD COLUMN finalizer TEXT NOT NULL DEFAULT '';
CREATE TABLE holds (category TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (category, name)) WITHOUT ROWID;
""",
}
_MENDING = "put back a copy of it, or move it away and run reclaim"
_SELECT = "SELECT id, repository, sha256, build_time, definition, requested, finalizer FROM packages"


class SystemDatabase:
    """Opened on first use. A file that does not exist is an empty system until something is written; without a path
    there is none, and nothing can be written."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    @property
    def folder(self) -> Path | None:
        return self._path.parent if self._path is not None else None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as err:
            said = str(err)
            if "full" in said:
                raise NoSpace(
                    f"no space left for the system database {self._path}", hint="free some space there"
                ) from err
            if "readonly" in said or "unable to open" in said:
                raise TreebuildError(
                    f"the system database {self._path} cannot be written: {said}", reason="permission",
                    hint="its folder has to be writable: mount its file system so, or be its owner",
                ) from err  # fmt: skip
            if "locked" in said:
                raise LockHeld(
                    f"the system database {self._path} is in use by another program", hint="wait until that has ended"
                ) from err
            raise StateCorrupt(f"the system database {self._path} cannot be used: {said}", hint=_MENDING) from err

    def _open(self, *, create: bool) -> sqlite3.Connection | None:
        if self._connection is None:
            if self._path is None or (not create and not self._path.exists()):
                return None
            with self._errors():
                if not self._path.exists():
                    _make(self._path)
                db = sqlite3.connect(self._path, timeout=_PATIENCE_S, isolation_level=None)
                db.execute("PRAGMA foreign_keys=ON")
                version = db.execute("PRAGMA user_version").fetchone()[0]
                if version < 1:  # ours are made whole, so something was cut off, or is not ours
                    db.close()
                    raise StateCorrupt(f"{self._path} is no system database: it holds nothing of ours", hint=_MENDING)
                if version > VERSION:
                    db.close()
                    raise StateCorrupt(
                        f"{self._path} was written by a newer version of treebuild "
                        f"(form {version}, known is {VERSION})",
                        hint="use that version, or a later one",
                    )
                if version < VERSION:
                    _migrate(db, version)
            self._connection = db
        return self._connection

    def _broken_record(self, err: Exception) -> StateCorrupt:
        return StateCorrupt(f"the system database {self._path} holds a broken record: {err}", hint=_MENDING)

    # reading -----------------------------------------------------------------------------------------------------
    def packages(self) -> tuple[Package, ...]:
        """Installed packages, sorted. Raises StateCorrupt."""
        db = self._open(create=False)
        if db is None:
            return ()
        with self._errors():
            rows = db.execute("SELECT definition FROM packages ORDER BY category, name, version").fetchall()
        try:
            return tuple(package_of(row[0]) for row in rows)
        except (ValueError, KeyError, TypeError) as err:
            raise self._broken_record(err) from err

    def state(self) -> Digest:
        """Of all that says what is installed and held, without the files: equal where `records` and `holds` are."""
        from hashlib import sha256  # brings OpenSSL, 3 ms

        seen = sha256()
        db = self._open(create=False)
        if db is not None:
            with self._errors():
                for rows in (f"{_SELECT} ORDER BY category, name, version", "SELECT '', * FROM holds ORDER BY 2, 3"):
                    for _, *row in db.execute(rows):
                        seen.update(repr(row).encode("utf-8", "surrogatepass") + b"\n")
                    seen.update(b"\n")
        return Digest(seen.hexdigest())

    def package_set(self) -> MemoryPackages:
        return MemoryPackages(self.packages())

    def record(self, id: PackageId) -> Record | None:
        """What is known of one installed package, with its entries."""
        db = self._open(create=False)
        if db is None:
            return None
        with self._errors():
            row = db.execute(
                f"{_SELECT} WHERE category = ? AND name = ? AND version = ?",
                (id.category, id.name, id.version),
            ).fetchone()
            if row is None:
                return None
            files = db.execute("SELECT path, kind FROM files WHERE package = ? ORDER BY position", (row[0],)).fetchall()
        return self._record(row, tuple((_text(path), str(kind)) for path, kind in files))

    def records(self, *, entries: bool = False) -> tuple[Record, ...]:
        """All installed packages, sorted; their entries only when asked for."""
        db = self._open(create=False)
        if db is None:
            return ()
        with self._errors():
            rows = db.execute(f"{_SELECT} ORDER BY category, name, version").fetchall()
            found: dict[int, list[tuple[str, str]]] = {}
            if entries:
                for package, path, kind in db.execute("SELECT package, path, kind FROM files ORDER BY position"):
                    found.setdefault(package, []).append((_text(path), str(kind)))
        return tuple(self._record(row, tuple(found.get(row[0], ()))) for row in rows)

    def _record(self, row: tuple[Any, ...], entries: tuple[tuple[str, str], ...]) -> Record:
        for path, _ in entries:
            wrong = fault(path)
            if wrong:
                raise StateCorrupt(
                    f"the system database {self._path} names the file {path!r} of {row[4][:200]}, which {wrong}",
                    hint="database remove forgets the package; its files stay",
                )
        try:
            digest = Digest(row[2]) if row[2] else None
            finalizer = finalizer_of(row[6]) if row[6] else None
            return Record(package_of(row[4]), row[1], digest, row[3], entries, bool(row[5]), finalizer)
        except (ValueError, KeyError, TypeError) as err:
            raise self._broken_record(err) from err

    def shared(self, ids: Iterable[PackageId]) -> frozenset[str]:
        """Paths of these packages, folders too, that other installed packages have as well."""
        db = self._open(create=False)
        if db is None:
            return frozenset()
        with self._errors():
            numbers = [
                row[0] for id in ids for row in db.execute(
                    "SELECT id FROM packages WHERE category = ? AND name = ? AND version = ?",
                    (id.category, id.name, id.version),
                )
            ]  # fmt: skip
            inside = ",".join(map(str, numbers))
            rows = db.execute(
                f"SELECT DISTINCT a.path FROM files a JOIN files b ON b.path = a.path "  # noqa: S608 - numbers of ours
                f"WHERE a.package IN ({inside}) AND b.package NOT IN ({inside})"
            ).fetchall()
        return frozenset(_text(row[0]) for row in rows)

    def folders(self, without: Iterable[PackageId]) -> frozenset[str]:
        """Those of packages other than these, by their own paths, and those that their files are in."""
        db = self._open(create=False)
        if db is None:
            return frozenset()
        rest = set(without)
        with self._errors():
            rows = db.execute("SELECT id, category, name, version FROM packages").fetchall()
            out = {row[0] for row in rows if PackageId(*row[1:]) in rest}
            found = {
                path if kind == "d" else path.rpartition(b"/")[0]
                for path, kind, package in db.execute("SELECT path, kind, package FROM files") if package not in out
            }  # fmt: skip
        return frozenset(map(_text, found))

    def holds(self) -> frozenset[str]:
        """Names (`category/name`) that no upgrade may change."""
        db = self._open(create=False)
        if db is None:
            return frozenset()
        with self._errors():
            return frozenset(f"{row[0]}/{row[1]}" for row in db.execute("SELECT category, name FROM holds"))

    def owner(self, path: str) -> PackageId | None:
        """The installed package that a path belongs to; folders belong to nobody."""
        return next(iter(self.owners(path)), None)

    def owners(self, path: str) -> tuple[PackageId, ...]:
        """All of them: a forced installation can give a file to two packages. The oldest first."""
        db = self._open(create=False)
        if db is None:
            return ()
        with self._errors():
            rows = db.execute(
                "SELECT p.category, p.name, p.version FROM files f JOIN packages p ON p.id = f.package "
                "WHERE f.path = ? AND f.kind != 'd' ORDER BY p.id", (_bytes(path),),
            ).fetchall()  # fmt: skip
        return tuple(PackageId(*row) for row in rows)

    def files_named(self, names: frozenset[bytes]) -> Iterator[tuple[str, PackageId]]:
        """Files with one of these last names, folders aside, and whose they are."""
        db = self._open(create=False)
        if db is None:
            return
        with self._errors():
            ids = {
                row[0]: PackageId(*row[1:]) for row in db.execute("SELECT id, category, name, version FROM packages")
            }
            for path, package in db.execute("SELECT path, package FROM files WHERE kind != 'd'"):
                if path[path.rfind(b"/") + 1 :] in names:
                    yield _text(path), ids[package]

    def pending(self) -> tuple[tuple[int, Finalizer], ...]:
        """Finalizers of installed packages that have not run to their end."""
        db = self._open(create=False)
        if db is None:
            return ()
        with self._errors():
            rows = db.execute("SELECT position, finalizer FROM pending ORDER BY position").fetchall()
        return tuple((position, self._pending(text)) for position, text in rows)

    def _pending(self, text: str) -> Finalizer:
        try:
            return finalizer_of(text)
        except (ValueError, KeyError, TypeError) as err:
            raise self._broken_record(err) from err

    # writing -----------------------------------------------------------------------------------------------------
    def add(self, records: Iterable[Record], finalizers: Iterable[Finalizer]) -> None:
        """Records packages and what is still to run for them. The same records again change nothing."""
        self.settle((), records, finalizers)

    def settle(self, removed: Iterable[PackageId], records: Iterable[Record], finalizers: Iterable[Finalizer]) -> None:
        """One change, in one transaction: packages that went, packages that came, what is still to run.

        A name of which nothing is left is not held any more."""
        with self._transaction() as db:
            gone = tuple(removed)
            for id in gone:
                _delete(db, id)
            for record in records:
                _insert(db, record)
            for id in gone:
                db.execute(
                    "DELETE FROM holds WHERE category = ?1 AND name = ?2 "
                    "AND NOT EXISTS (SELECT 1 FROM packages WHERE category = ?1 AND name = ?2)",
                    (id.category, id.name),
                )
            known = {self._pending(row[0]) for row in db.execute("SELECT finalizer FROM pending")}
            for finalizer in finalizers:
                if finalizer not in known:
                    db.execute("INSERT INTO pending (finalizer) VALUES (?)", (finalizer_text(finalizer),))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        db = self._open(create=True)
        assert db is not None
        with self._errors():
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def hold(self, names: Iterable[str], on: bool) -> None:
        """Holds names (`category/name`), or lets them go."""
        order = "INSERT OR IGNORE INTO holds VALUES (?, ?)" if on else "DELETE FROM holds WHERE category=? AND name=?"
        with self._transaction() as db:
            for name in names:
                category, _, short = name.rpartition("/")
                db.execute(order, (category, short))

    def request(self, ids: Iterable[PackageId]) -> None:
        """Notes that somebody asked for these packages themselves, so that they stay when nothing needs them."""
        with self._transaction() as db:
            for id in ids:
                db.execute(
                    "UPDATE packages SET requested = 1 WHERE category = ? AND name = ? AND version = ?",
                    (id.category, id.name, id.version),
                )

    def finalized(self, position: int) -> None:
        db = self._open(create=True)
        assert db is not None
        with self._errors():
            db.execute("DELETE FROM pending WHERE position = ?", (position,))


def _make(path: Path) -> None:
    """An empty database, whole or not at all."""
    fresh = path.with_name(f"{path.name}-new")
    fresh.unlink(missing_ok=True)
    db = sqlite3.connect(fresh, isolation_level=None)
    try:
        _migrate(db, 0)
    finally:
        db.close()
    for suffix in ("-journal", "-wal", "-shm"):  # of a file that is gone: nothing that belongs into this one
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    fresh.rename(path)


def _migrate(db: sqlite3.Connection, version: int) -> None:
    """From an older form (0: nothing at all) to ours, in one transaction."""
    db.execute("BEGIN IMMEDIATE")
    steps = [_SCHEMA] if version == 0 else []
    steps += [text for number, text in sorted(_MIGRATIONS.items()) if number >= version]
    for text in steps:
        for statement in text.split(";\n"):
            db.execute(statement)
    db.execute(f"PRAGMA user_version={VERSION}")
    db.execute("COMMIT")


def _delete(db: sqlite3.Connection, id: PackageId) -> None:
    db.execute(
        "DELETE FROM packages WHERE category = ? AND name = ? AND version = ?", (id.category, id.name, id.version)
    )


def _insert(db: sqlite3.Connection, record: Record) -> None:
    id = record.package.id
    _delete(db, id)
    definition = package_text(record.package)
    uninstall = record.finalizer is not None and record.finalizer.uninstall
    finalizer = finalizer_text(record.finalizer) if record.finalizer and uninstall else ""
    cursor = db.execute(
        "INSERT INTO packages "
        "(category, name, version, repository, sha256, build_time, definition, requested, finalizer) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            id.category, id.name, id.version, record.repository, record.sha256.hex if record.sha256 else "",
            record.build_time, definition, int(record.requested), finalizer,
        ),
    )  # fmt: skip
    rows = [
        (_bytes(checked(path, f"{id}")), cursor.lastrowid, at, kind) for at, (path, kind) in enumerate(record.entries)
    ]
    db.executemany("INSERT OR REPLACE INTO files (path, package, position, kind) VALUES (?, ?, ?, ?)", rows)


def _text(path: bytes) -> str:
    return bytes(path).decode("utf-8", "surrogateescape")


def _bytes(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")
