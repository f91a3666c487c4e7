"""Uninstalling, upgrading, exchanging: what goes, what stays, and that nothing is ever half done."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.unit.repository_parts import Workshop, ref
from tests.unit.system_parts import System, came, shop, system, went
from treebuilder.client import InstallRequest, Manner, NotConfirmed, Protection
from treebuilder.client import operations as ops
from treebuilder.client.uninstall import autoremove
from treebuilder.errors import ConflictError, TreebuildError, UnsafeArchive, Unsatisfiable
from treebuilder.events import Warned

__all__ = ["shop", "system"]  # fixtures


def three(shop: Workshop) -> None:
    """luet's own example: b requires a, c stands alone."""
    shop.package("t/a", {"usr": None, "usr/a": b"a"})
    shop.package("t/b", {"usr": None, "usr/b": b"b", "etc": None, "etc/b": "x"}, requires=("t/a",))
    shop.package("t/c", {"c": b"c"})


# uninstall -----------------------------------------------------------------------------------------------------------
def test_what_is_uninstalled_leaves_nothing_behind(shop: Workshop, system: System) -> None:
    three(shop)
    system.install("t/b", "t/c")
    report = system.uninstall("t/b")
    assert (went(report), came(report)) == (["t/b-1.0"], [])
    assert system.listing() == {"mine": b"m", "usr": None, "usr/a": b"a", "c": b"c"}
    assert system.installed() == ["t/a-1.0", "t/c-1.0"]


@pytest.mark.parametrize(
    ("word", "flags", "left"),
    [
        ("t/b", {"full": True}, ["t/c-1.0"]),
        ("t/a", {"users_too": True}, ["t/c-1.0"]),
        ("t/b", {"users_too": True}, ["t/c-1.0"]),
        ("t/a", {"check": False}, ["t/b-1.0", "t/c-1.0"]),
        ("t/c", {"full": True}, ["t/a-1.0", "t/b-1.0"]),
    ],
)
def test_how_far_an_uninstallation_goes(
    shop: Workshop, system: System, word: str, flags: dict[str, Any], left: list[str]
) -> None:
    three(shop)
    system.install("t/b", "t/c")
    system.uninstall(word, **flags)
    assert system.installed() == left


def test_what_others_need_is_not_removed(shop: Workshop, system: System) -> None:
    three(shop)
    system.install("t/b")
    before = system.listing()
    with pytest.raises(TreebuildError) as caught:
        system.uninstall("t/a")
    assert caught.value.reason == "needed"
    assert "t/b-1.0" in caught.value.message
    assert (system.listing(), system.installed()) == (before, ["t/a-1.0", "t/b-1.0"])


def test_what_is_not_installed_is_said(shop: Workshop, system: System) -> None:
    three(shop)
    system.install("t/a")
    for word in ("t/c", "t/a@2.0"):
        with pytest.raises(TreebuildError) as caught:
            system.uninstall(word)
        assert caught.value.reason == "not-installed"


def test_what_somebody_asked_for_stays_when_nothing_needs_it(shop: Workshop, system: System) -> None:
    three(shop)
    system.install("t/a", "t/b")
    assert went(system.uninstall("t/b", full=True)) == ["t/b-1.0"]
    system.install("t/b")
    assert went(system.uninstall("t/b", full=True, every_need=True)) == ["t/a-1.0", "t/b-1.0"]


def test_autoremove_takes_what_nobody_needs(shop: Workshop, system: System) -> None:
    three(shop)
    system.install("t/b", "t/c")
    assert system.run("autoremove", lambda _, d: autoremove(d)).state == "nothing"
    system.uninstall("t/b")
    assert went(system.run("autoremove", lambda _, d: autoremove(d))) == ["t/a-1.0"]
    assert system.installed() == ["t/c-1.0"]


def test_files_that_two_packages_have_stay_with_the_other(shop: Workshop, system: System) -> None:
    shop.package("t/a", {"d": None, "d/same": b"a", "d/a": b"a"})
    shop.package("t/b", {"d": None, "d/same": b"b"})
    system.install("t/a")
    with pytest.raises(ConflictError):
        system.install("t/b")
    system.install("t/b", force=True)
    assert any("file conflict found" in e.message for e in shop.events.events if isinstance(e, Warned))
    system.uninstall("t/a")
    assert system.listing() == {"mine": b"m", "d": None, "d/same": b"b"}
    system.uninstall("t/b")
    assert system.listing() == {"mine": b"m"}


