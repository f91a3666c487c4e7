"""Reading repositories: documents as luet writes them, hostile ones, mirrors, priorities."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.unit.repository_parts import Workshop, workshop
from treebuilder.errors import ConfigError, IntegrityError, SpecError, UnsafeArchive
from treebuilder.model.digest import Digest
from treebuilder.model.package import PackageId
from treebuilder.oci.arriving import Total
from treebuilder.repository import RepositoryPackages, RepositorySource, SyncedRepository, sync
from treebuilder.repository.bounds import MAX_ENTRIES, MAX_EXPANDED_BYTES, bounded
from treebuilder.repository.deltas import LIST, Patch, list_document
from treebuilder.repository.index import Artifact, parse_index, parse_meta
from treebuilder.serve.folder import Folder
from treebuilder.serve.server import Listening, serving
from treebuilder.system.process import Cancel
from treebuilder.trust.policy import UNVERIFIED

_SUM = "ab" * 32
_INDEX = f"""
description: t
enable: true
index: []
last_update: "1795227252"
name: t
repo_files:
  meta: {{checksums: {{sha256: {_SUM}}}, compressiontype: none, filename: repository.meta.yaml.tar}}
  tree: {{checksums: {{sha256: {_SUM}}}, compressiontype: gzip, filename: tree.tar.gz}}
revision: 7
type: disk
urls: [a, b]
verify: false
"""
_META = f"""
index:
- checksums: {{sha256: {_SUM}}}
  compilationspec:
    build_options: {{PushImageRepository: ""}}
    package: {{category: app, name: x, version: 1.10, requires: null, buildtimestamp: 2026-11-21 02:14:12 +0000 UTC}}
  compressiontype: gzip
  dependencies: null
  files: [usr/bin/x, "null"]
  path: /build/x-app-1.10.package.tar.gz
  runtime: null
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    with workshop(tmp_path) as made:
        yield made


def test_luets_index_is_read() -> None:
    index = parse_index(_INDEX.encode(), "x")
    assert (index.name, index.revision, index.last_update, index.urls) == ("t", 7, "1795227252", ("a", "b"))
    tree = index.file("tree")
    assert tree is not None
    assert (tree.filename, tree.sha256.hex, tree.compression) == ("tree.tar.gz", _SUM, "gzip")
    assert index.file("compilertree") is None


def test_luets_meta_is_read_and_versions_stay_as_written() -> None:
    (artifact,) = parse_meta(_META.encode(), "x")
    assert artifact.package == PackageId("app", "x", "1.10")
    assert artifact.path == "x-app-1.10.package.tar.gz"
    assert artifact.files == ("usr/bin/x", "null")
    assert artifact.content is None


@pytest.mark.parametrize(
    "broken",
    [
        _INDEX.replace("tree.tar.gz", "../../etc/passwd"),
        _INDEX.replace("filename: tree.tar.gz", "filename: /etc/passwd"),
        _INDEX.replace("filename: tree.tar.gz", 'filename: ""'),
        _INDEX.replace("  tree:", "  other:"),
        _INDEX.replace("  meta:", "  other:"),
        _INDEX.replace(_SUM, "abc"),
        _INDEX.replace("revision: 7", "revision: many"),
        "- a list",
        "a: [",
        "\x00",
        "a: " + "[" * 5000,
    ],
)
def test_a_broken_index_is_refused(broken: str) -> None:
    with pytest.raises(IntegrityError):
        parse_index(broken.encode(), "x")


@pytest.mark.parametrize("path", ["../x", "a/../../x", "", "a//b", "./x"])
def test_a_package_that_lies_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(IntegrityError):
        list(parse_meta(_META.replace("/build/x-app-1.10.package.tar.gz", f'"{path}"').encode(), "x"))


def test_a_laughing_document_stays_small() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    with pytest.raises(IntegrityError):
        parse_index("\n".join(lines).encode(), "x")


def test_packages_and_artifacts_come_back(shop: Workshop) -> None:
    shop.package("app/one", {"one": b"1"}, requires=("lib/two",), provides=("virtual/one@1",), conflicts=("app/no",))
    shop.package("lib/two", {"two": b"2"})
    shop.create()
    found = shop.synced()
    one, two = sorted(found.packages(), key=lambda p: p.id)
    assert [str(r) for r in one.requires] == ["lib/two >=0"]
    assert [str(r) for r in one.provides] == ["virtual/one 1"]
    assert [str(r) for r in one.conflicts] == ["app/no >=0"]
    artifact = found.artifacts[two.id]
    assert found.fetch(artifact).read_bytes() == (shop.build / artifact.path).read_bytes()
    (recipes,) = found.recipes()
    assert (recipes / "app/one/1.0/definition.yaml").is_file()


