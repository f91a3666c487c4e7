"""The store's index: one SQLite file that any number of processes and threads use at once.

`records` are results by key: the first that is written stays (`put` of a second, different one is reported to the
caller). `notes` may be replaced at will: parsed specfiles, remembered plans, sizes.
"""

from __future__ import annotations

import functools
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from treebuilder.annotations import Any, Concatenate, ParamSpec, TypeVar
from treebuilder.errors import LockHeld, NoSpace, StateCorrupt, TreebuildError
from treebuilder.system import clock
from treebuilder.system.files import is_read_only

_VERSION = 2
_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (key TEXT PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
  created INTEGER NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS records_name ON records (kind, name, created);
CREATE TABLE IF NOT EXISTS notes (kind TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (kind, key));
"""
# In version 1 values stood among the keys: whoever looked for any had to read one of 8 MB that lay on the way.
_FROM_1 = """
ALTER TABLE notes RENAME TO notes_1;
CREATE TABLE notes (kind TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (kind, key));
INSERT INTO notes SELECT kind, key, value FROM notes_1;
DROP TABLE notes_1;
"""
_REPLACE_RECORD = "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?)"
_REPLACE_NOTE = "INSERT OR REPLACE INTO notes VALUES (?, ?, ?)"
_WAIT_S = 60
_BESIDE_BYTES = 64 << 10
_left: list[sqlite3.Connection | None] = []
P = ParamSpec("P")
T = TypeVar("T")


def _is_busy(err: sqlite3.DatabaseError) -> bool:
    return getattr(err, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _said(err: sqlite3.DatabaseError, path: Path) -> TreebuildError:
    """SQLite's error as ours."""
    code = getattr(err, "sqlite_errorcode", 0) & 0xFF
    # What it keeps beside the file may be what has no room: that is no error of its own to SQLite.
    code = sqlite3.SQLITE_FULL if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and _is_full(path) else code
    match code:
        case sqlite3.SQLITE_FULL:
            return NoSpace(f"no space left for the cache index {path}", hint="free some space or move --cache-dir")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN if is_read_only(path.parent):
            return TreebuildError(
                f"the cache index {path} cannot be written: its file system is read-only", reason="permission",
                hint="mount it writable, or name another folder: --cache-dir DIR",
            )  # fmt: skip
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return TreebuildError(f"not allowed to use the cache index {path}: {err}", reason="permission")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return LockHeld(f"the cache index {path} is in use for too long: {err}")
        case _:
            return StateCorrupt(
                f"the cache index {path} cannot be read: {err}", hint="delete it: results are built again"
            )


def _is_full(path: Path) -> bool:
    try:
        found = os.statvfs(path.parent)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < _BESIDE_BYTES


def _mapped(method: Callable[Concatenate[Index, P], T]) -> Callable[Concatenate[Index, P], T]:
    """A method whose errors of SQLite are ours."""

    @functools.wraps(method)
    def called(self: Index, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            with self._lock:
                return method(self, *args, **kwargs)
        except sqlite3.DatabaseError as err:
            raise _said(err, self.path) from err

    return called


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _renew(db: sqlite3.Connection) -> None:
    """Brings a new or an older index to the form of today, once, whoever else is about to."""
    db.execute("BEGIN IMMEDIATE")
    try:
        before = _version(db)
        if before != _VERSION:
            for statement in (_FROM_1 if before == 1 else _SCHEMA).split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {_VERSION}")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


class Index:
    """Opened when it is first used; its threads take turns. Values are JSON objects."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._opened: sqlite3.Connection | None = None

    def _db(self) -> sqlite3.Connection:
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def _open(self) -> sqlite3.Connection:
        end = clock.monotonic_s() + _WAIT_S
        while True:
            db = self._connect()
            try:
                db.execute("PRAGMA synchronous=NORMAL")
                if _version(db) != _VERSION:
                    db.execute("PRAGMA journal_mode=WAL")
                    _renew(db)
                return db
            except sqlite3.DatabaseError as err:
                db.close()
                # Two that make a new file a write-ahead one at once: SQLite refuses without waiting.
                if _is_busy(err) and clock.monotonic_s() < end:
                    clock.sleep(0.01)
                    continue
                raise _said(err, self.path) from err

    def _connect(self) -> sqlite3.Connection:
        place, options = str(self.path), ""
        if is_read_only(self.path.parent):  # what has no log beside it is read without one, which cannot be made
            log = self.path.with_name(f"{self.path.name}-wal")
            options = "mode=ro" if log.exists() and log.stat().st_size else "mode=ro&immutable=1"
            place = f"file:{quote(place)}?{options}"
        try:
            return sqlite3.connect(
                place, timeout=_WAIT_S, isolation_level=None, check_same_thread=False, uri=bool(options)
            )
        except sqlite3.DatabaseError as err:
            raise _said(err, self.path) from err

    @_mapped
    def get(self, key: str) -> dict[str, Any] | None:
        row = self._db().execute("SELECT value FROM records WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        value = json.loads(row[0])
        return value if isinstance(value, dict) else None

    @_mapped
    def put(self, key: str, kind: str, name: str, value: Mapping[str, object]) -> dict[str, Any]:
        """Records a result and returns the recorded one, which is an older one if there was any."""
        text = json.dumps(value, sort_keys=True, separators=(",", ":"))
        now = clock.now_epoch_s()
        added = self._db().execute(
            "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT(key) DO NOTHING",
            (key, kind, name, text, now, now),
        )
        return dict(value) if added.rowcount else self.get(key) or dict(value)

    @_mapped
    def replace(
        self,
        records: Sequence[tuple[str, str, str, Mapping[str, object]]],
        notes: Sequence[tuple[str, str, bytes]] = (),
    ) -> None:
        """Records (key, kind, name, value) and notes (kind, key, value) together, in the place of what was there."""
        now = clock.now_epoch_s()
        rows = [
            (key, kind, name, json.dumps(value, sort_keys=True, separators=(",", ":")), now, now)
            for key, kind, name, value in records
        ]
        self._together((_REPLACE_RECORD, rows), (_REPLACE_NOTE, notes))

    def _together(self, *changes: tuple[str, Sequence[tuple[object, ...]]]) -> None:
        db = self._db()
        if sum(len(rows) for _, rows in changes) == 1:
            db.execute(*next((statement, rows[0]) for statement, rows in changes if rows))
            return
        db.execute("BEGIN IMMEDIATE")
        try:
            for statement, rows in changes:
                db.executemany(statement, rows)
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")

    @_mapped
    def drop(self, key: str) -> None:
        self._db().execute("DELETE FROM records WHERE key = ?", (key,))

    @_mapped
    def touch(self, keys: list[str]) -> None:
        """Notes that these records were used now, for the least-recently-used clean-up."""
        now = clock.now_epoch_s()
        if keys:
            self._together(("UPDATE records SET used = ? WHERE key = ?", [(now, key) for key in keys]))

    @_mapped
    def latest(self, kind: str, name: str) -> dict[str, Any] | None:
        """The newest record of a kind and name."""
        query = "SELECT value FROM records WHERE kind = ? AND name = ? ORDER BY created DESC, key DESC LIMIT 1"
        row = self._db().execute(query, (kind, name)).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    @_mapped
    def all(self, kind: str) -> list[tuple[str, str, dict[str, Any], int]]:
        """Every record of a kind: (key, name, value, last use in epoch seconds), sorted by name and key."""
        rows = self._db().execute(
            "SELECT key, name, value, used FROM records WHERE kind = ? ORDER BY name, key", (kind,)
        )
        return [(key, name, json.loads(value), used) for key, name, value, used in rows]

    @_mapped
    def note(self, kind: str, key: str) -> bytes | None:
        row = self._db().execute("SELECT value FROM notes WHERE kind = ? AND key = ?", (kind, key)).fetchone()
        return None if row is None else bytes(row[0])

    @_mapped
    def set_notes(self, kind: str, values: Mapping[str, bytes]) -> None:
        if values:
            self._together((_REPLACE_NOTE, [(kind, k, v) for k, v in values.items()]))

    @_mapped
    def notes(self, kind: str) -> dict[str, bytes]:
        return {
            key: bytes(value)
            for key, value in self._db().execute("SELECT key, value FROM notes WHERE kind = ?", (kind,))
        }

    @_mapped
    def drop_notes(self, kind: str) -> None:
        self._db().execute("DELETE FROM notes WHERE kind = ?", (kind,))

    def leave(self) -> None:
        """For a process that ends now: nothing is closed, as closing moves the log into the database and syncs it,
        10 ms that the next run need not wait for either. SQLite takes it for a kill, which loses nothing.
        """
        _left.append(self._opened)

    def close(self) -> None:
        """Closes it; the next use opens it again."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None