MERGED = [("lib", "usr/lib"), ("usr/lib", "../lib"), ("lib", "/usr/lib")]


@pytest.mark.parametrize(("link", "target"), MERGED)
@pytest.mark.parametrize("first", ["lib/foo", "usr/lib/foo"])
def test_a_file_in_two_packages_is_seen_through_links(
    shop: Workshop, system: System, link: str, target: str, first: str
) -> None:
    second = "usr/lib/foo" if first == "lib/foo" else "lib/foo"
    shop.package("t/a", {first: b"a"})
    shop.package("t/b", {second: b"b"})
    (system.root / "usr").mkdir()
    (system.root / link).symlink_to(target)
    folder = system.root / ("lib" if link == "usr/lib" else "usr/lib")
    folder.mkdir()
    before = system.listing()
    with pytest.raises(ConflictError):  # both at once
        system.install("t/a", "t/b")
    assert system.listing() == before
    system.install("t/a")
    with pytest.raises(ConflictError):  # one after the other
        system.install("t/b")
    assert (folder / "foo").read_bytes() == b"a"
    system.install("t/b", force=True)
    assert (folder / "foo").read_bytes() == b"b"
    system.uninstall("t/b")  # it is a's still
    assert (folder / "foo").exists()
    system.uninstall("t/a")
    assert not (folder / "foo").exists()


def test_a_link_that_one_package_brings_leads_the_files_of_another(shop: Workshop, system: System) -> None:
    shop.package("t/base", {"usr": None, "usr/lib": None, "usr/lib/foo": b"1", "lib": "usr/lib"})
    shop.package("t/foo", {"lib": None, "lib/foo": b"2"})
    shop.package("t/bar", {"lib": None, "lib/bar": b"3"})
    shop.package("t/file", {"usr": b"no folder"})
    empty = System(shop, shop.top / "empty")
    empty.root.mkdir()
    for target in (system, empty):
        before = target.listing()
        for words in (("t/base", "t/foo"), ("t/foo", "t/base"), ("t/base", "t/file")):
            with pytest.raises((ConflictError, UnsafeArchive)):
                target.install(*words)
            assert target.listing() == before
        target.install("t/base", "t/bar")
        assert (target.root / "usr/lib/bar").read_bytes() == b"3"


def test_folders_with_things_of_others_stay(shop: Workshop, system: System) -> None:
    shop.package("t/a", {"opt/a/deep/file": b"a", "opt/a/other": b"o"})
    system.install("t/a")
    (system.root / "opt/a/deep/mine").write_bytes(b"mine")
    (system.root / "opt/a/other").unlink()
    system.uninstall("t/a")
    assert system.listing() == {
        "mine": b"m", "opt": None, "opt/a": None, "opt/a/deep": None, "opt/a/deep/mine": b"mine"
    }  # fmt: skip


def test_removal_goes_through_links_inside_and_never_out(shop: Workshop, system: System) -> None:
    (system.root / "usr/lib").mkdir(parents=True)
    (system.root / "lib").symlink_to("usr/lib")
    outside = shop.top / "outside"
    outside.mkdir()
    (outside / "x").write_bytes(b"precious")
    shop.package("t/a", {"lib/x": b"x", "srv/x": b"x"})
    system.install("t/a")
    (system.root / "srv/x").unlink()
    (system.root / "srv").rmdir()
    (system.root / "srv").symlink_to(outside)
    system.uninstall("t/a")
    assert (outside / "x").read_bytes() == b"precious"
    assert list((system.root / "usr/lib").iterdir()) == []
    assert os.readlink(system.root / "lib") == "usr/lib"