@pytest.mark.parametrize("name", ["tree.tar.gz", "repository.meta.yaml.tar", "one-app-1.0.package.tar.zst"])
def test_a_changed_file_is_found(shop: Workshop, name: str) -> None:
    shop.package("app/one", {"one": b"1"})
    shop.create()
    data = (shop.build / name).read_bytes()
    (shop.build / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    found = shop.synced()
    with pytest.raises(IntegrityError):
        found.fetch(next(iter(found.artifacts.values())))
        found.packages()


def test_the_next_mirror_is_asked(shop: Workshop, tmp_path: Path) -> None:
    shop.package("app/one", {"one": b"1"})
    shop.create()
    good = tmp_path / "good"
    good.mkdir()
    for path in shop.build.iterdir():
        (good / path.name).write_bytes(path.read_bytes())
    (shop.build / "one-app-1.0.package.tar.zst").unlink()
    source = RepositorySource("two", "disk", (str(tmp_path / "missing"), str(shop.build), str(good)))
    found = sync(source, shop.store, shop.events, Cancel())
    assert found.fetch(found.artifacts[PackageId("app", "one", "1.0")]).is_file()


def shown() -> tuple[Total, list[tuple[int, int]]]:
    seen: list[tuple[int, int]] = []
    return Total(lambda done, expected: seen.append((done, expected))), seen


def test_what_a_mirror_sent_in_vain_is_not_shown_on_the_next(shop: Workshop, tmp_path: Path) -> None:
    shop.package("app/one", {"one": os.urandom(3 << 20)})
    shop.create()
    good = tmp_path / "good"
    shutil.copytree(shop.build, good)
    (archive,) = shop.build.glob("*.package.tar.zst")
    size = archive.stat().st_size
    archive.write_bytes(bytes(size))
    found = sync(RepositorySource("two", "disk", (str(shop.build), str(good))), shop.store, shop.events, Cancel())
    total, seen = shown()
    found.fetch(found.artifacts[PackageId("app", "one", "1.0")], total.file())
    assert seen[-1] == (size, size)
    assert all(done <= expected for done, expected in seen if expected)
    assert total.moved_bytes == 2 * size


def test_a_patch_that_came_in_vain_is_not_shown_with_the_archive(shop: Workshop) -> None:
    def described(version: str) -> tuple[SyncedRepository, Artifact]:
        shop.package("app/one", {"one": version.encode() + os.urandom(1 << 20)}, version=version)
        shop.create()
        found = sync(RepositorySource("two", "http", (url,), trust=UNVERIFIED), shop.store, shop.events, Cancel())
        return found, found.artifacts[PackageId("app", "one", version)]

    shop.build.mkdir()
    with serving(Folder(shop.build), Listening("127.0.0.1", 0, headers={})) as address:
        url = f"http://{address}"
        found, older = described("1.0")
        found.fetch(older)
        found, newer = described("1.1")
        assert older.content is not None
        assert newer.content is not None
        data = os.urandom(9000)  # no patch, though its digest is as it is said
        patch = Patch(older.content, newer.content, Digest.of(data), len(data))
        (shop.build / "deltas").mkdir()
        (shop.build / patch.name).write_bytes(data)
        (shop.build / LIST).write_bytes(list_document([patch]))
        total, seen = shown()
        size = found.fetch(newer, total.file()).stat().st_size
    assert (len(data), len(data)) in seen, "the patch came"
    assert seen[-1] == (size, size)
    assert all(done <= expected for done, expected in seen if expected)
    assert total.moved_bytes == len(data) + size


def test_no_repository_is_said(shop: Workshop, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        sync(RepositorySource("x", "disk", (str(tmp_path / "none"),)), shop.store, shop.events, Cancel())
    assert caught.value.reason == "no-repository"


@pytest.mark.parametrize("kind", ["gopher", ""])
def test_types_that_cannot_be_read_are_refused(shop: Workshop, kind: str) -> None:
    with pytest.raises(ConfigError) as caught:
        sync(RepositorySource("x", kind, ("a/b",)), shop.store, shop.events, Cancel())
    assert caught.value.reason == "repository-type"


def test_an_older_snapshot_can_be_read(shop: Workshop) -> None:
    shop.package("app/one", {"one": b"1"})
    shop.create(snapshot="may")
    shop.package("app/two", {"two": b"2"})
    shop.create()
    source = RepositorySource("x", "disk", (str(shop.build),), reference="may-repository.yaml")
    old = sync(source, shop.store, shop.events, Cancel())
    assert [p.id.name for p in old.packages()] == ["one"]
    assert [p.id.name for p in shop.synced().packages()] == ["one", "two"]


def test_the_preferred_repository_speaks_and_the_newest_counts(tmp_path: Path) -> None:
    with workshop(tmp_path / "a") as first, workshop(tmp_path / "b") as second:
        first.package("app/one", {"first": b""}, requires=("lib/first",))
        second.package("app/one", {"second": b""}, requires=("lib/second",))
        second.package("app/one", {"newer": b""}, version="2.0")
        first.create()
        second.create()
        preferred, other = first.synced("z", priority=1), second.synced("a", priority=5)
        packages = RepositoryPackages([other, preferred])
        assert [p.id.version for p in packages.versions("app/one")] == ["2.0", "1.0"]
        one = packages.find(PackageId("app", "one", "1.0"))
        assert one is not None
        assert [r.name for r in one.requires] == ["first"]
        assert packages.homes[one.id] is preferred
        assert packages.homes[PackageId("app", "one", "2.0")] is other
        assert packages.names() == ("app/one",)


def archive(*members: tuple[str, bytes, int], pax: dict[str, str] | None = None) -> bytes:
    """A gzip-compressed tar of (name, type, size) with zeros as content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.PAX_FORMAT, pax_headers=pax or {}) as tar:
        for name, kind, size in members:
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, size
            tar.addfile(info, io.BytesIO(bytes(size)) if size else None)
    return out.getvalue()


FILE = tarfile.REGTYPE


def test_a_tree_has_bounds() -> None:
    """Sizes as small as the test wants them; the product's are generous."""
    assert (MAX_EXPANDED_BYTES, MAX_ENTRIES) == (1 << 30, 1_000_000)

    def count(data: bytes) -> int:
        return len(list(bounded(io.BytesIO(data), "shop: tree.tar", max_bytes=1 << 20, max_entries=10)))

    assert count(archive(*((f"f{n}", FILE, 1000) for n in range(10)))) == 10
    with pytest.raises(UnsafeArchive, match=r"shop: tree\.tar unpacks to more than 1 MiB"):
        count(archive(("a", FILE, 800_000), ("b", FILE, 300_000)))
    with pytest.raises(UnsafeArchive, match="more than 1 MiB"):
        count(archive(("a", FILE, 10), pax={"comment": "x" * (2 << 20)}))
    with pytest.raises(UnsafeArchive, match="more than 10 entries"):
        count(archive(*((f"f{n}", FILE, 0) for n in range(11))))


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_a_device_in_a_tree_is_refused(shop: Workshop, kind: bytes) -> None:
    shop.package("app/x", {"usr/x": b"x"})
    shop.create()
    data = archive(("app/x/definition.yaml", FILE, 3), ("app/node", kind, 0))
    (shop.build / "tree.tar.gz").write_bytes(data)
    index = shop.build / "repository.yaml"
    document = yaml.safe_load(index.read_text())
    document["repo_files"]["tree"]["checksums"]["sha256"] = hashlib.sha256(data).hexdigest()
    index.write_text(yaml.safe_dump(document))
    found = shop.synced()
    before = {path.name for path in (shop.store.folder / "trees").rglob("*")}
    with pytest.raises(UnsafeArchive, match=r"holds a (device node|pipe), 'app/node'"):
        found.packages()
    assert {path.name for path in (shop.store.folder / "trees").rglob("*")} == before


@pytest.mark.parametrize("name", ["repository.yaml", "tree.tar.gz", "one-app-1.0.metadata.yaml"])
def test_a_pipe_in_a_repository_is_not_waited_for(shop: Workshop, name: str) -> None:
    shop.package("app/one", {"one": b"1"})
    shop.create()
    path = shop.build / name
    path.unlink()
    os.mkfifo(path)
    with workshop(shop.top / "elsewhere") as other:  # whose store has none of the files
        source = RepositorySource("test", "disk", (str(shop.build),))
        with pytest.raises(IntegrityError, match=f"{name} is no plain file"):
            sync(source, other.store, shop.events, Cancel()).packages()
            shop.create()
