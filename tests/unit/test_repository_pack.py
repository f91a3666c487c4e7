"""pack: a folder becomes an archive and metadata that create-repo takes."""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.unit.repository_parts import EPOCH, Workshop, workshop
from treebuilder.app.packing import PackOptions, pack
from treebuilder.app.repositories import source_epoch
from treebuilder.errors import SpecError
from treebuilder.model.words import parse_selector
from treebuilder.plan.lock import Lock, render
from treebuilder.records import replace


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    with workshop(tmp_path) as made:
        yield made


@pytest.fixture
def options(shop: Workshop) -> PackOptions:
    source = shop.top / "root"
    (source / "usr/bin").mkdir(parents=True)
    (source / "usr/bin/hello").write_text("#!/bin/sh\n")
    (source / "usr/bin/hello").chmod(0o4755)
    (source / "usr/bin/hi").symlink_to("hello")
    os.link(source / "usr/bin/hello", source / "usr/bin/more")
    definition = shop.top / "definition.yaml"
    definition.write_text(
        'category: app\nname: hello\nversion: "1.0+1"\nrequires:\n- {category: c, name: need, version: ">=1"}\n'
    )
    return PackOptions(parse_selector("app/hello@1.0+1"), source, shop.build, definition, "gzip", EPOCH)


def test_archive_and_metadata_are_luets(shop: Workshop, options: PackOptions) -> None:
    made = pack(options, shop.store, shop.events)
    path = shop.build / "hello-app-1.0+1.package.tar.gz"
    assert Path(made.path) == path
    with tarfile.open(path) as tar:
        found = {info.name: info for info in tar}
    assert list(found) == ["usr", "usr/bin", "usr/bin/hello", "usr/bin/hi", "usr/bin/more"]
    assert found["usr/bin/hello"].mode == 0o4755
    assert (found["usr/bin/hi"].linkname, found["usr/bin/more"].linkname) == ("hello", "usr/bin/hello")
    value = yaml.safe_load((shop.build / "hello-app-1.0+1.metadata.yaml").read_text())
    assert value["checksums"] == {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert value["files"] == ["usr/bin/hello", "usr/bin/hi", "usr/bin/more"]
    assert value["compressiontype"] == "gzip"
    assert [(r["category"], r["name"], r["version"]) for r in value["runtime"]["packagerequires"]] == [
        ("c", "need", ">=1")
    ]


def test_what_was_packed_is_taken_into_a_repository(shop: Workshop, options: PackOptions) -> None:
    pack(options, shop.store, shop.events)
    shop.tree.mkdir()
    assert [str(id) for id in shop.create(from_metadata=True).packages] == ["app/hello-1.0+1"]
    assert [artifact.path for artifact in shop.synced().artifacts.values()] == ["hello-app-1.0+1.package.tar.gz"]


def test_packing_twice_into_the_same_folder_packs_the_same(shop: Workshop, options: PackOptions) -> None:
    here = replace(options, destination=options.source)
    assert pack(here, shop.store, shop.events) == pack(here, shop.store, shop.events)


@pytest.mark.parametrize("word", ["app/hello", "app/hello@>=1", "hello"])
def test_a_package_without_a_version_is_refused(shop: Workshop, options: PackOptions, word: str) -> None:
    with pytest.raises(SpecError) as caught:
        pack(replace(options, package=parse_selector(word)), shop.store, shop.events)
    assert caught.value.reason == "selector"


def test_the_definition_must_be_there(shop: Workshop, options: PackOptions) -> None:
    with pytest.raises(SpecError) as caught:
        pack(replace(options, definition=shop.top / "none"), shop.store, shop.events)
    assert caught.value.reason == "missing-definition"
    assert not shop.build.exists()


def test_the_time_of_what_is_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "treebuild.lock"
    lock.write_bytes(render(Lock(400_000_000)))
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert source_epoch(lock) == 400_000_000
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")  # a time as any other
    assert source_epoch(lock) == 0
