"""Packages read by two processes are those that one reads."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.repository_parts import Workshop, workshop
from treebuilder.errors import IntegrityError
from treebuilder.repository import together
from treebuilder.repository.metadata import BuiltPackage, BuiltPackages, scan_packages
from treebuilder.repository.together import _Ends, read_together


@given(st.integers(0, 700), st.lists(st.integers(0, 200), max_size=40))
def test_from_both_ends_all_are_taken(size: int, turns: list[int]) -> None:
    ends = _Ends(size)
    both = [ends.forward(), ends.backward()]
    taken: list[int] = []

    def some(which: int, count: int) -> None:
        for _, at in zip(range(count), both[which], strict=False):
            taken.append(at)

    for number, count in enumerate(turns):
        some(number % 2, count)
    some(1, size)
    some(0, size)
    assert set(taken) == set(range(size))


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two_processors: None) -> Iterator[Workshop]:
    monkeypatch.setattr(together, "_MANY", 2)
    monkeypatch.setattr(together, "_STEP", 4)
    with workshop(tmp_path) as made:
        for number in range(40):
            made.package(f"app/a{number:02}", {"usr/a": b"%d" % number})
        yield made


def read(shop: Workshop) -> tuple[list[BuiltPackage], list[bytes], int]:
    """What is read, the notes that are kept of it, and which process packed."""
    folder = scan_packages(shop.build)
    reader = BuiltPackages(folder, shop.store)
    loaded, built, packed = read_together(reader, tuple(folder.metadata), lambda: b"%d" % os.getpid(), lambda: "loaded")
    assert loaded == "loaded"
    assert list(built) == list(folder.metadata)
    reader.save()
    notes = [reader.given(fingerprint)[3] or b"" for fingerprint in built]
    return list(built.values()), notes, int(packed)


def test_two_read_what_one_reads(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    time.sleep(0.3)  # what is younger is not noted
    two, noted, other = read(shop)
    shop.store.index.drop_notes(BuiltPackages(scan_packages(shop.build), shop.store)._kind)
    monkeypatch.setattr(together, "_MANY", 1000)
    assert read(shop) == (two, noted, os.getpid())
    assert other != os.getpid()
    assert len(two) == 40
    assert all(noted)


@pytest.mark.parametrize("broken", [(0,), (39,), (39, 3), (20, 21, 38)])
def test_the_first_fault_is_told_whoever_meets_it(shop: Workshop, broken: tuple[int, ...]) -> None:
    for number in broken:
        with (shop.build / f"a{number:02}-app-1.0.package.tar.zst").open("ab") as file:
            file.write(b"more")
    with pytest.raises(IntegrityError, match=f"a{min(broken):02}-app-1.0"):
        read(shop)
