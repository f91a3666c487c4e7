"""Packages that no repository has any more: what goes, what stands in for them, and what needs them."""

from __future__ import annotations

import pytest

from tests.unit.repository_parts import Workshop, ref
from tests.unit.system_parts import System, came, shop, system, went
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


def test_what_is_lost_is_exchanged_whoever_provides_its_name(shop: Workshop, system: System) -> None:
    shop.package("t/old", {"old": b""})
    shop.package("t/new", {"new": b""}, version="2.0", provides=("t/old@>=0",))
    system.install("t/old", "t/new")
    shop.forget("t/old")
    shop.package("t/old", {"old": b"1"}, version="1.1")
    (system.root / "old").unlink()
    report = system.run("reinstall", lambda p, d: ops.reinstall((ref("t/old"),), p, d, force=False))
    assert (went(report), came(report)) == (["t/old-1.0"], ["t/old-1.1"])
