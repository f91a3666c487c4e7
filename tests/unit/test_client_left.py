"""Databases, journals and folders that killed runs, older versions or others left."""

from __future__ import annotations

import json
import sqlite3

import pytest

from tests.unit.repository_parts import Workshop
from tests.unit.system_parts import System, first, shop, system
from treebuilder.client import Change
from treebuilder.client.places import delete
from treebuilder.errors import StateCorrupt, UnsafeArchive
from treebuilder.records import replace

__all__ = ["shop", "system"]  # fixtures


# databases -----------------------------------------------------------------------------------------------------------
def test_a_database_of_the_first_form_is_moved_on(shop: Workshop, system: System) -> None:
    place = system.root / "var/lib/treebuild"
    place.mkdir(parents=True)
    db = sqlite3.connect(place / "system.db")
    db.executescript(
        "CREATE TABLE packages (id INTEGER PRIMARY KEY, category TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT "
        "NULL, repository TEXT NOT NULL, sha256 TEXT NOT NULL, build_time TEXT NOT NULL, definition TEXT NOT NULL, "
        "UNIQUE (category, name, version));"
        "CREATE TABLE files (path BLOB NOT NULL, package INTEGER NOT NULL REFERENCES packages (id) ON DELETE CASCADE, "
        "position INTEGER NOT NULL, kind TEXT NOT NULL, PRIMARY KEY (path, package)) WITHOUT ROWID;"
        "CREATE INDEX files_package ON files (package, position);"
        "CREATE TABLE pending (position INTEGER PRIMARY KEY, finalizer TEXT NOT NULL);"
        """INSERT INTO packages VALUES (1, 't', 'old', '1', 'r', '', '', '{"id": ["t", "old", "1"], "requires": [],
        "conflicts": [], "provides": [], "labels": {}, "annotations": {}, "description": "", "license": "",
        "uri": [], "hidden": false, "use_flags": []}');"""
        "INSERT INTO files VALUES (CAST('mine' AS BLOB), 1, 0, 'f'); PRAGMA user_version=1;"
    )
    db.close()
    first(shop)
    system.install("t/a")
    assert system.installed() == ["t/a-1.0", "t/old-1"]
    system.uninstall("t/old")
    assert not (system.root / "mine").exists()


def test_a_database_of_a_newer_form_or_cut_in_half_changes_nothing(shop: Workshop, system: System) -> None:
    first(shop)
    system.install("t/b")
    path = system.root / "var/lib/treebuild/system.db"
    whole = path.read_bytes()
    before = system.listing()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StateCorrupt):
        system.uninstall("t/b")
    path.write_bytes(whole)
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(StateCorrupt) as caught:
        system.uninstall("t/b")
    assert "newer" in caught.value.message
    assert system.listing() == before


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 3}', '{"version": 2}'])
def test_a_broken_journal_is_said_and_nothing_is_touched(shop: Workshop, system: System, text: str) -> None:
    first(shop)
    (system.root / ".treebuild-staging").mkdir()
    (system.root / ".treebuild-staging/journal.json").write_text(text)
    before = system.listing()
    with pytest.raises(StateCorrupt):
        system.install("t/a")
    assert system.listing() == before


# what others left ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", [".treebuild-filling", ".treebuild-filled", ".treebuild-staging"])
@pytest.mark.parametrize("link", [False, True])
def test_what_is_no_folder_of_ours_is_said_and_nothing_deleted(
    shop: Workshop, system: System, name: str, link: bool
) -> None:
    first(shop)
    (shop.top / "elsewhere").mkdir()
    (shop.top / "elsewhere/precious").write_bytes(b"p")
    place = system.root / name
    place.symlink_to(shop.top / "elsewhere") if link else place.touch()
    before = system.listing()
    with pytest.raises(StateCorrupt) as caught:
        system.install("t/a")
    assert "remove it" in (caught.value.hint or "")
    assert system.listing() == before
    assert (shop.top / "elsewhere/precious").exists()


def test_only_the_folder_of_an_interrupted_filling_is_thrown_away(shop: Workshop, system: System) -> None:
    shop.package("t/a", {"usr": None, "usr/a": b"1"})
    (system.root / ".treebuild-filling/usr").mkdir(parents=True)
    system.install("t/a")
    assert system.listing() == {"mine": b"m", "usr": None, "usr/a": b"1"}


