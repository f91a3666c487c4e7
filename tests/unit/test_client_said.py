"""What is said when a change of a root cannot be: which package, which place in which root, and what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.repository_parts import Workshop
from tests.unit.system_parts import System, shop, system
from treebuilder.errors import TreebuildError

__all__ = ["shop", "system"]  # fixtures

DATABASE = "var/lib/treebuild/system.db"


def folder_there(root: Path) -> None:
    (root / "x").mkdir()


def file_there(root: Path) -> None:
    (root / "d").write_text("")


def circle_there(root: Path) -> None:
    (root / "d").symlink_to("e")
    (root / "e").symlink_to("d")


def link_to_database(root: Path) -> None:
    (root / DATABASE).parent.mkdir(parents=True)
    (root / DATABASE).symlink_to("other.db")


def newer_database(root: Path) -> None:
    (root / DATABASE).parent.mkdir(parents=True)
    db = sqlite3.connect(root / DATABASE)
    db.execute("PRAGMA user_version=99")
    db.close()


def database_of_others(root: Path) -> None:
    (root / DATABASE).parent.mkdir(parents=True)
    (root / DATABASE).write_bytes(b"SQLite of nobody\n" * 100)


def journal_of_another(root: Path) -> None:
    (root / ".treebuild-staging").mkdir()
    (root / ".treebuild-staging/journal.json").write_text('{"version": 99}')


def broken_journal(root: Path) -> None:
    (root / ".treebuild-staging").mkdir()
    (root / ".treebuild-staging/journal.json").write_text("{")


@pytest.mark.parametrize(
    ("before", "named"),
    [
        (folder_there, ("ROOT/x is a folder", "t/a-1.0")),
        (file_there, ("ROOT/d is no folder", "t/a-1.0")),
        (circle_there, ("ROOT/d",)),
        (link_to_database, (f"ROOT/{DATABASE}",)),
        (newer_database, (f"ROOT/{DATABASE}", "99")),
        (database_of_others, (f"ROOT/{DATABASE}",)),
        (journal_of_another, ("ROOT/.treebuild-staging/journal.json",)),
        (broken_journal, ("ROOT/.treebuild-staging/journal.json",)),
    ],
)
def test_a_root_in_which_it_cannot_be(
    shop: Workshop, system: System, before: Callable[[Path], None], named: tuple[str, ...]
) -> None:
    shop.package("t/a", {"d": None, "d/a": b"", "x": b""})
    before(system.root)
    with pytest.raises(TreebuildError) as caught:
        system.install("t/a")
    for part in named:
        assert part.replace("ROOT", str(system.root)) in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "packages",
    [
        ({"x": None, "x/a": b""}, {"x": b""}),
        ({"x": b""}, {"x": None, "x/a": b""}),
        ({"x": b""}, {"x": b""}),
    ],
)
def test_packages_that_do_not_fit(
    shop: Workshop, system: System, packages: tuple[dict[str, str | bytes | None], ...]
) -> None:
    for name, files in zip(("t/a", "t/b"), packages, strict=True):
        shop.package(name, files)
    with pytest.raises(TreebuildError) as caught:
        system.install("t/a", "t/b")
    assert {"/x", "t/a-1.0", "t/b-1.0"} <= set(caught.value.message.replace(",", "").split())
    assert caught.value.hint


def test_a_database_that_another_program_has(shop: Workshop, system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.package("t/a", {"a": b""})
    shop.package("t/b", {"b": b""})
    system.install("t/a")
    from treebuilder.client import database

    monkeypatch.setattr(database, "_PATIENCE_S", 0)
    other = sqlite3.connect(system.root / DATABASE, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(TreebuildError) as caught:
        system.install("t/b")
    other.close()
    assert caught.value.reason == "lock-held"
    assert str(system.root / DATABASE) in caught.value.message
    assert caught.value.hint