# upgrade -------------------------------------------------------------------------------------------------------------
def test_an_upgrade_exchanges_files(shop: Workshop, system: System) -> None:
    shop.package("t/a", {"etc": None, "etc/old": b"1", "etc/both": b"1", "gone": None, "gone/x": b"1"})
    shop.package("t/b", {"b": b"b"}, requires=("t/a",))
    system.install("t/b")
    shop.package("t/a", {"etc": None, "etc/new": b"2", "etc/both": b"2"}, version="2.0")
    report = system.upgrade()
    assert [(o.version, n.version) for o, n in report.exchanged] == [("1.0", "2.0")]
    assert system.listing() == {
        "mine": b"m", "b": b"b", "etc": None, "etc/new": b"2", "etc/both": b"2"
    }  # fmt: skip
    assert system.installed() == ["t/a-2.0", "t/b-1.0"]
    assert system.upgrade().state == "nothing"
    system.uninstall("t/b", full=True)  # a came as a dependency, and still is one
    assert system.installed() == []


def test_an_upgrade_succeeds_where_installed_packages_pin_versions(shop: Workshop, system: System) -> None:
    shop.package("t/a", {"a": b"1"})
    shop.package("t/pin", {"pin": b""}, requires=("t/a@<2.0",))
    shop.package("t/c", {"c": b"1"})
    system.install("t/pin", "t/c")
    shop.package("t/a", {"a": b"2"}, version="2.0")
    shop.package("t/c", {"c": b"2"}, version="2.0")
    assert came(system.upgrade()) == ["t/c-2.0"]
    assert system.installed() == ["t/a-1.0", "t/c-2.0", "t/pin-1.0"]


def test_what_is_held_stays(shop: Workshop, system: System) -> None:
    three(shop)
    system.install("t/a", "t/c")
    database = system.database()
    database.hold(["t/a"], True)
    database.close()
    for name in ("a", "c"):
        shop.package(f"t/{name}", {name: b"2"}, version="2.0")
    assert came(system.upgrade()) == ["t/c-2.0"]
    database = system.database()
    assert database.holds() == {"t/a"}
    database.hold(["t/a"], False)
    database.close()
    assert came(system.upgrade()) == ["t/a-2.0"]


def test_upgrades_of_rebuilt_missing_and_orphaned_packages(shop: Workshop, system: System) -> None:
    three(shop)
    system.install("t/a", "t/c")
    assert system.upgrade(rebuilt=True, missing=True, clean=True).state == "nothing"
    (system.root / "usr/a").unlink()
    assert system.upgrade().state == "nothing"
    assert came(system.upgrade(missing=True)) == ["t/a-1.0"]
    assert (system.root / "usr/a").read_bytes() == b"a"
    shop.package("t/c", {"c": b"c again"})
    assert system.upgrade().state == "nothing"
    assert came(system.upgrade(rebuilt=True)) == ["t/c-1.0"]
    assert (system.root / "c").read_bytes() == b"c again"
    shop.forget("t/c")
    assert system.upgrade().state == "nothing"
    assert went(system.upgrade(clean=True)) == ["t/c-1.0"]
    assert system.listing() == {"mine": b"m", "usr": None, "usr/a": b"a"}


@pytest.mark.parametrize("back", [False, True])
def test_a_file_becomes_a_folder_and_the_reverse(shop: Workshop, system: System, back: bool) -> None:
    file, folder = {"x": b"file"}, {"x": None, "x/inner": None, "x/inner/y": b"deep"}
    first, second = (folder, file) if back else (file, folder)
    shop.package("t/a", dict(first))
    system.install("t/a")
    shop.package("t/a", dict(second), version="2.0")
    if back:
        (system.root / "x/inner/mine").write_bytes(b"mine")
        before = system.listing()
        with pytest.raises(ConflictError):
            system.upgrade()
        assert (system.listing(), system.installed()) == (before, ["t/a-1.0"])
        (system.root / "x/inner/mine").unlink()
    system.upgrade()
    assert system.listing() == {"mine": b"m", **second}


def test_files_move_between_packages_in_one_upgrade(shop: Workshop, system: System) -> None:
    shop.package("t/a", {"x": b"1", "y": b"1"})
    shop.package("t/b", {"b": b"1"})
    system.install("t/a", "t/b")
    shop.package("t/a", {"x": b"2"}, version="2.0")
    shop.package("t/b", {"b": b"2", "y": b"2"}, version="2.0")
    system.upgrade()
    assert system.listing() == {"mine": b"m", "x": b"2", "y": b"2", "b": b"2"}
    database = system.database()
    assert [str(id) for id in database.owners("y")] == ["t/b-2.0"]
    database.close()


