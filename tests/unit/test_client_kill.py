"""What may stop a change, or be left of one: databases, journals, disks, finalizers. Kills: test_client_every_step."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.services import need
from tests.unit.repository_parts import Workshop
from tests.unit.system_parts import System, shop, system
from treebuilder.client import Change
from treebuilder.client.places import delete
from treebuilder.errors import StateCorrupt, TreebuildError, UnsafeArchive
from treebuilder.model.package import Finalizer
from treebuilder.records import replace

__all__ = ["shop", "system"]  # fixtures


def first(shop: Workshop) -> None:
    linked = {"v": None, "v/f": b"1", "cur": "v"}
    shop.package("t/a", {"usr": None, "usr/a": b"1", "usr/gone": b"1", "x": b"file", **linked})
    shop.package("t/b", {"usr": None, "usr/b": b"1", "usr/l": "b", "etc": None, "etc/b": b"1"}, requires=("t/a",))


def second(shop: Workshop) -> None:
    plain = {"cur": None, "cur/f": b"2"}
    shop.package("t/a", {"usr": None, "usr/a": b"2", "x": None, "x/y": b"now a folder", **plain}, version="2.0")
    shop.package(
        "t/b", {"usr": None, "usr/b": b"2", "usr/l": "a", "new": None, "new/b": b"2"}, version="2.0", requires=("t/a",)
    )


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


# disks ---------------------------------------------------------------------------------------------------------------
def in_private_mounts(
    shop: Workshop, mount: str, code: str, *, replaced: bool = True
) -> subprocess.CompletedProcess[str]:
    """Runs Python with the root on a file system of its own; in place of the shell, or below it."""
    need(os.geteuid() == 0, "mounts need root")
    head = (
        "import os, sys\nfrom pathlib import Path\nfrom tests.unit.repository_parts import workshop\n"
        "from tests.unit.system_parts import System\nfrom treebuilder.errors import *\n"
        f"top = Path({str(shop.top)!r})\n"
    )
    script = f'{mount} && {"exec " if replaced else ""}"$0" -c "$1"'
    words = ["unshare", "-m", "sh", "-c", script, sys.executable, head + code]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.engine
def test_a_full_disk_changes_nothing(shop: Workshop, system: System) -> None:
    first(shop)
    shop.package("t/big", {"usr": None, "usr/big": os.urandom(3 << 20)}, requires=("t/a",))
    done = in_private_mounts(
        shop, f"mount -t tmpfs -o size=1m none {system.root}",
        "with workshop(top) as shop:\n"
        "    system = System(shop, top / 'root')\n    system.install('t/b')\n    before = system.listing()\n"
        "    try:\n        system.install('t/big')\n    except NoSpace as err:\n        print(err.message)\n"
        "    assert system.listing() == before, system.listing()\n"
        "    assert system.installed() == ['t/a-1.0', 't/b-1.0']\n    system.uninstall('t/b')\n",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "no space left" in done.stdout


@pytest.mark.engine
def test_a_disk_of_any_size_has_room_for_all_of_a_change_or_none(shop: Workshop, system: System) -> None:
    """Also for what is written after the files are switched: folders, the database."""
    first(shop)
    many = {f"d{at}/f{at}": b"" for at in range(80)}
    shop.package("t/many", {**dict.fromkeys(name.partition("/")[0] for name in many), **many})
    code = """
with workshop(top) as shop:
    system = System(shop, top / "root")
    shop.packages()
    system.install("t/b")
    pages, ends = 0, set()
    for left in (1, 2, 3, 5, 8, 11, 15, 20, 25, 30, 40, 50, 60, 70, 80, 100):
        pad = system.root / "pad"
        pad.unlink(missing_ok=True)
        with pad.open("wb") as out:
            os.posix_fallocate(out.fileno(), 0, (os.statvfs(system.root).f_bavail - left) * 4096)
        before = {name: value for name, value in system.listing().items() if name != "pad"}
        try:
            system.install("t/many")
        except NoSpace:
            after = {name: value for name, value in system.listing().items() if name != "pad"}
            assert (after, system.installed()) == (before, ["t/a-1.0", "t/b-1.0"]), left
            ends.add("none")
            continue
        assert system.installed() == ["t/a-1.0", "t/b-1.0", "t/many-1.0"], left
        assert not list(system.root.glob(".treebuild*"))
        ends.add("all")
        system.uninstall("t/many")
    print(sorted(ends))
