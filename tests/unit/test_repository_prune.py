"""Pruning: what a kept snapshot reaches stays, everything else of the repository goes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.repository_parts import Workshop, workshop
from treebuilder.errors import IntegrityError
from treebuilder.repository.pruning import delete, prune, unreached


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


def later(shop: Workshop, *names: str) -> None:
    """These files are written a minute after all that is there."""
    now = max(path.stat().st_mtime for path in shop.build.iterdir()) + 60
    for name in names:
        os.utime(shop.build / name, (now, now))


LATE = ("late-app-1.0.package.tar.zst", "late-app-1.0.metadata.yaml")


@pytest.mark.parametrize("seen", [True, False])
def test_what_came_after_the_index_stays(shop: Workshop, seen: bool) -> None:
    """A build put it there; its definition is in the tree. Whoever deletes may know what the index was made of."""
    shop.package("app/x", {"x": b"4"}, version="4")
    created = shop.create()
    shop.package("app/late", {"x": b"5"})
    if not seen:
        later(shop, *LATE)
    found = unreached(shop.build, shop.build, 0, (), created.seen if seen else None)
    assert found.young == (() if seen else (str(shop.build / "late-app-1.0"),))
    assert "x-app-3.metadata.yaml" in {path.name for path, _ in found.files}
    delete(found)
    assert set(LATE) <= names(shop)
    assert [str(id) for id in shop.create().packages] == ["app/late-1.0", "app/x-4"]


def test_what_is_written_anew_meanwhile_stays(shop: Workshop) -> None:
    created = shop.create()
    found = unreached(shop.build, shop.build, 0, (), created.seen)
    shop.package("app/x", {"x": b"again"}, version="1", in_tree=False)
    gone = delete(found)
    assert {"x-app-1.package.tar.zst", "x-app-1.metadata.yaml"} <= names(shop)
    assert "x-app-2.metadata.yaml" not in names(shop)
    assert not [name for name in gone.removed if "x-app-1." in name]


@pytest.mark.parametrize("seen", [True, False])
def test_files_that_are_being_written_or_of_others_stay(shop: Workshop, seen: bool) -> None:
    odd = [
        f".y-app-1.package.tar.zst.{'0f' * 8}", "y-app-1.package.tar.zst", "z-app-1.package.tar.gz.part",
        "x-app-4.package.tar.gz", "x-app-1.package.tar.zst.bak", "mine.package.tar.txt",
    ]  # fmt: skip
    for name in odd:
        (shop.build / name).write_bytes(b"half")
    shop.package("app/x", {"x": b"4"}, version="4")
    created = shop.create()
    prune(shop.build, shop.build, 0, (), created.seen if seen else None)
    assert set(odd) <= names(shop)
    assert "x-app-1.package.tar.zst" not in names(shop)


def test_an_old_archive_without_metadata_goes(shop: Workshop) -> None:
    """No build is about to describe it: a deletion was cut off, or somebody took the metadata away."""
    (shop.build / "x-app-1.metadata.yaml").unlink()
    path = shop.build / "x-app-1.package.tar.zst"
    prune(shop.build, shop.build, 0, (), shop.create().seen)
    assert path.exists()
    os.utime(path, (0, 0))
    prune(shop.build, shop.build, 0, (), shop.create().seen)
    assert not path.exists()


def test_links_to_one_file_all_go(shop: Workshop) -> None:
    one, two = (shop.build / f"x-app-{version}.metadata.yaml" for version in "12")
    two.unlink()
    two.hardlink_to(one)
    found = unreached(shop.build, shop.build, 0)
    assert {one, two} <= {path for path, _ in found.files}
    delete(found)
    assert not one.exists()
    assert not two.exists()
