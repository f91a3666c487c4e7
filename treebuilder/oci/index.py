"""The store's index: one SQLite file that any number of processes and threads use at once.

`records` are results by key: the first that is written stays (`put` of a second, different one is reported to the
caller). `notes` may be replaced at will: parsed specfiles, remembered plans, sizes.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from treebuilder.errors import StateCorrupt
from treebuilder.system import clock

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (key TEXT PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
  created INTEGER NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS records_name ON records (kind, name, created);
CREATE TABLE IF NOT EXISTS notes (kind TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (kind, key))
  WITHOUT ROWID;
"""


_WAIT_S = 60


def _is_busy(err: sqlite3.DatabaseError) -> bool:
    return getattr(err, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class Index:
    """Opened lazily, one connection per thread. Values are JSON objects."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()

    def _db(self) -> sqlite3.Connection:
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is None:
            db = self._local.db = self._open()
        return db

    def _open(self) -> sqlite3.Connection:
        end = clock.monotonic_s() + _WAIT_S
        while True:
            db = sqlite3.connect(self._path, timeout=_WAIT_S, isolation_level=None)
            try:
                db.execute("PRAGMA journal_mode=WAL")
                db.execute("PRAGMA synchronous=NORMAL")
                db.executescript(_SCHEMA)
                return db
            except sqlite3.DatabaseError as err:
                db.close()
                # Two that make a new file a write-ahead one at once: SQLite refuses without waiting.
                if _is_busy(err) and clock.monotonic_s() < end:
                    clock.sleep(0.01)
                    continue
                raise StateCorrupt(
                    f"the cache index {self._path} cannot be read: {err}", hint="delete it: results are built again"
                ) from err

    def get(self, key: str) -> dict[str, Any] | None:
        row = self._db().execute("SELECT value FROM records WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        value = json.loads(row[0])
        return value if isinstance(value, dict) else None

    def put(self, key: str, kind: str, name: str, value: Mapping[str, object]) -> dict[str, Any]:
        """Records a result and returns the recorded one, which is an older one if there was any."""
        text = json.dumps(value, sort_keys=True, separators=(",", ":"))
        now = clock.now_epoch_s()
        self._db().execute(
            "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT(key) DO NOTHING",
            (key, kind, name, text, now, now),
        )
        return self.get(key) or dict(value)

    def drop(self, key: str) -> None:
        self._db().execute("DELETE FROM records WHERE key = ?", (key,))

    def touch(self, keys: list[str]) -> None:
        """Notes that these records were used now, for the least-recently-used clean-up."""
        now = clock.now_epoch_s()
        self._db().executemany("UPDATE records SET used = ? WHERE key = ?", [(now, key) for key in keys])

    def latest(self, kind: str, name: str) -> dict[str, Any] | None:
        """The newest record of a kind and name."""
        query = "SELECT value FROM records WHERE kind = ? AND name = ? ORDER BY created DESC, key DESC LIMIT 1"
        row = self._db().execute(query, (kind, name)).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def all(self, kind: str) -> list[tuple[str, str, dict[str, Any], int]]:
        """Every record of a kind: (key, name, value, last use in epoch seconds), sorted by name and key."""
        rows = self._db().execute(
            "SELECT key, name, value, used FROM records WHERE kind = ? ORDER BY name, key", (kind,)
        )
        return [(key, name, json.loads(value), used) for key, name, value, used in rows]

    def note(self, kind: str, key: str) -> bytes | None:
        row = self._db().execute("SELECT value FROM notes WHERE kind = ? AND key = ?", (kind, key)).fetchone()
        return None if row is None else bytes(row[0])

    def set_notes(self, kind: str, values: Mapping[str, bytes]) -> None:
        if values:
            db = self._db()
            db.execute("BEGIN IMMEDIATE")
            db.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?, ?)", [(kind, k, v) for k, v in values.items()])
            db.execute("COMMIT")

    def notes(self, kind: str) -> dict[str, bytes]:
        return {
            key: bytes(value)
            for key, value in self._db().execute("SELECT key, value FROM notes WHERE kind = ?", (kind,))
        }

    def drop_notes(self, kind: str) -> None:
        self._db().execute("DELETE FROM notes WHERE kind = ?", (kind,))

    def close(self) -> None:
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is not None:
            db.close()
            self._local.db = None