"""
    done = in_private_mounts(shop, f"mount -t tmpfs -o size=1m none {system.root}", code)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "['all', 'none']\n")


_HELD = """
with workshop(top) as shop:
    system = System(shop, top / "root")
    before = system.listing()
    try:
        system.upgrade()
    except TreebuildError as err:
        print(err.reason, "/root/" in err.message, bool(err.hint))
    assert system.listing() == before
    assert system.installed() == ["t/a-1.0", "t/b-1.0"]
"""


@pytest.mark.engine
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("mount --bind ROOT/usr/a ROOT/usr/a", "mounted"),  # a file that is replaced
        ("mount --bind ROOT/usr/gone ROOT/usr/gone", "mounted"),  # one that is removed
        ("mount -t tmpfs none ROOT/d", "mounted"),  # a folder that a file comes for
        ("mount --bind ROOT/usr ROOT/usr && mount -o remount,bind,ro ROOT/usr", "permission"),
        ("chattr +i ROOT/etc/b && trap 'chattr -i ROOT/etc/b' EXIT", "permission"),
        ("chattr +i ROOT/usr && trap 'chattr -i ROOT/usr' EXIT", "permission"),
        ("chattr +a ROOT/usr/a && trap 'chattr -a ROOT/usr/a' EXIT", "permission"),
    ],
)
def test_what_would_stop_a_change_in_the_middle_is_found_before(
    shop: Workshop, system: System, how: str, reason: str
) -> None:
    if how.startswith("chattr"):
        (shop.top / "probe").touch()
        flags = subprocess.run(["chattr", "+A", shop.top / "probe"], capture_output=True, check=False)
        need(flags.returncode == 0, "a file system with attributes of files")
    first(shop)
    shop.package("t/a", {"usr": None, "usr/a": b"1", "usr/gone": b"1", "d": None, "d/x": b"1"})
    system.install("t/b")
    second(shop)
    shop.package("t/a", {"usr": None, "usr/a": b"2", "d": b"now a file"}, version="2.0")
    shop.package("t/b", {"usr": None, "etc": None, "etc/b": b"2"}, version="2.0", requires=("t/a",))
    shop.packages()
    done = in_private_mounts(shop, how.replace("ROOT", str(system.root)), _HELD, replaced=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", f"{reason} True True\n")
    system.upgrade()
    assert system.installed() == ["t/a-2.0", "t/b-2.0"]


@pytest.mark.engine
def test_a_root_that_cannot_be_written_is_said(shop: Workshop, system: System) -> None:
    first(shop)
    system.install("t/a")
    code = (
        "with workshop(top) as shop:\n    system = System(shop, top / 'root')\n    shop.packages()\n"
        "    for run in (lambda: system.install('t/b'), lambda: system.uninstall('t/a')):\n"
        "        try:\n            run()\n        except TreebuildError as err:\n            print(err.reason)\n"
        "    assert system.installed() == ['t/a-1.0']\n"
    )
    mount = f"mount --bind {system.root} {system.root} && mount -o remount,bind,ro {system.root}"
    done = in_private_mounts(shop, mount, code)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "permission\npermission\n")


_ORDER = """
with workshop(top) as shop:
    system = System(shop, top / "root")
    system.install("t/a")
    shop.package("t/b", {"usr": None, "usr/b": b"1"})
    shop.packages()
    seen, sync = [], os.sync
    os.sync = lambda: (seen.append("sync"), sync())[1]
    def note(event, args):
        if event == "open" and args[0] == "b" and args[2] & os.O_WRONLY and "journal" in seen:
            seen.append("copy")
        if event == "os.rename" and str(args[1]).endswith("journal.json"):
            seen.append("journal")
        if event == "os.remove" and args[0] == "b" and "copy" in seen:
            seen.append("remove")
    sys.addaudithook(note)
    system.install("t/b")
    print(*seen, system.listing()["usr/b"])
    seen.clear()
    system.uninstall("t/b")
    print(*seen)
