"""With a database in memory nothing is recorded, and what others have recorded is neither used nor made untrue."""

from __future__ import annotations

import pytest

from tests.unit.verb_parts import Verbs, verbs

__all__ = ["verbs"]  # fixtures
MEMORY = ("--system-engine", "memory")


def test_what_is_recorded_stays_true(verbs: Verbs) -> None:
    verbs.shop.package("t/a", {"a": b"1"})
    verbs.json("install", "t/a")
    verbs.shop.package("t/a", {"b": b"2"}, version="2.0")
    assert "not found in the system" in verbs.refused("uninstall", "t/a", *MEMORY)
    assert verbs.json("upgrade", *MEMORY)["state"] == "nothing"
    assert verbs.json("search", "--installed", *MEMORY)["packages"] is None
    assert (verbs.system.installed(), verbs.json("oscheck")["missing"]) == (["t/a-1.0"], [])
    verbs.json("install", "t/a", *MEMORY)
    assert verbs.system.installed() == ["t/a-1.0"]
    assert (verbs.system.root / "b").read_bytes() == b"2"


@pytest.mark.parametrize("what", ["create", "import"])
def test_what_cannot_be_recorded_is_said(verbs: Verbs, what: str) -> None:
    verbs.shop.package("t/a", {"a": b"1"})
    file = verbs.shop.build / "a-t-1.0.metadata.yaml"
    if what == "import":
        file = verbs.shop.top / "list.yaml"
        file.write_text("- name: a\n  category: t\n  version: '1.0'\n")
    assert "nothing can be recorded" in verbs.refused("database", what, str(file), *MEMORY)
    assert verbs.system.installed() == []
