"""Called as luet: what does not fit together, and what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cases.luet_machine import Luet, luet
from treebuilder.cli.main import main

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


IN_THE_CACHE: dict[str, dict[str, str | bytes | None]] = {
    "files": {"packages": None, "packages/treebuild": None, "packages/treebuild/VERSION": b"9"},
    "a folder": {"packages": None, "packages/treebuild": None},
    "a file in its place": {"packages": None, "packages/treebuild": b""},
    "a link in its place": {"packages": None, "packages/treebuild": "/c"},
    "files behind a link": {"l": None, "l/treebuild": None, "l/treebuild/index.sqlite": b"9"},
}


@pytest.mark.parametrize("what", IN_THE_CACHE)
def test_no_package_has_files_in_the_cache_of_packages(luet: Luet, what: str) -> None:
    luet.shop.package("test/x", IN_THE_CACHE[what])
    luet.create()
    assert luet("install", "-y", "test/c")[0] == 0
    (luet.root / "l").symlink_to("packages")
    code, text = luet("install", "-y", "test/x")
    assert (code, "/packages/treebuild" in text, "where the cache of packages has to be" in text) == (2, True, True)
    assert luet("install", "-y", "test/a")[0] == 0  # nothing is hurt


def test_as_treebuild_the_cache_may_lie_in_the_root_too(luet: Luet) -> None:
    luet.shop.package("test/x", {"var": None, "var/keep": None, "var/keep/blobs": b"mine"})
    luet.shop.package("test/y", {"var": None, "var/kept": b"mine", "packages": None, "packages/mine": b""})
    luet.create()
    given = ["--config", str(luet.config), "--cache-dir", str(luet.root / "var/keep")]
    assert main(["install", "test/x", *given]) == 2
    assert main(["install", "test/y", *given]) == 0
    assert luet.installed() == ["test/y-1.0"]
