"""The specfile index in the store: what is put is there, in this run and the next, however much it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from treebuilder.app import workspace
from treebuilder.app.workspace import StoredSpecIndex
from treebuilder.oci.store import Store
from treebuilder.tree import FileStamp


def stamp(number: int, kind: str = "cells") -> FileStamp:
    return FileStamp(f"{kind}//{number:04}", 0, 0, 0, 0)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(workspace, "_SINGLE", 3)
    monkeypatch.setattr(workspace, "_SPARE", 5)
    return Store(tmp_path, mapping="host")


@pytest.mark.parametrize("held", [0, 20, 10**9])
def test_what_is_put_is_there(store: Store, monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    monkeypatch.setattr(workspace, "_HELD_BYTES", held)
    index = StoredSpecIndex(store)
    for number in range(9):
        assert index.get(stamp(number)) is None
        index.put(stamp(number), b"%d" % number * 5)
        index.put(stamp(number, "tree"), b"t%d" % number)
    assert [index.get(stamp(number)) for number in range(9)] == [b"%d" % number * 5 for number in range(9)]
    index.save()
    again = StoredSpecIndex(store)
    for kind in ("cells", "tree"):
        assert [again.get(stamp(number, kind)) for number in range(9)] == [index.get(stamp(n, kind)) for n in range(9)]


@pytest.mark.parametrize("held", [0, 20, 10**9])
def test_what_nobody_uses_is_thrown_away(store: Store, monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    index = StoredSpecIndex(store)
    for number in range(60):
        index.put(stamp(number), b"old")
    index.save()
    monkeypatch.setattr(workspace, "_HELD_BYTES", held)
    index = StoredSpecIndex(store)
    for number in (100, 101, 102, 7):
        found = index.get(stamp(number))
        if found is None:
            index.put(stamp(number), b"new" * 5)
    index.save()
    assert store.index.notes("cells") == {"0007": b"old", **{f"{number:04}": b"new" * 5 for number in (100, 101, 102)}}
