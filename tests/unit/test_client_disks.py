"""Disks that are full, mounted or not to be written: a change is made whole, or not begun."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.services import need
from tests.unit.repository_parts import Workshop
from tests.unit.system_parts import System, first, in_private_mounts, second, shop, system

__all__ = ["shop", "system"]  # fixtures


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