def test_what_was_filled_moves_up_and_over_nothing(shop: Workshop, system: System) -> None:
    first(shop)
    (system.root / ".treebuild-filled").mkdir()
    (system.root / ".treebuild-filled/mine").write_bytes(b"other")
    with pytest.raises(StateCorrupt) as caught:
        system.install("t/a")
    assert ".treebuild-filled/mine" in caught.value.message
    assert (system.root / "mine").read_bytes() == b"m"
    (system.root / "mine").unlink()
    system.install("t/a")
    assert (system.root / "mine").read_bytes() == b"other"


_BAD_PATHS = ["../victim", "/victim", "usr/../../victim", "a\0b", "", "a//b", ".treebuild-staging/journal.json"]


@pytest.mark.parametrize("path", _BAD_PATHS)
@pytest.mark.parametrize("where", ["first", "later"])
def test_a_journal_is_not_obeyed_outside_of_its_root(shop: Workshop, system: System, path: str, where: str) -> None:
    first(shop)
    victim = shop.top / "victim"
    victim.write_bytes(b"v")
    journal = {
        "version": 2, "records": [], "removed": [], "first": [], "later": [], "finalizers": [],
        "database_path": "/var/lib/treebuild", "record": False,
    } | {where: [["mine", "f"], [path, "f"]]}  # fmt: skip
    (system.root / ".treebuild-staging").mkdir()
    (system.root / ".treebuild-staging/journal.json").write_text(json.dumps(journal))
    with pytest.raises(StateCorrupt):
        system.run("autoremove", lambda _, d: Change())
    assert (victim.read_bytes(), (system.root / "mine").read_bytes()) == (b"v", b"m")


@pytest.mark.parametrize("path", _BAD_PATHS)
def test_nothing_is_deleted_by_a_path_that_leads_out(shop: Workshop, system: System, path: str) -> None:
    (shop.top / "victim").write_bytes(b"v")
    (system.root / "usr").mkdir()
    with pytest.raises(UnsafeArchive):
        delete(system.root, [("mine", "f"), (path, "f")])
    assert ((shop.top / "victim").exists(), (system.root / "mine").exists()) == (True, True)


@pytest.mark.parametrize("path", _BAD_PATHS)
def test_a_record_with_such_a_path_is_not_believed(shop: Workshop, system: System, path: str) -> None:
    """Neither written, nor obeyed when a database has it already."""
    first(shop)
    system.install("t/a")
    (shop.top / "victim").write_bytes(b"v")
    database = system.database()
    (record,) = database.records(entries=True)
    with pytest.raises(UnsafeArchive):
        database.settle((), [replace(record, entries=((path, "f"),))], ())
    database.close()
    db = sqlite3.connect(system.root / "var/lib/treebuild/system.db")
    db.execute("UPDATE files SET path = ? WHERE path = CAST('usr/a' AS BLOB)", (path.encode(),))
    db.commit()
    db.close()
    before = system.listing()
    with pytest.raises(StateCorrupt) as caught:
        system.uninstall("t/a")
    assert repr(path) in caught.value.message
    assert (system.listing(), (shop.top / "victim").exists()) == (before, True)


def test_an_empty_database_is_no_empty_system(shop: Workshop, system: System) -> None:
    first(shop)
    system.install("t/a")
    (system.root / "var/lib/treebuild/system.db").write_bytes(b"")
    with pytest.raises(StateCorrupt):
        system.installed()
    with pytest.raises(StateCorrupt):
        system.install("t/b")
    assert (system.root / "var/lib/treebuild/system.db").read_bytes() == b""


def test_records_of_ours_are_not_deleted_with_a_package_that_claims_them(shop: Workshop, system: System) -> None:
    first(shop)
    system.install("t/a")
    database = system.database()
    (record,) = database.records(entries=True)
    database.settle((), [replace(record, entries=(("usr/a", "f"), ("var/lib/treebuild/system.db", "f")))], ())
    database.close()
    system.uninstall("t/a")
    assert (system.installed(), (system.root / "usr/a").exists()) == ([], False)
