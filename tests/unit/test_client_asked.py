"""What somebody asked for stays asked for: by whatever name, with whatever verb, and by no dry run."""

from __future__ import annotations

import pytest

from tests.unit.verb_parts import Verbs, verbs

__all__ = ["verbs"]  # fixtures


def two(verbs: Verbs) -> None:
    verbs.shop.package("t/a", {"a": b"a"}, provides=("t/virtual",))
    verbs.shop.package("t/b", {"b": b"b"}, requires=("t/a",))
    verbs.json("install", "t/b")
    assert verbs.asked_for() == ["t/b-1.0"]


@pytest.mark.parametrize("flag", ["--dry-run", "--download-only"])
def test_what_changes_nothing_asks_for_nothing(verbs: Verbs, flag: str) -> None:
    two(verbs)
    assert verbs.json("install", "t/a", flag)["state"] == "nothing"
    assert verbs.asked_for() == ["t/b-1.0"]


@pytest.mark.parametrize("words", [("install", "t/a"), ("install", "t/virtual"), ("replace", "t/b", "--for", "t/a")])
def test_a_dependency_that_somebody_asks_for_is_no_orphan(verbs: Verbs, words: tuple[str, ...]) -> None:
    two(verbs)
    verbs.json(*words)
    if words[0] == "install":
        verbs.json("uninstall", "t/b")
    assert verbs.json("autoremove")["state"] == "nothing"
    assert verbs.system.installed() == verbs.asked_for() == ["t/a-1.0"]


def test_what_a_finalizer_fails_after_was_asked_for(verbs: Verbs) -> None:
    two(verbs)
    verbs.shop.package("t/c", {"c": b"c"}, finalize="install:\n- echo hello\n")  # there is no shell in this root
    assert verbs.say("install", "t/a", "t/c")[0] == 2
    assert verbs.asked_for() == ["t/a-1.0", "t/b-1.0", "t/c-1.0"]


def test_what_comes_for_something_that_does_not_was_asked_for(verbs: Verbs) -> None:
    verbs.shop.package("t/a", {"a": b"a"})
    verbs.shop.package("t/b", {"b": b"b"}, requires=("t/a",))
    verbs.came("install", "--onlydeps", "t/b")
    assert verbs.asked_for() == ["t/a-1.0"]
    assert verbs.json("autoremove")["state"] == "nothing"


def test_what_is_there_and_needed_by_something_that_does_not_come_is_asked_for(verbs: Verbs) -> None:
    two(verbs)
    verbs.shop.package("t/c", {"c": b"c"}, requires=("t/a",))
    assert verbs.json("install", "--onlydeps", "t/c")["state"] == "nothing"
    assert verbs.asked_for() == ["t/a-1.0", "t/b-1.0"]
    verbs.json("uninstall", "t/b")
    assert verbs.json("autoremove")["state"] == "nothing"