# replace, reinstall, reclaim, oscheck --------------------------------------------------------------------------------
def test_replacing(shop: Workshop, system: System) -> None:
    three(shop)
    shop.package("t/d", {"c": b"d"})
    system.install("t/c")

    def plan(old: str, new: str, check: bool = True) -> str:
        request = InstallRequest((ref(new),))
        return system.run(
            "replace",
            lambda p, d: ops.replace_packages((ref(old),), request, p, d, check=check, force=False),
        ).state

    assert plan("t/c", "t/d") == "done"
    assert (system.installed(), (system.root / "c").read_bytes()) == (["t/d-1.0"], b"d")
    system.install("t/b")
    with pytest.raises(TreebuildError) as caught:
        plan("t/a", "t/c")
    assert caught.value.reason == "needed"
    with pytest.raises(TreebuildError):
        plan("t/none", "t/d")


def test_reinstalling_brings_back_what_was_lost(shop: Workshop, system: System) -> None:
    three(shop)
    system.install("t/b", "t/c")
    (system.root / "usr/b").write_bytes(b"spoilt")
    (system.root / "etc/b").unlink()
    database = system.database()
    (b,) = [p.id for p in database.packages() if p.id.name == "b"]
    assert ops.missing(database, b, system.root) == ("etc/b",)
    database.close()
    report = system.run("reinstall", lambda p, d: ops.reinstall((ref("t/b"),), p, d, force=False))
    assert (came(report), went(report)) == (["t/b-1.0"], ["t/b-1.0"])
    assert (system.root / "usr/b").read_bytes() == b"b"
    assert os.readlink(system.root / "etc/b") == "x"
    everything = system.run("reinstall", lambda p, d: ops.reinstall((), p, d, force=False))
    assert sorted(came(everything)) == ["t/a-1.0", "t/b-1.0", "t/c-1.0"]
    assert system.installed() == ["t/a-1.0", "t/b-1.0", "t/c-1.0"]


def test_reclaiming_records_what_lies_there(shop: Workshop, system: System) -> None:
    three(shop)
    (system.root / "c").write_bytes(b"from elsewhere")
    report = system.run("reclaim", lambda p, d: ops.reclaim(p, d, system.root))
    assert [str(id) for id, _, _ in report.adopted] == ["t/c-1.0"]
    assert (system.root / "c").read_bytes() == b"from elsewhere"
    assert system.installed() == ["t/c-1.0"]
    assert system.run("reclaim", lambda p, d: ops.reclaim(p, d, system.root)).state == "nothing"
    system.uninstall("t/c")
    assert system.listing() == {"mine": b"m"}


# manners -------------------------------------------------------------------------------------------------------------
def test_a_dry_run_a_refusal_and_a_download_change_nothing(shop: Workshop, system: System) -> None:
    three(shop)
    assert came(system.install("t/b", manner=Manner(dry_run=True))) == ["t/a-1.0", "t/b-1.0"]
    with pytest.raises(NotConfirmed):
        system.install("t/b", manner=Manner(confirm=lambda change: len(change.add) > 2))
    report = system.install("t/b", manner=Manner(download_only=True, confirm=lambda change: True))
    assert report.state == "downloaded"
    assert (system.listing(), system.installed()) == ({"mine": b"m"}, [])


def test_only_the_dependencies(shop: Workshop, system: System) -> None:
    three(shop)
    assert came(system.install("t/b", onlydeps=True)) == ["t/a-1.0"]


def test_a_link_in_the_place_of_a_protected_file_is_kept(shop: Workshop, system: System) -> None:
    """Somebody's own is; what was the package's link is its file with the next version."""
    manner = Manner(protection=Protection(("/etc/",)))
    (system.root / "etc").mkdir()
    (system.root / "etc/other").symlink_to("../run/other")
    shop.package("t/a", {"etc": None, "etc/conf": b"1", "etc/was": "conf"})
    system.install("t/a", manner=manner)
    (system.root / "etc/conf").unlink()
    (system.root / "etc/conf").symlink_to("/opt/conf")
    shop.package("t/a", {"etc": None, "etc/conf": b"2", "etc/was": b"2", "etc/other": b"2"}, version="2.0")
    report = system.upgrade(manner=manner)
    assert report.diverted == ("etc/._cfg0001_conf", "etc/._cfg0001_other")
    assert system.listing() == {
        "mine": b"m", "etc": None, "etc/conf": "/opt/conf", "etc/was": b"2", "etc/other": "../run/other",
        "etc/._cfg0001_conf": b"2", "etc/._cfg0001_other": b"2",
    }  # fmt: skip


