"""Links that lead to folders: what an upgrade makes of them, and what is behind them for others."""

from __future__ import annotations

import os

import pytest

from tests.unit.repository_parts import Workshop
from tests.unit.system_parts import System, in_private_mounts, shop, system
from treebuilder.client import Client, Manner, Protection, SystemRoot
from treebuilder.client import operations as ops
from treebuilder.errors import ConflictError
from treebuilder.system.process import Cancel

__all__ = ["shop", "system"]  # fixtures

_LINKED: dict[str, str | bytes | None] = {"v": None, "v/f": b"1", "cur": "v"}
_PLAIN: dict[str, str | bytes | None] = {"cur": None, "cur/f": b"2"}


@pytest.mark.parametrize("back", [False, True])
def test_a_link_to_a_folder_becomes_a_folder_and_the_reverse(shop: Workshop, system: System, back: bool) -> None:
    first, second = (_PLAIN, _LINKED) if back else (_LINKED, _PLAIN)
    shop.package("t/a", dict(first))
    system.install("t/a")
    shop.package("t/a", dict(second), version="2.0")
    system.upgrade()
    assert system.listing() == {"mine": b"m", **second}
    system.uninstall("t/a")
    assert system.listing() == {"mine": b"m"}


@pytest.mark.parametrize("what", ["another package", "a protected file", "the database"])
def test_a_link_stays_while_something_else_is_behind_it(shop: Workshop, system: System, what: str) -> None:
    shop.package("t/a", dict(_LINKED))
    system.install("t/a")
    manner = Manner()
    root = SystemRoot(system.root)
    if what == "another package":
        shop.package("t/b", {"cur/b": b"b"})
        system.install("t/b")
    elif what == "a protected file":
        manner = Manner(protection=Protection(("/cur/",)))
        (system.root / "v/f").write_bytes(b"edited")
    else:
        (system.root / "var/lib/treebuild").rename(system.root / "v/db")
        root = SystemRoot(system.root, "/cur/db")
    shop.package("t/a", dict(_PLAIN), version="2.0")
    packages = shop.packages()
    Client(shop.events, Cancel()).run(
        "upgrade", root, lambda d: ops.upgrade(ops.UpgradeRequest(), packages, d, system.root), manner
    )
    assert os.readlink(system.root / "cur") == "v"
    there = {"another package": ("b", b"b"), "a protected file": ("f", b"edited"), "the database": ("f", b"2")}
    name, content = there[what]
    assert (system.root / "cur" / name).read_bytes() == content


@pytest.mark.parametrize(("alias", "target"), [("lib", "usr/lib"), ("usr/al", "lib/cur"), ("al", "/usr/lib/cur")])
def test_a_link_stays_while_others_have_something_behind_it_by_another_way(
    shop: Workshop, system: System, alias: str, target: str
) -> None:
    (system.root / "usr/lib").mkdir(parents=True)
    (system.root / alias).symlink_to(target)
    shop.package("t/a", {"usr/lib/v": None, "usr/lib/v/f": b"1", "usr/lib/cur": "v"})
    system.install("t/a")
    plug = "lib/cur/plug" if alias == "lib" else f"{alias}/plug"
    shop.package("t/b", {plug: b"b"})
    system.install("t/b")
    shop.package("t/a", {"usr/lib/cur": None, "usr/lib/cur/f": b"2"}, version="2.0")
    system.upgrade()
    assert os.readlink(system.root / "usr/lib/cur") == "v"
    assert (system.root / "usr/lib/v/plug").read_bytes() == b"b"
    assert (system.root / "usr/lib/cur/f").read_bytes() == b"2"
    system.uninstall("t/b")
    assert not [name for name in system.listing() if name.endswith("plug")]


@pytest.mark.parametrize("way", ["becomes a folder", "goes with an upgrade", "goes with its package"])
def test_a_link_on_the_way_to_the_database_stays(shop: Workshop, system: System, way: str) -> None:
    (system.root / "v").mkdir()
    (system.root / "state").symlink_to("v")
    (system.root / "var").mkdir()
    (system.root / "var/lib").symlink_to("../state")
    shop.package("t/a", {"state": "v"})
    shop.package("t/z", {"z": b"1"})
    (system.root / "v/treebuild").mkdir()
    system.install("t/a", "t/z")
    assert (system.root / "v/treebuild/system.db").is_file()
    if way == "goes with its package":
        system.uninstall("t/a")
        assert system.installed() == ["t/z-1.0"]
        assert os.readlink(system.root / "state") == "v"
        return
    new: dict[str, str | bytes | None] = {"state": None, "state/f": b"2"} if way == "becomes a folder" else {"f": b"2"}
    shop.package("t/a", new, version="2.0")
    system.upgrade()
    assert system.installed() == ["t/a-2.0", "t/z-1.0"]
    assert os.readlink(system.root / "state") == "v"


