"""An upgrade that finds nothing says so from a note, and only while all that its answer follows from is the same."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cases.test_install_verbs import Machine
from tests.unit.repository_parts import workshop
from treebuilder.client.database import SystemDatabase

pytestmark = pytest.mark.engine
_REPOSITORY = "{name: NAME, type: disk, enable: true, priority: AT, urls: [FOLDER]}"


def configure(machine: Machine, *folders: str) -> None:
    """Repositories in the order of preference."""
    given = [
        _REPOSITORY.replace("NAME", f"r{at}").replace("AT", str(at)).replace("FOLDER", folder)
        for at, folder in enumerate(folders)
    ]
    text = f"system: {{rootfs: {machine.root}}}\nrepositories: [{', '.join(given)}]\n"
    (machine.shop.top / "conf.yaml").write_text(text)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with workshop(tmp_path) as shop:
        shop.package("t/a", {"a": b"a"})
        shop.package("t/b", {"b": b"b"}, requires=("t/a",))
        shop.create()
        (tmp_path / "root").mkdir()
        made = Machine(shop, tmp_path / "root")
        configure(made, str(shop.build))
        made.json("install", "t/b")
        assert upgraded(made) == []
        yield made


def upgraded(machine: Machine, *words: str) -> list[tuple[str, str]]:
    """What an upgrade brings. It is said of a dry run, and of another one, first."""
    first, second = (machine.json("upgrade", "--dry-run", *words) for _ in range(2))
    done = machine.json("upgrade", *words)
    answers: list[list[tuple[str, str]]] = [
        [(item["name"], item["version"]) for item in value["installed"]] for value in (first, second, done)
    ]
    assert answers[0] == answers[1] == answers[2]
    return answers[2]


_HEARD = """
import sys
from treebuilder.cli.main import main
called = set()
def hear(frame, event, arg):
    code = frame.f_code
    if event == "call" and code.co_filename.endswith("client/choose.py"):
        called.add(code.co_name)
sys.setprofile(hear)
code = main(sys.argv[1:])
sys.setprofile(None)
print("solve" in called)
sys.exit(code)
"""


def test_nothing_is_searched_for_again(machine: Machine) -> None:
    def run(*words: str) -> list[str]:
        top = machine.shop.top
        given = ["upgrade", *words, "--config", str(top / "conf.yaml"), "--cache-dir", str(top / "cache"), "--quiet"]
        done = subprocess.run([sys.executable, "-c", _HEARD, *given], capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    assert run() == ["Nothing to upgrade", "False"]
    assert run("--sync") == ["Nothing to upgrade", "True"]  # other options are another question
    assert run("--sync") == ["Nothing to upgrade", "False"]
    assert run("--oscheck") == ["Nothing to upgrade", "True"]
    assert run("--oscheck") == ["Nothing to upgrade", "True"]  # files may go at any time


def test_what_is_new_comes(machine: Machine) -> None:
    machine.shop.package("t/a", {"a": b"2"}, version="2.0")
    assert upgraded(machine) == []  # no index names it yet
    machine.shop.create()
    assert upgraded(machine) == [("a", "2.0")]
    assert upgraded(machine) == []


def test_a_hold_and_its_end(machine: Machine) -> None:
    machine.json("hold", "t/a")
    machine.shop.package("t/a", {"a": b"2"}, version="2.0")
    machine.shop.create()
    assert upgraded(machine) == []
    machine.json("unhold", "t/a")
    assert upgraded(machine) == [("a", "2.0")]


def test_another_repository_and_its_end(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    with workshop(tmp_path / "more") as more:
        more.package("t/b", {"b": b"3"}, version="3.0")
        more.create()
        configure(machine, str(machine.shop.build), str(more.build))
        assert upgraded(machine) == [("b", "3.0")]
        configure(machine, str(machine.shop.build))
        assert upgraded(machine) == []


def test_what_was_installed_and_what_went(machine: Machine) -> None:
    machine.shop.package("t/c", {"c": b"c"})
    machine.shop.package("t/c", {"c": b"c2"}, version="2.0")
    machine.shop.create()
    assert upgraded(machine) == []
    machine.json("install", "t/c@1.0")
    assert upgraded(machine) == [("c", "2.0")]
    machine.json("uninstall", "t/c")
    assert upgraded(machine) == []


def test_what_lost_files_is_seen(machine: Machine) -> None:
    assert upgraded(machine, "--oscheck") == []
    (machine.root / "a").unlink()
    assert upgraded(machine) == []
    assert upgraded(machine, "--oscheck") == [("a", "1.0")]
    assert (machine.root / "a").read_bytes() == b"a"


def test_what_was_built_again_and_what_nobody_has(machine: Machine) -> None:
    assert upgraded(machine, "--sync") == []
    assert upgraded(machine, "--clean") == []
    machine.shop.package("t/a", {"a": b"again"})
    machine.shop.create()
    assert upgraded(machine) == []
    assert upgraded(machine, "--sync") == [("a", "1.0")]
    assert (machine.root / "a").read_bytes() == b"again"
    for name in ("b-t-1.0.metadata.yaml", "b-t-1.0.package.tar.zst"):
        (machine.shop.build / name).unlink()
    for path in sorted((machine.shop.tree / "t/b").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    machine.shop.create()
    assert upgraded(machine) == []
    gone: Any = machine.json("upgrade", "--clean")["removed"]
    assert [item["name"] for item in gone] == ["b"]


def test_a_broken_record_is_still_told(machine: Machine) -> None:
    (database,) = machine.root.rglob("system.db")
    assert SystemDatabase(database).state() == SystemDatabase(database).state()
    before = SystemDatabase(database).state()
    with sqlite3.connect(database) as db:
        db.execute("UPDATE packages SET definition = 'x' WHERE name = 'a'")
    db.close()
    assert SystemDatabase(database).state() != before
    code, _, err = machine.say("upgrade")
    assert code == 2
    assert "broken record" in err