def test_a_link_does_not_replace_a_protected_file(shop: Workshop, system: System) -> None:
    manner = Manner(protection=Protection(("/etc/",)))
    shop.package("t/a", {"etc": None, "etc/conf": b"1", "etc/was": "conf"})
    system.install("t/a", manner=manner)
    (system.root / "etc/conf").write_bytes(b"edited")
    for version in ("2.0", "3.0"):  # one that is there already is not written twice
        shop.package("t/a", {"etc": None, "etc/conf": "../usr/conf", "etc/was": "none"}, version=version)
        assert system.upgrade(manner=manner).diverted == ("etc/._cfg0001_conf",)
        assert system.listing() == {
            "mine": b"m", "etc": None, "etc/conf": b"edited", "etc/was": "none", "etc/._cfg0001_conf": "../usr/conf",
        }  # fmt: skip
    (system.root / "etc/conf").unlink()
    (system.root / "etc/conf").symlink_to("elsewhere")
    shop.package("t/a", {"etc": None, "etc/conf": "../opt/conf"}, version="4.0")
    assert system.upgrade(manner=manner).diverted == ()
    assert os.readlink(system.root / "etc/conf") == "../opt/conf"


def test_protected_files_are_kept_and_new_ones_come_beside(shop: Workshop, system: System) -> None:
    manner = Manner(protection=Protection(("/etc/",)))
    shop.package("t/a", {"etc": None, "etc/conf": b"1", "etc/same": b"s", "usr/x": b"1"})
    system.install("t/a", manner=manner)
    (system.root / "etc/conf").write_bytes(b"edited")
    shop.package("t/a", {"etc": None, "etc/conf": b"2", "etc/same": b"s", "usr/x": b"2"}, version="2.0")
    report = system.upgrade(manner=manner)
    assert report.diverted == ("etc/._cfg0001_conf",)
    after = {"etc": None, "etc/conf": b"edited", "etc/._cfg0001_conf": b"2", "etc/same": b"s"}
    assert system.listing() == {"mine": b"m", "usr": None, "usr/x": b"2", **after}
    shop.package("t/a", {"etc": None, "etc/conf": b"3", "etc/same": b"s", "usr/x": b"2"}, version="3.0")
    assert system.upgrade(manner=manner).diverted == ("etc/._cfg0002_conf",)
    system.uninstall("t/a", manner=manner, keep_protected=True)
    left = {**after, "etc/._cfg0002_conf": b"3"}
    assert system.listing() == {"mine": b"m", **left}


def test_what_is_installed_is_not_said_to_be_held(shop: Workshop, system: System) -> None:
    shop.package("t/a", {"a": b""})
    shop.package("t/a", {"a": b"2"}, version="2.0")
    shop.package("t/b", {"b": b""}, requires=("t/a@2.0",))
    system.install("t/a@1.0")
    with pytest.raises(Unsatisfiable) as caught:
        system.install("t/b")
    said = " ".join((caught.value.message, *caught.value.chain))
    assert "held" not in said
    assert "t/a" in said
    assert "stays installed" in said


@pytest.mark.parametrize(
    ("word", "said"), [("a", "Package a not"), ("t/a", "Package t/a not"), ("a@1", "Package a 1 not")]
)
def test_a_name_is_said_as_it_was_given(shop: Workshop, system: System, word: str, said: str) -> None:
    three(shop)
    with pytest.raises(TreebuildError) as caught:
        system.uninstall(word)
    assert caught.value.message.startswith(said)


def test_an_impossible_wish_is_explained(shop: Workshop, system: System) -> None:
    three(shop)
    system.install("t/a")
    with pytest.raises(Unsatisfiable):
        system.install("t/a@2.0")
