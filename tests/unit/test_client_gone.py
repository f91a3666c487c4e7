"""Packages that no repository has any more: what goes, what stands in for them, and what needs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.repository_parts import Workshop, ref, workshop
from tests.unit.system_parts import System, came, shop, system, went
from tests.unit.verb_parts import typed
from treebuilder.client import Manner
from treebuilder.client import operations as ops
from treebuilder.errors import Unsatisfiable

__all__ = ["shop", "system"]  # fixtures


def test_what_goes_is_not_what_stands_for_it(shop: Workshop, system: System) -> None:
    """`--clean` takes the package that no repository has, and leaves who provides its name."""
    shop.package("t/old", {"old": b""})
    shop.package("t/new", {"new": b""}, version="2.0", provides=("t/old@>=0",))
    shop.package("t/app", {"app": b""}, requires=("t/old",))
    system.install("t/old", "t/new", "t/app")
    shop.forget("t/old")
    assert went(system.upgrade(clean=True)) == ["t/old-1.0"]
    assert system.installed() == ["t/app-1.0", "t/new-2.0"]


def test_what_was_renamed_comes_for_what_goes(shop: Workshop, system: System) -> None:
    shop.package("t/old", {"old": b""})
    shop.package("t/app", {"app": b""}, requires=("t/old",))
    system.install("t/app")
    shop.forget("t/old")
    shop.package("t/new", {"new": b""}, version="2.0", provides=("t/old@>=0",))
    report = system.upgrade(clean=True)
    assert (went(report), came(report)) == (["t/old-1.0"], ["t/new-2.0"])


def test_nothing_that_is_held_is_broken_by_what_goes(shop: Workshop, system: System) -> None:
    shop.package("t/dep", {"dep": b""})
    shop.package("t/held", {"held": b""}, requires=("t/dep",))
    system.install("t/held")
    database = system.database()
    database.hold(["t/held"], True)
    database.close()
    shop.forget("t/dep")
    with pytest.raises(Unsatisfiable, match="t/held"):
        system.upgrade(clean=True)
    assert system.installed() == ["t/dep-1.0", "t/held-1.0"]


@pytest.mark.parametrize("clean", [False, True])
def test_what_was_renamed_comes_though_nobody_needs_it(shop: Workshop, system: System, clean: bool) -> None:
    shop.package("t/old", {"old": b""})
    shop.package("t/other", {"other": b""})
    system.install("t/old", "t/other")
    shop.forget("t/old")
    for name in ("t/another", "t/new"):
        shop.package(name, {name: b""}, version="2.0", provides=("t/old@>=0",))
    before = system.listing()
    system.upgrade(Manner(dry_run=True), clean=clean)
    assert system.listing() == before
    report = system.upgrade(clean=clean)
    assert (went(report), came(report)) == (["t/old-1.0"], ["t/another-2.0"]), "one of two that provide the same"
    assert not system.upgrade(clean=clean).installed
    assert system.installed() == ["t/another-2.0", "t/other-1.0"]


@pytest.mark.parametrize("provided", ["t/old@>=2", "t/old@2.0", "t/old@<1"])
def test_another_version_is_no_new_name(shop: Workshop, system: System, provided: str) -> None:
    shop.package("t/old", {"old": b""})
    system.install("t/old")
    shop.forget("t/old")
    shop.package("t/new", {"new": b""}, provides=(provided,))
    assert not system.upgrade().installed
    assert system.installed() == ["t/old-1.0"]


def test_the_real_name_comes_before_a_new_one(shop: Workshop, system: System) -> None:
    shop.package("t/old", {"old": b""})
    system.install("t/old")
    shop.package("t/new", {"new": b""}, version="9.0", provides=("t/old@>=0",))
    assert not system.upgrade().installed
    shop.package("t/old", {"old": b"2"}, version="2.0")
    assert came(system.upgrade()) == ["t/old-2.0"]


def test_a_new_name_that_is_there_is_enough(shop: Workshop, system: System) -> None:
    shop.package("t/old", {"old": b""})
    shop.package("t/new", {"new": b""}, provides=("t/old@>=0",))
    shop.package("t/app", {"app": b""}, requires=("t/old",))
    system.install("t/old", "t/new", "t/app")
    shop.forget("t/old")
    shop.package("t/a-new", {"a": b""}, provides=("t/old@>=0",))
    report = system.upgrade()
    assert (went(report), came(report)) == (["t/old-1.0"], [])


def test_what_is_held_keeps_its_name(shop: Workshop, system: System) -> None:
    shop.package("t/old", {"old": b""})
    system.install("t/old")
    database = system.database()
    database.hold(["t/old"], True)
    database.close()
    shop.forget("t/old")
    shop.package("t/new", {"new": b""}, provides=("t/old@>=0",))
    assert not system.upgrade().installed
    assert not system.upgrade(clean=True).installed
    assert system.installed() == ["t/old-1.0"]


def test_a_new_name_that_cannot_be_had_stops_nothing_else(shop: Workshop, system: System) -> None:
    for name in ("t/a", "t/b", "t/c"):
        shop.package(name, {name: b""})
    shop.package("t/user", {"user": b""}, requires=("t/a@=1.0",))
    system.install("t/a", "t/b", "t/c", "t/user")
    shop.forget("t/a")
    shop.forget("t/b")
    shop.package("t/a2", {"a2": b""}, provides=("t/a@>=0",), requires=("t/nobody",))
    shop.package("t/b2", {"b2": b""}, provides=("t/b@>=0",))
    shop.package("t/c", {"t/c": b"2"}, version="2.0")
    report = system.upgrade()
    assert (went(report), sorted(came(report))) == (["t/b-1.0", "t/c-1.0"], ["t/b2-1.0", "t/c-2.0"])
    assert "t/a-1.0" in system.installed()


def test_what_is_left_out_may_have_the_old_name(tmp_path: Path) -> None:
    with workshop(tmp_path / "one") as one, workshop(tmp_path / "two") as two:
        one.package("t/old", {"old": b""})
        two.package("t/new", {"new": b""}, provides=("t/old@>=0",))
        one.create()
        two.create()
        value: dict[str, Any] = {
            "system": {"rootfs": str(tmp_path / "root")}, "config_from_host": False,
            "repositories": [
                {"name": name, "type": "disk", "enable": True, "urls": [str(tmp_path / name / "build")]}
                for name in ("one", "two")
            ],
        }  # fmt: skip
        (tmp_path / "root").mkdir()
        (tmp_path / "conf.json").write_text(json.dumps(value))
        flags = ("--config", str(tmp_path / "conf.json"), "--cache-dir", str(tmp_path / "cache"))
        assert typed("install", "t/old", *flags)[0] == 0
        for _ in range(2):
            (tmp_path / "one/build").rename(tmp_path / "away")
            code, out, err = typed("upgrade", *flags)
            assert (code, "left out" in err, "t/new" in out + err) == (0, True, False), out + err
            (tmp_path / "away").rename(tmp_path / "one/build")
            assert "t/new" not in typed("upgrade", *flags)[1]
        value["repositories"] = value["repositories"][1:]
        (tmp_path / "conf.json").write_text(json.dumps(value))
        assert "t/new" in typed("upgrade", *flags)[1]


def test_nothing_gets_an_older_version_because_something_goes(shop: Workshop, system: System) -> None:
    shop.package("t/needed", {"needed": b""})
    shop.package("t/a", {"a": b""})
    shop.package("t/a", {"a": b"2"}, version="2.0", requires=("t/needed",))
    system.install("t/a")
    shop.forget("t/needed")
    with pytest.raises(Unsatisfiable, match="t/a") as caught:
        system.upgrade(clean=True)
    assert "hold t/needed" in str(caught.value.hint)
    assert system.installed() == ["t/a-2.0", "t/needed-1.0"]
    shop.package("t/a", {"a": b"3"}, version="3.0")
    report = system.upgrade(clean=True)
    assert (sorted(went(report)), came(report)) == (["t/a-2.0", "t/needed-1.0"], ["t/a-3.0"])


def test_nothing_gets_an_older_version_because_something_comes(shop: Workshop, system: System) -> None:
    shop.package("t/a", {"a": b""})
    shop.package("t/b", {"b": b"2"}, version="2.0", provides=("t/virtual@>=0",))
    system.install("t/a", "t/b")
    shop.package("t/b", {"b": b"1"}, version="1.0", provides=("t/virtual@1.0",))
    shop.package("t/a", {"a": b"2"}, version="2.0", requires=("t/b@=1.0",))
    assert not system.upgrade().installed
    shop.package("t/a", {"a": b"3"}, version="3.0", requires=("t/virtual@1.0",), conflicts=("t/b@=2.0",))
    assert not system.upgrade().installed
    assert system.installed() == ["t/a-1.0", "t/b-2.0"]


def test_an_older_version_comes_where_nothing_else_fits(shop: Workshop, system: System) -> None:
    """Somebody looked at no dependencies; what is missing can only be had with an older version of something."""
    shop.package("t/b", {"b": b"1"}, version="1.0")
    shop.package("t/b", {"b": b"2"}, version="2.0")
    shop.package("t/c", {"c": b""}, requires=("t/b@=1.0",))
    shop.package("t/a", {"a": b""}, requires=("t/c",))
    system.install("t/b")
    system.install("t/a", nodeps=True)
    assert system.installed() == ["t/a-1.0", "t/b-2.0"]
    report = system.upgrade()
    assert (went(report), sorted(came(report))) == (["t/b-2.0"], ["t/b-1.0", "t/c-1.0"])


def test_the_newest_whatever_it_needs(shop: Workshop, system: System) -> None:
    shop.package("t/a", {"a": b""})
    shop.package("t/b", {"b": b""}, requires=("t/a@=1.0",))
    shop.package("t/c", {"c": b""})
    system.install("t/a", "t/b", "t/c")
    shop.package("t/a", {"a": b"2"}, version="2.0", requires=("t/b", "t/none"))
    shop.package("t/b", {"b": b"2"}, version="2.0", conflicts=("t/c",))
    assert not system.upgrade().installed
    report = system.upgrade(nodeps=True)
    assert (went(report), came(report)) == (["t/a-1.0", "t/b-1.0"], ["t/b-2.0", "t/a-2.0"]), "what is needed first"
    assert not system.upgrade(nodeps=True).installed


def test_what_is_lost_is_exchanged_whoever_provides_its_name(shop: Workshop, system: System) -> None:
    shop.package("t/old", {"old": b""})
    shop.package("t/new", {"new": b""}, version="2.0", provides=("t/old@>=0",))
    system.install("t/old", "t/new")
    shop.forget("t/old")
    shop.package("t/old", {"old": b"1"}, version="1.1")
    (system.root / "old").unlink()
    report = system.run("reinstall", lambda p, d: ops.reinstall((ref("t/old"),), p, d, force=False))
    assert (went(report), came(report)) == (["t/old-1.0"], ["t/old-1.1"])
