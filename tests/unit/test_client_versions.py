"""Of one name one version is installed, and another one takes its place only where nothing is broken by that."""

from __future__ import annotations

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
