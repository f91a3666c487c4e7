"""Of one name one version is installed, and another one takes its place only where nothing is broken by that."""

from __future__ import annotations

import pytest

from tests.unit.verb_parts import Verbs, verbs

__all__ = ["verbs"]  # fixtures


def test_without_dependencies_too_there_is_one_version(verbs: Verbs) -> None:
    verbs.shop.package("t/a", {"one": b"1"})
    verbs.shop.package("t/a", {"two": b"2"}, version="2.0")
    verbs.json("install", "t/a@1.0")
    for words in (("t/a", "--nodeps"), ("t/a@2.0", "--nodeps", "--force"), ("t/a@2.0",)):
        assert "while t/a" in verbs.refused("install", *words)
    assert verbs.came("replace", "t/a", "--for", "t/a@2.0", "--nodeps") == ["t/a-2.0"]
    assert verbs.system.installed() == ["t/a-2.0"]


def test_what_is_named_twice_comes_once(verbs: Verbs) -> None:
    verbs.shop.package("t/a", {"one": b"1"})
    assert verbs.came("install", "t/a", "t/a@1.0", "--nodeps") == ["t/a-1.0"]


def pinned(verbs: Verbs) -> None:
    """A root whose t/a-1.0, which t/pin needs, is in no repository any more, and has lost its file."""
    verbs.shop.package("t/a", {"a": b"1"})
    verbs.shop.package("t/pin", {"pin": b""}, requires=("t/a@1.0",))
    verbs.json("install", "t/a", "t/pin")
    verbs.empty_repository()
    verbs.shop.package("t/new", {"new": b""})
    verbs.shop.package("t/a", {"a": b"2"}, version="2.0", requires=("t/new",))
    (verbs.system.root / "a").unlink()


@pytest.mark.parametrize("words", [("reinstall", "t/a"), ("oscheck", "--reinstall"), ("reinstall", "--installed")])
def test_what_no_repository_has_any_more_does_not_break_who_needs_it(verbs: Verbs, words: tuple[str, ...]) -> None:
    pinned(verbs)
    said = verbs.refused(*words)
    assert "no repository has t/a-1.0 any more" in said
    assert "t/pin-1.0 requires t/a 1.0" in said
    verbs.json("uninstall", "t/pin")
    assert verbs.came(*words) == ["t/new-1.0", "t/a-2.0"]
    assert verbs.asked_for() == ["t/a-2.0"]
    assert verbs.came("uninstall", "--full", "t/a") == verbs.system.installed() == []


def test_without_dependencies_it_is_the_newest(verbs: Verbs) -> None:
    pinned(verbs)
    assert verbs.came("reinstall", "t/a", "--nodeps") == ["t/a-2.0"]
    assert verbs.system.installed() == ["t/a-2.0", "t/pin-1.0"]


@pytest.mark.parametrize("words", [("reinstall", "t/a"), ("oscheck", "--reinstall"), ("reinstall", "t/a", "--nodeps")])
def test_what_is_held_does_not_come_in_another_version(verbs: Verbs, words: tuple[str, ...]) -> None:
    pinned(verbs)
    verbs.json("uninstall", "t/pin")
    verbs.json("hold", "t/a")
    assert "no repository has t/a-1.0 any more, which is held" in verbs.refused(*words)
    assert verbs.came("reinstall", "--installed") == []
    verbs.json("unhold", "t/a")
    assert "t/a-2.0" in verbs.came(*words)


REBUILT = [("upgrade", "--sync"), ("reinstall", "t/b", "t/c"), ("upgrade", "--sync", "--oscheck")]


@pytest.mark.parametrize("words", REBUILT)
def test_a_rebuild_brings_what_it_needs(verbs: Verbs, words: tuple[str, ...]) -> None:
    verbs.shop.package("t/b", {"b": b"1"})
    verbs.shop.package("t/c", {"c": b"1"})
    verbs.json("install", "t/b", "t/c")
    verbs.shop.package("t/new", {"new": b""})
    verbs.shop.package("t/b", {"b": b"2"}, requires=("t/c", "t/new"))
    verbs.shop.package("t/c", {"c": b"2"})
    assert verbs.json("upgrade")["state"] == "nothing"
    *before, last = verbs.came(*words)
    assert (sorted(before), last) == (["t/c-1.0", "t/new-1.0"], "t/b-1.0")  # dependencies first, for their finalizers
    assert verbs.asked_for() == ["t/b-1.0", "t/c-1.0"]
    for again in (("upgrade", "--sync", "--oscheck"), ("upgrade",)):
        assert verbs.json(*again)["state"] == "nothing"


@pytest.mark.parametrize("words", REBUILT)
def test_a_rebuild_that_excludes_what_is_installed_is_refused(verbs: Verbs, words: tuple[str, ...]) -> None:
    verbs.shop.package("t/b", {"b": b"1"})
    verbs.shop.package("t/c", {"c": b"1"})
    verbs.shop.package("t/d", {"d": b"1"})
    verbs.json("install", "t/b", "t/c", "t/d")
    verbs.shop.package("t/b", {"b": b"2"}, conflicts=("t/d", "t/gone"))
    verbs.shop.package("t/c", {"c": b"2"})
    assert "t/b-1.0 as it is built now conflicts with t/d-1.0" in verbs.refused(*words)
    verbs.json("hold", "t/b")
    assert verbs.came("upgrade", "--sync") == ["t/c-1.0"]
    verbs.json("unhold", "t/b")
    verbs.json("uninstall", "t/d")
    assert "t/b-1.0" in verbs.came(*words)
    assert verbs.refused("install", "t/d")


def test_what_was_asked_for_by_its_old_name_is_no_orphan(verbs: Verbs) -> None:
    verbs.shop.package("t/old", {"a": b"1"})
    verbs.shop.package("t/app", {"app": b"1"}, requires=("t/old",))
    verbs.json("install", "t/old", "t/app")
    verbs.shop.package("t/renamed", {"a": b"2"}, provides=("t/old",), conflicts=("t/old",))
    verbs.shop.package("t/app", {"app": b"2"}, version="2.0", requires=("t/renamed",))
    assert verbs.came("upgrade") == ["t/renamed-1.0", "t/app-2.0"]
    verbs.json("uninstall", "t/app")
    assert verbs.json("autoremove")["state"] == "nothing"
    assert verbs.asked_for() == ["t/renamed-1.0"]


def test_what_is_replaced_may_be_what_comes(verbs: Verbs) -> None:
    verbs.shop.package("t/a", {"a": b"1"})
    verbs.shop.package("t/b", {"b": b"1"}, requires=("t/a",))
    verbs.json("install", "t/b")
    verbs.came("replace", "t/a", "--for", "t/a")
    assert verbs.system.installed() == verbs.asked_for() == ["t/a-1.0", "t/b-1.0"]


def test_what_comes_again_is_not_uninstalled(verbs: Verbs) -> None:
    """Its commands would take along the data that the next version works on."""
    for version in ("1.0", "2.0"):
        verbs.shop.package("t/a", {"a": b""}, version=version, finalize="uninstall:\n- echo gone\n")
    verbs.json("install", "t/a@1.0")
    for words in (("upgrade",), ("reinstall", "t/a"), ("replace", "t/a", "--for", "t/a@1.0")):
        assert len(verbs.came(*words)) == 1
    code, _, err = verbs.say("uninstall", "t/a")
    assert (code, "the finalizer `echo gone` of t/a-1.0" in err) == (2, True)  # there is no shell in this root
