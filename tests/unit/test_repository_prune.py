"""Pruning: what a kept snapshot reaches stays, everything else of the repository goes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.repository_parts import Workshop, workshop
from treebuilder.errors import IntegrityError
from treebuilder.repository.pruning import prune


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    """Three snapshots, each of another package; the newest index has the last one."""
    with workshop(tmp_path) as made:
        for name in ("a", "b", "c"):
            made.package(
                "app/x", {"x": name.encode()}, version=name.replace("a", "1").replace("b", "2").replace("c", "3")
            )
            made.create(snapshot=f"snap-{name}")
            folder = next((made.tree / "app/x").iterdir())
            (folder / "definition.yaml").unlink()
            folder.rmdir()
        yield made


def names(shop: Workshop) -> set[str]:
    return {path.name for path in shop.build.iterdir()}


def test_packages_that_no_snapshot_reaches_go(shop: Workshop) -> None:
    (shop.build / "notes.txt").write_text("mine")
    before = names(shop)
    found = prune(shop.build, shop.build, 2)
    gone = before - names(shop)
    assert {path.rpartition("/")[2] for path in found.removed} == gone
    assert gone == {
        "snap-a-repository.yaml", "snap-a-tree.tar.gz", "snap-a-compilertree.tar.gz",
        "snap-a-repository.meta.yaml.tar", "x-app-1.package.tar.zst", "x-app-1.metadata.yaml",
    }  # fmt: skip
    assert found.size_bytes > 0
    assert prune(shop.build, shop.build, 2).removed == ()


def test_without_snapshots_only_the_newest_index_counts(shop: Workshop) -> None:
    prune(shop.build, shop.build, 0)
    assert {name for name in names(shop) if "package" in name} == {"x-app-3.package.tar.zst"}
    assert not [name for name in names(shop) if name.startswith("snap-")]
    assert [str(p.id) for p in shop.synced().packages()] == ["app/x-3"]


@pytest.mark.parametrize("file", ["snap-b-repository.yaml", "snap-b-repository.meta.yaml.tar", "repository.yaml"])
def test_nothing_goes_when_something_cannot_be_read(shop: Workshop, file: str) -> None:
    (shop.build / file).write_bytes(b"broken")
    before = names(shop)
    with pytest.raises(IntegrityError):
        prune(shop.build, shop.build, 2)
    assert names(shop) == before
