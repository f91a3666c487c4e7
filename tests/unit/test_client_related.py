"""Who needs whom, asked of hidden packages and past them."""

from __future__ import annotations

import pytest

from tests.unit.verb_parts import Verbs, verbs

__all__ = ["verbs"]  # fixtures


@pytest.mark.parametrize("where", [(), ("--installed",)])
def test_hidden_packages_lead_to_others_and_are_not_shown(verbs: Verbs, where: tuple[str, ...]) -> None:
    verbs.shop.package("t/low", {"low": b""})
    verbs.shop.package("t/hidden", {"hidden": b""}, requires=("t/low",), hidden=True)
    verbs.shop.package("t/top", {"top": b""}, requires=("t/hidden",))
    verbs.json("install", "t/top")

    def found(*words: str) -> list[str]:
        return [item["name"] for item in verbs.json("search", *where, *words)["packages"] or ()]

    assert found("--revdeps", "t/hidden") == ["top"]
    assert found("--revdeps", "t/low") == ["top"]
    assert found("--deps", "t/top") == ["low"]
    assert found("--deps", "t/hidden") == ["low"]
    assert found("--deps", "--hidden", "t/top") == ["hidden", "low"]
