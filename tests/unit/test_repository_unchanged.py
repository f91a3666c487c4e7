"""What did not change is not read again: by create-repo, and by those who ask a repository for packages."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.repository_parts import EPOCH, Workshop, workshop
from treebuilder.errors import IntegrityError, StateCorrupt
from treebuilder.model.digest import Digest
from treebuilder.model.package import PackageId
from treebuilder.repository import RepositoryPackages

_opened: list[str] | None = None


def _hear(event: str, args: tuple[object, ...]) -> None:
    if event == "open" and _opened is not None:
        _opened.append(str(args[0]))


sys.addaudithook(_hear)


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """Every file that this process opens."""
    global _opened
    _opened = []
    yield _opened
    _opened = None


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    with workshop(tmp_path) as made:
        made.package("app/one", {"one": b"1"}, requires=("app/two",), finalize="install:\n- echo {{ .Values.name }}\n")
        made.package("app/two", {"two": b"2"}, provides=("virtual/two",), hidden=True)
        time.sleep(0.15)  # so old that a change would be another stat
        made.create()
        yield made


def metadata(opened: list[str]) -> list[str]:
    return [path.rpartition("/")[2] for path in opened if path.endswith((".metadata.yaml", ".tar.zst"))]


def test_an_unchanged_repository_is_not_read(shop: Workshop, opened: list[str]) -> None:
    assert not shop.create().changed
    assert metadata(opened) == []
    assert not [path for path in opened if path.startswith(str(shop.tree))]


def test_only_what_changed_is_read(shop: Workshop, opened: list[str]) -> None:
    shop.package("app/two", {"two": b"3"}, provides=("virtual/two",), hidden=True)
    del opened[:]
    made = shop.create()
    assert made.changed
    assert metadata(opened) == ["two-app-1.0.metadata.yaml", "two-app-1.0.package.tar.zst"]
    sums = {artifact.sha256 for artifact in shop.synced().artifacts.values()}
    assert Digest.of((shop.build / "two-app-1.0.package.tar.zst").read_bytes()) in sums


def test_as_luet_every_run_is_a_revision(shop: Workshop, opened: list[str]) -> None:
    made = shop.create(always=True, last_update_s=EPOCH + 9)
    assert (made.index.revision, made.index.last_update) == (2, str(EPOCH + 9))
    assert metadata(opened) == []
    assert shop.create(always=True, last_update_s=EPOCH + 9, snapshot="x").index.revision == 3
    assert (shop.build / "x-tree.tar.gz").read_bytes() == (shop.build / "tree.tar.gz").read_bytes()


@pytest.mark.parametrize("name", ["tree.tar.gz", "repository.meta.yaml.tar", "compilertree.tar.gz"])
def test_files_of_the_repository_that_were_touched_are_made_again(shop: Workshop, name: str) -> None:
    before = (shop.build / name).read_bytes()
    (shop.build / name).write_bytes(b"other")
    assert not shop.create().changed
    assert (shop.build / name).read_bytes() == before


def test_an_archive_that_vanished_is_noticed(shop: Workshop) -> None:
    (shop.build / "one-app-1.0.metadata.yaml").unlink()
    assert [id.name for id in shop.create().packages] == ["two"]


def test_a_synced_repository_is_read_once(shop: Workshop, opened: list[str]) -> None:
    first = RepositoryPackages([shop.synced()])
    del opened[:]
    packages = RepositoryPackages([shop.synced()])
    assert packages.ids() == first.ids() == (
        (PackageId("app", "one", "1.0"), False), (PackageId("app", "two", "1.0"), True)
    )  # fmt: skip
    assert packages.names() == ("app/one", "app/two")
    assert [str(p.id) for p in packages.providers("virtual/two")] == ["app/two-1.0"]
    found = packages.repositories[0].finalizer(PackageId("app", "one", "1.0"))
    assert found is not None
    assert found.install == ("echo one",)
    assert not [path for path in opened if ".tar" in path]


def test_what_is_kept_of_a_repository_may_be_lost(shop: Workshop) -> None:
    known = shop.synced().known
    path = known._path
    path.unlink()
    assert len(RepositoryPackages([shop.synced()]).names()) == 2
    path.write_bytes(b"no database" * 100)
    with pytest.raises(StateCorrupt):
        RepositoryPackages([shop.synced()]).names()


def test_a_package_that_is_not_what_its_metadata_says_is_refused(shop: Workshop) -> None:
    before = (shop.build / "repository.yaml").read_bytes()
    archive = shop.build / "two-app-1.0.package.tar.zst"
    for data in (archive.read_bytes()[:10], b"other"):
        archive.write_bytes(data)
        with pytest.raises(IntegrityError, match=r"two-app-1\.0.*its metadata says") as caught:
            shop.create()
        assert caught.value.hint == "build the package again"
        assert (shop.build / "repository.yaml").read_bytes() == before
