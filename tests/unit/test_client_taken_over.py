"""What is recorded without being installed: lists that luet wrote, or nobody did, and what lies in the root."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.verb_parts import Verbs, verbs

__all__ = ["verbs"]  # fixtures


def listed(verbs: Verbs, packages: object) -> str:
    file = verbs.shop.top / "list.json"
    file.write_text(json.dumps({"packages": packages}))
    return str(file)


def item(**changed: object) -> dict[str, Any]:
    return {"category": "t", "name": "a", "version": "1.0", "files": ["a"], **changed}


ODD = [
    {"category": None}, {"version": 1.0}, {"name": ""}, {"files": "abc"}, {"files": [None]}, {"files": {"a": 1}},
    {"files": ["../a"]},
]  # fmt: skip


@pytest.mark.parametrize("changed", ODD, ids=str)
def test_odd_rows_are_refused(verbs: Verbs, changed: dict[str, object]) -> None:
    verbs.shop.package("t/a", {"a": b"a"})
    assert "error: " in verbs.refused("database", "import", listed(verbs, [item(name="b", files=[]), item(**changed)]))


def test_what_is_listed_twice_is_recorded_once(verbs: Verbs) -> None:
    verbs.shop.package("t/a", {"a": b"a"})
    taken = verbs.json("database", "import", listed(verbs, [item(hidden=True, files=["x"]), item(hidden=True)]))
    assert taken["packages"] == [{"name": "t/a-1.0"}]
    assert verbs.json("search", "--installed")["packages"] is None  # hidden it was
    (found,) = verbs.json("search", "--installed", "--hidden")["packages"]
    assert (found["target"], found["files"]) == ("t/a-1.0", ["a"])
    described = verbs.shop.build / "a-t-1.0.metadata.yaml"
    verbs.json("database", "remove", "t/a")
    created = verbs.json("database", "create", str(described), str(described))
    assert created["packages"] == [{"name": "t/a-1.0"}]


def taken_over(verbs: Verbs, *files: str) -> tuple[list[str], dict[str, Any]]:
    """What is recorded anew of what luet had listed, and what is known of it then."""
    verbs.json("database", "remove", "c/app", "c/lib")
    taken = [item["name"] for file in files for item in verbs.json("database", "import", file)["packages"]]
    (known,) = verbs.json("database", "get", "--files", "c/app")["packages"]
    return taken, known


def test_the_two_lists_of_luet_come_in_any_order(verbs: Verbs) -> None:
    verbs.shop.package("c/lib", {"lib": b"l"})
    verbs.shop.package("c/app", {"app": b"a"}, requires=("c/lib",))
    verbs.json("install", "c/app")
    whole, files = str(verbs.shop.top / "whole.yaml"), str(verbs.shop.top / "files.json")
    assert verbs.say("database", "get-all-installed", "--output", whole)[0] == 0
    code, text, _ = verbs.say("search", "--installed", "-o", "json")
    assert code == 0
    (verbs.shop.top / "files.json").write_text(text)
    both = ["c/app-1.0", "c/lib-1.0"]
    taken, known = taken_over(verbs, whole, files)
    assert [ref["name"] for ref in known["requires"]] == ["lib"]
    assert (sorted(taken), known["files"]) == (sorted(both + both), ["app"])
    taken, again = taken_over(verbs, files, whole)
    assert again == known
    assert sorted(taken) == sorted(both + both)
    assert "c/app-1.0 needs c/lib" in verbs.refused("uninstall", "c/lib", "--dry-run")
    assert verbs.json("database", "import", whole)["packages"] == []
    assert verbs.json("database", "import", files)["packages"] == []


def test_what_was_installed_keeps_its_definition(verbs: Verbs) -> None:
    verbs.shop.package("t/a", {"a": b"a"})
    verbs.json("install", "t/a")
    other = verbs.shop.top / "other.yaml"
    other.write_text(
        "- {category: t, name: a, version: '1.0', packagerequires: [{category: t, name: b, version: '1'}]}\n"
    )
    assert verbs.json("database", "import", str(other))["packages"] == []
    assert verbs.json("database", "get", "t/a")["packages"][0]["requires"] == []


def test_a_list_of_nothing_is_taken_over(verbs: Verbs) -> None:
    verbs.shop.package("t/a", {"a": b"a"})
    file = str(verbs.shop.top / "nothing.yaml")
    assert verbs.say("database", "get-all-installed", "--output", file)[0] == 0
    assert verbs.json("database", "import", file)["packages"] == []


def test_files_of_installed_packages_are_no_traces_of_others(verbs: Verbs) -> None:
    verbs.shop.package("t/a", {"bin/tool": b"a"})
    verbs.shop.package("t/other", {"bin/tool": b"b", "more": b"b"})
    verbs.json("install", "t/a")
    assert verbs.json("reclaim")["state"] == "nothing"
    assert verbs.json("oscheck")["missing"] == []
    (verbs.system.root / "more").write_bytes(b"b")
    adopted = verbs.json("reclaim")["adopted"]
    assert [found["name"] for found in adopted] == ["other"]
