"""What `luet install` promises and fetches is what it does: the upgrade, and then what that makes possible."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.verb_parts import Verbs, verbs

__all__ = ["verbs"]  # fixtures


def luet(verbs: Verbs, *words: str) -> dict[str, Any]:
    code, out, err = verbs.say("luet", "install", "-y", "--json", *words)
    assert code == 0, out + err
    value = json.loads(out)
    assert isinstance(value, dict)
    return value


def test_the_upgrade_is_part_of_the_promise(verbs: Verbs) -> None:
    verbs.shop.package("t/a", {"a": b"1"})
    verbs.json("install", "t/a")
    verbs.shop.package("t/a", {"a": b"2"}, version="2.0")
    verbs.shop.package("t/b", {"b": b"1"}, requires=("t/a@>=2.0",))
    promised = luet(verbs, "--dry-run", "t/b")
    fetched = luet(verbs, "--download-only", "t/b")
    assert (promised["state"], fetched["state"], verbs.system.installed()) == ("planned", "downloaded", ["t/a-1.0"])
    done = luet(verbs, "t/b")
    assert done["state"] == "done"
    for key in ("installed", "removed", "exchanged"):
        assert promised[key] == fetched[key] == done[key]
    assert verbs.system.installed() == ["t/a-2.0", "t/b-1.0"]
    assert luet(verbs, "--dry-run", "t/b")["state"] == "nothing"