@pytest.mark.parametrize("new", ["w", b"2"])
def test_the_way_to_the_database_leads_nowhere_else(shop: Workshop, system: System, new: str | bytes) -> None:
    (system.root / "v/treebuild").mkdir(parents=True)
    (system.root / "state").symlink_to("v")
    (system.root / "var").mkdir()
    (system.root / "var/lib").symlink_to("../state")
    shop.package("t/a", {"state": "v"})
    system.install("t/a")
    shop.package("t/a", {"state": new}, version="2.0")
    before = system.listing()
    with pytest.raises(ConflictError) as caught:
        system.upgrade()
    assert "t/a-2.0 holds /state, in place of a link" in caught.value.message
    assert "--system-dbpath /v/treebuild" in str(caught.value.hint)
    assert (system.listing(), system.installed()) == (before, ["t/a-1.0"])
    shop.package("t/a", {"state": "./v"}, version="3.0")
    system.upgrade()
    assert system.installed() == ["t/a-3.0"]


def test_a_folder_on_the_way_to_the_database_becomes_no_link(shop: Workshop, system: System) -> None:
    shop.package("t/a", {"a": b"1"})
    system.install("t/a")
    shop.package("t/a", {"var": "w"}, version="2.0")
    with pytest.raises(ConflictError):
        system.upgrade()
    assert system.installed() == ["t/a-1.0"]


_DEEP: dict[str, str | bytes | None] = {"v": None, "v/sub": None, "v/sub/x": b"1", "cur": "v"}
_FLAT: dict[str, str | bytes | None] = {"v": None, "v/sub": b"1", "cur": "v"}
_HOST: dict[str, str | bytes | None] = {"cur": "/usr"}


@pytest.mark.parametrize("old", [_DEEP, _FLAT, _HOST])
@pytest.mark.parametrize("sub", [{"cur/sub": b"2"}, {"cur/sub": None, "cur/sub/x": b"2"}, {"cur/bin": b"2"}])
def test_what_was_behind_a_link_is_in_nobodys_way(
    shop: Workshop, system: System, old: dict[str, str | bytes | None], sub: dict[str, str | bytes | None]
) -> None:
    shop.package("t/a", dict(old))
    system.install("t/a")
    new = {"cur": None, **sub}
    shop.package("t/a", dict(new), version="2.0")
    system.upgrade()
    assert system.listing() == {"mine": b"m", **new}


@pytest.mark.engine
def test_what_a_link_that_goes_leads_to_may_be_a_file_system_of_its_own(shop: Workshop, system: System) -> None:
    """What does not fit there, and need not, for it comes into a folder in the link's place."""
    shop.package("t/a", {"v": None, "cur": "v"})
    system.install("t/a")
    shop.package("t/a", {"v": None, "cur": None, "cur/f": bytes(1 << 20)}, version="2.0")
    shop.packages()
    code = (
        "with workshop(top) as shop:\n    system = System(shop, top / 'root')\n    system.upgrade()\n"
        "    print(system.installed(), len(system.listing()['cur/f']))\n"
    )
    done = in_private_mounts(shop, f"mount -t tmpfs -o size=64k none {system.root}/v", code)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "['t/a-2.0'] 1048576\n")


@pytest.mark.parametrize("first", [{"lib/cur": "v"}, {"usr/lib/cur": "v"}])
@pytest.mark.parametrize("second", [{"lib/cur/sub/f": b"2"}, {"usr/lib/cur": None, "usr/lib/cur/sub/f": b"2"}])
def test_a_link_becomes_a_folder_whatever_way_the_package_names_it(
    shop: Workshop, system: System, first: dict[str, str | bytes | None], second: dict[str, str | bytes | None]
) -> None:
    (system.root / "usr/lib/v").mkdir(parents=True)
    (system.root / "lib").symlink_to("usr/lib")
    shop.package("t/a", dict(first))
    system.install("t/a")
    shop.package("t/a", dict(second), version="2.0")
    system.upgrade()
    assert not (system.root / "usr/lib/cur").is_symlink()
    assert (system.root / "usr/lib/cur/sub/f").read_bytes() == b"2"
    assert not list((system.root / "usr/lib/v").iterdir())


def test_a_library_that_moves_behind_a_link_is_not_lost(shop: Workshop, system: System) -> None:
    (system.root / "usr/lib").mkdir(parents=True)
    (system.root / "lib").symlink_to("usr/lib")
    shop.package("t/a", {"lib/x": b"1"})
    system.install("t/a")
    shop.package("t/a", {"usr/lib/x": b"2"}, version="2.0")
    system.upgrade()
    assert (system.root / "lib/x").read_bytes() == b"2"
