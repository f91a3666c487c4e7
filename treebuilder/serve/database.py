"""Which repository has what, in one SQLite file. Its errors become ours here, and nowhere else.

Version 2 knows how long each blob is, and what manifests mention.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from treebuilder.annotations import Any
from treebuilder.errors import ConfigError, NoSpace, StateCorrupt

VERSION = 2
_TABLES = (
    "blobs (repository TEXT, digest TEXT, size INTEGER, PRIMARY KEY (repository, digest)) WITHOUT ROWID",
    """manifests (repository TEXT, digest TEXT, media TEXT, size INTEGER, subject TEXT, artifact TEXT, annotations TEXT,
      PRIMARY KEY (repository, digest)) WITHOUT ROWID""",
    "tags (repository TEXT, tag TEXT, digest TEXT, PRIMARY KEY (repository, tag)) WITHOUT ROWID",
    "mentions (manifest TEXT, digest TEXT, child INTEGER, PRIMARY KEY (manifest, digest)) WITHOUT ROWID",
    "layout (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID",
)
_INDEXES = (
    "blobs_digest ON blobs (digest)", "manifests_subject ON manifests (repository, subject)",
    "manifests_digest ON manifests (digest)", "mentions_digest ON mentions (digest)",
)  # fmt: skip


class Database:
    """May be used from many threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.lock = threading.RLock()
        with self._errors():
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            with self._errors():
                self.version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
                if self.version > VERSION:
                    raise ConfigError(f"{path.parent} was written by a newer version of treebuild")
                self._db.execute("PRAGMA journal_mode=WAL")
        except BaseException:
            self._db.close()
            raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Raises NoSpace, StateCorrupt."""
        try:
            yield
        except sqlite3.OperationalError as err:
            if err.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise NoSpace(f"no space left while writing {self._path}") from err
            raise StateCorrupt(f"the registry's index {self._path} cannot be used: {err}") from err
        except sqlite3.DatabaseError as err:
            raise StateCorrupt(f"the registry's index {self._path} cannot be read: {err}") from err

    def upgrade(self, fill: Callable[[], None]) -> None:
        """Makes the tables and calls `fill`: all of it, or nothing."""
        with self.changing():
            with self._errors():
                for table in _TABLES:
                    self._db.execute(f"CREATE TABLE IF NOT EXISTS {table}")
                if self.version == 1:
                    self._db.execute("ALTER TABLE blobs ADD COLUMN size INTEGER")
                for index in _INDEXES:
                    self._db.execute(f"CREATE INDEX IF NOT EXISTS {index}")
            fill()
            self.do(f"PRAGMA user_version = {VERSION}")
        self.version = VERSION

    @contextmanager
    def changing(self) -> Iterator[None]:
        """A transaction; one inside of another is part of it."""
        with self.lock:
            if self._is_changing():
                yield
                return
            with self._errors():
                self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                with self._errors():
                    self._db.execute("COMMIT")
            except BaseException:
                if self._is_changing():
                    self._db.execute("ROLLBACK")
                raise

    def _is_changing(self) -> bool:
        return self._db.in_transaction

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self.lock, self._errors():
            return self._db.execute(query, values).fetchall()

    def do(self, query: str, *values: object) -> int:
        """Changes rows and says how many."""
        with self.lock, self._errors():
            return self._db.execute(query, values).rowcount

    def do_many(self, query: str, values: Sequence[Sequence[object]]) -> None:
        with self.lock, self._errors():
            self._db.executemany(query, values)

    def close(self) -> None:
        with self.lock:
            self._db.close()
