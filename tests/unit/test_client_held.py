"""What is held is changed by nobody who does not name it, and by no verb to another version in passing."""

from __future__ import annotations

import pytest

from tests.unit.verb_parts import Verbs, verbs

__all__ = ["verbs"]  # fixtures


def two(verbs: Verbs) -> None:
    verbs.shop.package("t/a", {"a": b"a"})
    verbs.shop.package("t/b", {"b": b"b"}, requires=("t/a",))
    verbs.json("install", "t/b")


def test_what_is_held_does_not_go_along(verbs: Verbs) -> None:
    two(verbs)
    verbs.json("hold", "t/a")
    verbs.json("uninstall", "--full", "t/b")
    assert verbs.system.installed() == ["t/a-1.0"]
    assert verbs.json("autoremove")["state"] == "nothing"


def test_as_luet_neither(verbs: Verbs) -> None:
    two(verbs)
    verbs.json("hold", "t/a")
    assert verbs.say("luet", "uninstall", "-y", "--full", "t/b")[0] == 0
    assert verbs.system.installed() == ["t/a-1.0"]


def test_who_needs_what_goes_and_is_held_is_said(verbs: Verbs) -> None:
    two(verbs)
    verbs.json("hold", "t/b")
    said = verbs.refused("uninstall", "--full-clean", "t/a")
    assert "t/b-1.0 needs that, and is held" in said
    assert "unhold t/b" in said
    verbs.json("uninstall", "--full-clean", "t/a", "t/b")
    assert verbs.system.installed() == []


@pytest.mark.parametrize(
    "words", [("uninstall", "t/b"), ("database", "remove", "t/b"), ("replace", "t/b", "--for", "t/c")]
)
def test_what_is_gone_is_not_held(verbs: Verbs, words: tuple[str, ...]) -> None:
    two(verbs)
    verbs.shop.package("t/c", {"c": b"c"})
    verbs.json("hold", "t/a", "t/b")
    verbs.json(*words)
    assert verbs.json("hold")["held"] == ["t/a"]
    verbs.json("install", "t/b@1.0", "--force")
    verbs.shop.package("t/b", {"b": b"2"}, version="2.0")
    assert verbs.came("upgrade") == ["t/b-2.0"]


def test_a_name_is_held_through_its_versions(verbs: Verbs) -> None:
    two(verbs)
    verbs.shop.package("t/a", {"a": b"2"}, version="2.0")
    verbs.json("hold", "t/a")
    verbs.json("replace", "t/a", "--for", "t/a@2.0")
    assert verbs.json("hold")["held"] == ["t/a"]
    verbs.json("reinstall", "t/a")
    assert verbs.json("hold")["held"] == ["t/a"]


@pytest.mark.parametrize("words", [("install", "t/needs"), ("replace", "t/b", "--for", "t/needs")])
def test_who_holds_what_is_in_the_way_is_said(verbs: Verbs, words: tuple[str, ...]) -> None:
    two(verbs)
    verbs.shop.package("t/a", {"a": b"2"}, version="2.0")
    verbs.shop.package("t/needs", {"needs": b""}, requires=("t/a@>=2.0",))
    assert "while t/a 1.0 stays installed" in verbs.refused("install", "t/needs")
    verbs.json("hold", "t/a")
    said = verbs.refused(*words)
    assert "t/needs >=0 cannot be had while t/a 1.0 is held" in said
    assert "unhold t/a lets an upgrade change it" in said
    verbs.json("unhold", "t/a")
    assert verbs.came("upgrade") == ["t/a-2.0"]
    assert verbs.came(*words) == ["t/needs-1.0"]


def test_what_is_held_gets_its_lost_files_back(verbs: Verbs) -> None:
    two(verbs)
    verbs.shop.package("t/a", {"a": b"2"}, version="2.0")
    verbs.json("hold", "t/a")
    (verbs.system.root / "a").unlink()
    assert verbs.json("upgrade", "--sync")["state"] == "nothing"
    assert verbs.came("upgrade", "--oscheck") == ["t/a-1.0"]
    assert (verbs.json("oscheck")["missing"], verbs.json("upgrade", "--oscheck")["state"]) == ([], "nothing")
    assert verbs.json("hold")["held"] == ["t/a"]
