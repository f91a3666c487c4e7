"""Called as luet: what does not fit together, and what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cases.luet_machine import Luet, luet

__all__ = ["luet"]  # fixtures
pytestmark = pytest.mark.engine


def test_an_upgrade_refuses_what_two_new_packages_have(luet: Luet) -> None:
    luet.shop.package("test/one", {"1": b"1"})
    luet.shop.package("test/two", {"2": b"2"})
    luet.create()
    assert luet("install", "-y", "test/one", "test/two")[0] == 0
    luet.shop.package("test/one", {"both": b"1"}, version="2.0")
    luet.shop.package("test/two", {"both": b"2"}, version="2.0")
    luet.create()
    code, text = luet("upgrade", "-y")
    assert (code, "file conflict found: file conflict between packages to be installed" in text) == (2, True), text
    code, text = luet("install", "-y", "test/c")  # upgrades first
    assert (code, "file conflict found" in text) == (2, True), text
    assert luet.installed() == ["test/one-1.0", "test/two-1.0"]
    code, text = luet("upgrade", "-y", "--force")
    assert (code, " WARNING  file conflict found" in text) == (0, True), text


def test_an_upgrade_warns_of_what_an_installed_package_has(luet: Luet) -> None:
    luet.shop.package("test/one", {"1": b"1"})
    luet.create()
    assert luet("install", "-y", "test/one", "test/c")[0] == 0
    luet.shop.package("test/one", {"c": b"1"}, version="2.0")
    luet.create()
    code, text = luet("upgrade", "-y")
    assert (code, " WARNING  file conflict found" in text) == (0, True), text
    luet.shop.package("test/three", {"c": b"3"})
    luet.create()
    assert luet("replace", "-y", "test/one", "--for", "test/three")[0] == 0
    assert luet("reinstall", "-y", "test/c")[0] == 0
    assert (luet.root / "c").read_bytes() == b"c"


def test_what_is_missing_is_named_and_not_who_wants_it(luet: Luet, tmp_path: Path) -> None:
    code, text = luet("install", "-y", "test/none")
    assert (code, "Error: package 'test/none' not found" in text) == (2, True), text
    code, text = luet("install", "-y", "test/none", "test/c", "never")
    assert (code, "Error: packages 'never', 'test/none' not found" in text) == (2, True), text
    assert luet.installed() == []
    lonely = tmp_path / "lonely/x"
    lonely.mkdir(parents=True)
    (lonely / "definition.yaml").write_text(
        "category: t\nname: why\nversion: '1'\nrequires: [{category: t, name: because, version: '>=0'}]\n"
    )
    code, text = luet("tree", "validate", "-t", "lonely")
    assert (code, "t/because" in text, "'t/why-1' not found" in text) == (2, True, False), text