"""


@pytest.mark.engine
def test_what_is_copied_into_another_file_system_is_there_for_certain_before_its_origin_goes(
    shop: Workshop, system: System
) -> None:
    """Renames are kept in order by one file system; a copy in another is nothing yet when the power goes."""
    shop.package("t/a", {"x": b"1"})
    (system.root / "usr").mkdir()
    done = in_private_mounts(shop, f"mount -t tmpfs none {system.root}/usr", _ORDER)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "sync journal copy sync remove b'1'\njournal\n")


# finalizers ----------------------------------------------------------------------------------------------------------
_BOX = {"bin": None, "bin/busybox": Path("/bin/busybox"), "bin/sh": "busybox"}


def box() -> dict[str, str | bytes | None]:
    return {name: item.read_bytes() if isinstance(item, Path) else item for name, item in _BOX.items()}


@pytest.mark.engine
def test_uninstall_commands_run_at_the_end_and_equal_ones_once(shop: Workshop, system: System) -> None:
    run = "uninstall:\n- test ! -e /a; echo gone >> /log; busybox chown 7:8 /log\n"
    shop.package("t/box", box())
    shop.package("t/a", {"a": b""}, requires=("t/box",), finalize=run)
    shop.package("t/b", {"b": b""}, requires=("t/box",), finalize=run)
    system.install("t/a", "t/b")
    assert not (system.root / "log").exists()
    system.uninstall("t/a", "t/b")
    assert (system.root / "log").read_text() == "gone\n"
    info = (system.root / "log").stat()
    assert (info.st_uid, info.st_gid) == (7, 8)


@pytest.mark.engine
def test_a_finalizer_that_hangs_is_ended(shop: Workshop, system: System) -> None:
    from treebuilder.client import Environment, FinalizerFailed, Manner

    shop.package("t/a", box(), finalize="install:\n- while true; do busybox sleep 1; done\n")
    with pytest.raises(FinalizerFailed) as caught:
        system.install("t/a", manner=Manner(environment=Environment(more=(("K", "v"),), timeout_s=0.5)))
    assert "took longer" in caught.value.message
    assert system.installed() == ["t/a-1.0"]


_LATE = """
with workshop(top) as shop:
    system = System(shop, top / "root")
    packages = shop.packages()
    shop.packages = lambda: packages
    begun, late = [], []
    def note(event, args):
        if event == "os.rename" and str(args[1]).endswith("journal.json"):
            begun.append(True)
        if event == "import" and begun:
            late.append(args[0])
    sys.addaudithook(note)
    system.install("t/a")
    print(bool(begun), late, (system.root / "log").read_text())
"""


@pytest.mark.engine
def test_nothing_is_loaded_once_files_are_switched(shop: Workshop, system: System) -> None:
    """A change may bring another Python, or another treebuild, whose modules are none of ours."""
    shop.package("t/a", box(), finalize="install:\n- echo ran > /log\n")
    done = in_private_mounts(shop, "true", _LATE)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "True [] ran\n\n")


def test_a_record_keeps_what_runs_when_its_package_goes(shop: Workshop, system: System) -> None:
    shop.package("t/a", {"a": b""}, finalize="uninstall:\n- echo bye\n")
    system.install("t/a")
    database = system.database()
    (record,) = database.records(entries=True)
    database.close()
    assert record.finalizer == Finalizer(("sh", "-c"), (), ("echo bye",))
    with pytest.raises(TreebuildError):  # there is no shell in this root
        system.uninstall("t/a")
    assert (system.installed(), system.listing()) == ([], {"mine": b"m"})


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
