"""The store's index keeps what an older version of it held, and large notes are in nobody's way."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.services import need, privately
from treebuilder.oci.index import Index

VERSION_1 = """
PRAGMA journal_mode=WAL;
CREATE TABLE records (key TEXT PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
  created INTEGER NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX records_name ON records (kind, name, created);
CREATE TABLE notes (kind TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID;
INSERT INTO records VALUES ('k', 'node', 'n', '{"a": 1}', 5, 6);
INSERT INTO notes VALUES ('listing', 'x', x'00ff'), ('listing', 'y', x'01'), ('other', 'x', x'02');
PRAGMA user_version = 1;
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    db = sqlite3.connect(tmp_path / "index.sqlite")
    db.executescript(VERSION_1)
    db.close()
    return tmp_path / "index.sqlite"


def check(index: Index) -> None:
    assert index.get("k") == {"a": 1}
    assert index.notes("listing") == {"x": b"\x00\xff", "y": b"\x01"}
    assert index.note("other", "x") == b"\x02"


def test_an_older_index_is_taken_over(old: Path) -> None:
    index = Index(old)
    check(index)
    index.set_notes("listing", {"x": b"new"})
    assert index.note("listing", "x") == b"new"
    index.close()
    tables = (
        sqlite3.connect(old).execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
    )
    assert tables == [("notes",), ("records",)]


def test_by_one_of_several_at_once(old: Path) -> None:
    failed: list[BaseException] = []

    def use() -> None:
        try:
            index = Index(old)
            check(index)
            index.close()
        except BaseException as err:
            failed.append(err)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    check(Index(old))


def test_a_large_note_is_in_nobodys_way(tmp_path: Path) -> None:
    """Keys are looked for in an index of their own, in which no values stand."""
    index = Index(tmp_path / "index.sqlite")
    index.set_notes("m", {f"{number:03}": bytes(1 << 20) for number in range(5)})
    index.set_notes("m", {f"{number:03}x": b"small" for number in range(5)})
    assert len(index.notes("m")) == 10
    index.close()
    db = sqlite3.connect(tmp_path / "index.sqlite")
    plan = db.execute("EXPLAIN QUERY PLAN SELECT value FROM notes WHERE kind = 'm' AND key = '0'").fetchall()
    assert [row[3] for row in plan] == ["SEARCH notes USING INDEX sqlite_autoindex_notes_1 (kind=? AND key=?)"]
    db.close()


_ON_A_FULL_DISK = """
import os, sys
from pathlib import Path
from treebuilder.errors import NoSpace
from treebuilder.oci.index import Index
top = Path(sys.argv[1])
if sys.argv[2] == "there":
    index = Index(top / "index.sqlite")
    index.put("k", "node", "n", {"a": 1})
    index.close()
fd = os.open(top / "full", os.O_WRONLY | os.O_CREAT)
try:
    while True:
        os.write(fd, bytes(4096))
except OSError:
    pass
index = Index(top / "index.sqlite")
for call in (lambda: index.get("k"), lambda: index.put("l", "node", "n", {"a": "x" * 9000})):
    try:
        print(call())
    except NoSpace as err:
        print(err)
"""


@pytest.mark.engine
@pytest.mark.parametrize("before", ["there", "new"])
def test_a_full_disk_is_no_reason_to_delete_an_index(tmp_path: Path, before: str) -> None:
    """SQLite keeps a file beside it, and where that has no room speaks of an I/O error."""
    need(os.geteuid() == 0, "mounts need root")
    script = 'mount -t tmpfs -o size=400k none "$1" && exec "$0" -c "$2" "$1" "$3"'
    words = privately(script, sys.executable, str(tmp_path), _ON_A_FULL_DISK, before)
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("no space left for the cache index") == 2
