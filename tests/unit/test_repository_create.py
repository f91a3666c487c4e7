"""create-repo: luet's forms, the same bytes for the same input."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.repository_parts import EPOCH, Workshop, workshop
from treebuilder.cli.main import main
from treebuilder.errors import ConfigError, IntegrityError, Place, SpecError
from treebuilder.events import Warned
from treebuilder.nodes.writing import write_yaml
from treebuilder.repository.packing import compiler_tree


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    with workshop(tmp_path) as made:
        yield made


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {info.name: (file.read() if (file := tar.extractfile(info)) is not None else b"") for info in tar}


def document(path: Path) -> dict[str, Any]:
    value = yaml.safe_load(path.read_text())
    assert isinstance(value, dict)
    return value


def test_the_index_has_luets_keys_and_true_checksums(shop: Workshop) -> None:
    shop.package("app/one", {"usr/bin/one": b"1"})
    shop.create()
    index = document(shop.build / "repository.yaml")
    assert set(index) == {
        "description", "enable", "index", "last_update", "name", "repo_files", "revision", "type", "urls"
    }  # fmt: skip
    assert (index["name"], index["description"], index["type"], index["revision"]) == ("test", "a test", "disk", 1)
    assert index["last_update"] == str(EPOCH)
    assert {key: file["filename"] for key, file in index["repo_files"].items()} == {
        "compilertree": "compilertree.tar.gz", "meta": "repository.meta.yaml.tar", "tree": "tree.tar.gz"
    }  # fmt: skip
    for file in index["repo_files"].values():
        data = (shop.build / file["filename"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == file["checksums"]["sha256"]


def test_meta_names_what_a_client_needs(shop: Workshop) -> None:
    shop.package("app/one", {"usr": None, "usr/bin/one": b"1"}, version="1.10", requires=("lib/two@>=2",))
    shop.create()
    files = members(shop.build / "repository.meta.yaml.tar")
    assert list(files) == ["repository.meta.yaml"]
    (item,) = yaml.safe_load(files["repository.meta.yaml"])["index"]
    archive = shop.build / "one-app-1.10.package.tar.zst"
    assert item["checksums"] == {"sha256": hashlib.sha256(archive.read_bytes()).hexdigest()}
    assert item["path"] == archive.name
    assert item["compressiontype"] == "zstd"
    assert item["files"] == ["usr/bin/one"]
    package = item["compilationspec"]["package"]
    assert (package["category"], package["name"], package["version"]) == ("app", "one", "1.10")
    assert package["buildtimestamp"].startswith("2023-11-14 22:13:20 ")
    assert [(r["category"], r["name"], r["version"]) for r in package["requires"]] == [("lib", "two", ">=2")]
    assert set(item["treebuild"]) == {"content", "plan_key"}


def test_the_runtime_tree_holds_what_was_built(shop: Workshop) -> None:
    shop.package("app/one", {"one": b"1"}, finalize="install:\n- echo {{ .Values.name }}\n")
    missing = shop.tree / "app/never-built/definition.yaml"
    missing.parent.mkdir(parents=True)
    missing.write_text('{category: app, name: never-built, version: "1"}')
    shop.create()
    files = members(shop.build / "tree.tar.gz")
    assert [name for name in files if name.endswith(".yaml")] == [
        "app/one/1.0/definition.yaml", "app/one/1.0/finalize.yaml"
    ]  # fmt: skip
    assert files["app/one/1.0/finalize.yaml"] == b"install:\n- echo {{ .Values.name }}\n"
    assert yaml.safe_load(files["app/one/1.0/definition.yaml"])["version"] == "1.0"


def test_sub_packages_are_in_the_runtime_tree(shop: Workshop) -> None:
    shop.package("app/one", {"one": b"1"})
    shop.package("app/one-doc", {"doc": b"1"}, in_tree=False)
    recipe = 'steps: ["true"]\nsubpackages:\n- {category: app, name: one-doc, version: "1.0", includes: [^/doc]}\n'
    (shop.tree / "app/one/1.0/build.yaml").write_text(recipe)
    made = shop.create()
    assert [id.name for id in made.packages] == ["one", "one-doc"]
    assert "app/one-doc/1.0/definition.yaml" in members(shop.build / "tree.tar.gz")


def test_recipes_are_copied_as_they_are(shop: Workshop) -> None:
    shop.package("app/one", {"one": b"1"})
    folder = shop.tree / "app/one/1.0"
    (folder / "run").write_text("#!/bin/sh\n")
    (folder / "run").chmod(0o755)
    (folder / "link").symlink_to("run")
    (shop.tree / ".git").mkdir()
    (shop.tree / ".git/HEAD").write_text("x")
    shop.create()
    with tarfile.open(shop.build / "compilertree.tar.gz") as tar:
        found = {info.name: info for info in tar}
    assert found["tree/app/one/1.0/run"].mode == 0o755
    assert found["tree/app/one/1.0/link"].linkname == "run"
    assert {info.mtime for info in found.values()} == {EPOCH}
    assert not any(".git" in name for name in found)


@pytest.mark.parametrize("linked", [False, True])
def test_what_lies_in_the_tree_does_not_grow_with_each_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, linked: bool
) -> None:
    """luet's defaults: the tree is the current folder, packages and repository are in its `build`."""
    with workshop(tmp_path / "top") as shop:
        shop.package("app/one", {"one": os.urandom(5000)})
    top = tmp_path / "top/tree"
    (top / "app/one/1.0/build").mkdir()
    (top / "app/one/1.0/build/kept").write_text("a recipe's own")
    shop.build.rename(top / "build")
    folder = "build"
    if linked:
        (tmp_path / "by-another-path").symlink_to(top / "build")
        folder = str(tmp_path / "by-another-path")
    monkeypatch.chdir(top)
    flags = ("--packages", folder, "--output", folder, "--cache-dir", str(tmp_path / "cache"))
    found: list[bytes] = []
    for _ in range(3):
        assert main(["create-repo", "--tree", ".", *flags]) == 0
        found.append((top / "build/compilertree.tar.gz").read_bytes())
    assert found[0] == found[1] == found[2]
    names = members(top / "build/compilertree.tar.gz")
    assert "tree/app/one/1.0/build/kept" in names
    assert "tree/app/one/1.0/definition.yaml" in names
    assert not [name for name in names if name.startswith("tree/build")]
    assert document(top / "build/repository.yaml")["revision"] == 1


def test_a_tree_that_is_or_lies_in_what_is_left_out_is_packed(shop: Workshop) -> None:
    shop.package("app/one", {"one": b"1"})
    packed = compiler_tree([str(shop.tree)], "none", EPOCH)
    assert compiler_tree([str(shop.tree)], "none", EPOCH, (str(shop.tree), str(shop.top), f"{shop.tree}2")) == packed
    assert compiler_tree([str(shop.tree)], "none", EPOCH, (str(shop.tree / "app"),)) != packed


def test_equal_input_gives_equal_bytes_wherever_it_lies(shop: Workshop, tmp_path: Path) -> None:
    found = []
    for name in ("here", "there"):
        with workshop(tmp_path / name) as other:
            other.package("app/one", {"one": b"1"})
            other.package("app/two", {"two": b"2"}, requires=("app/one",))
            other.create()
            names = ("repository.yaml", "tree.tar.gz", "compilertree.tar.gz", "repository.meta.yaml.tar")
            found.append([(other.build / file).read_bytes() for file in names])
    assert found[0] == found[1]


def test_the_revision_grows_when_something_changed(shop: Workshop) -> None:
    shop.package("app/one", {"one": b"1"})
    first = shop.create()
    again = shop.create()
    assert (first.index.revision, first.changed) == (1, True)
    assert (again.index.revision, again.changed) == (1, False)
    shop.package("app/two", {"two": b"2"})
    assert shop.create().index.revision == 2
    assert shop.create(description="other").index.revision == 3
    assert shop.create(description="other", reset_revision=True).index.revision == 1


def test_what_no_tree_has_is_left_out_unless_asked_for(shop: Workshop) -> None:
    shop.package("app/one", {"one": b"1"})
    shop.package("app/stray", {"stray": b"2"}, in_tree=False)
    assert [id.name for id in shop.create().packages] == ["one"]
    assert any("1 built packages" in event.message for event in shop.events.events if isinstance(event, Warned))
    assert [id.name for id in shop.create(from_metadata=True).packages] == ["one", "stray"]


def test_a_snapshot_keeps_its_own_files(shop: Workshop) -> None:
    shop.package("app/one", {"one": b"1"})
    shop.create(snapshot="may")
    shop.package("app/two", {"two": b"2"})
    shop.create()
    index = document(shop.build / "may-repository.yaml")
    assert index["repo_files"]["tree"]["filename"] == "may-tree.tar.gz"
    for file in index["repo_files"].values():
        data = (shop.build / file["filename"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == file["checksums"]["sha256"]
    assert "app/two/1.0/definition.yaml" not in members(shop.build / "may-tree.tar.gz")


@pytest.mark.parametrize(("kind", "magic"), [("none", b"app"), ("gzip", b"\x1f\x8b"), ("zstd", b"\x28\xb5\x2f\xfd")])
def test_compression_is_as_asked(shop: Workshop, kind: str, magic: bytes) -> None:
    shop.package("app/one", {"one": b"1"})
    made = shop.create(tree_compression=kind, meta_compression=kind, tree_filename="t.tar", meta_filename="m.tar")
    suffix = {"none": "", "gzip": ".gz", "zstd": ".zst"}[kind]
    assert (shop.build / f"t.tar{suffix}").read_bytes().startswith(magic)
    assert made.index.file("meta") is not None
    assert shop.synced().packages()[0].id.name == "one"
    assert len(shop.synced().artifacts) == 1


def test_a_package_without_its_archive_is_refused_and_nothing_written(shop: Workshop) -> None:
    shop.package("app/one", {"one": b"1"})
    shop.create()
    before = (shop.build / "repository.yaml").read_bytes()
    shop.package("app/two", {"two": b"2"})
    (shop.build / "two-app-1.0.package.tar.zst").unlink()
    with pytest.raises(SpecError) as caught:
        shop.create()
    assert caught.value.reason == "missing-file"
    assert caught.value.where is not None
    assert caught.value.where.file.endswith("two-app-1.0.metadata.yaml")
    assert (shop.build / "repository.yaml").read_bytes() == before


def listing(shop: Workshop) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in shop.build.iterdir()}


@pytest.mark.parametrize("form", ["ours", "json"])
def test_metadata_without_a_checksum_is_refused_and_nothing_written(shop: Workshop, form: str) -> None:
    shop.package("app/one", {"a": b"1"})
    shop.create()
    shop.package("app/two", {"a": b"2"})
    path = shop.build / "two-app-1.0.metadata.yaml"
    value = document(path) | {"checksums": {}}
    path.write_bytes(write_yaml(value) if form == "ours" else json.dumps(value).encode())
    before = listing(shop)
    with pytest.raises(IntegrityError, match=r"two-app-1\.0\.metadata\.yaml gives no sha256") as caught:
        shop.create()
    assert caught.value.hint is not None
    assert listing(shop) == before


@pytest.mark.parametrize("form", ["ours", "json"])
@pytest.mark.parametrize(
    ("key", "text"),
    [("category", ".."), ("version", ".."), ("name", ""), ("version", "."), ("name", "a\\b"), ("category", "a\tb")],
)
def test_metadata_of_names_that_no_tree_can_hold_is_refused(shop: Workshop, key: str, text: str, form: str) -> None:
    shop.package("app/one", {"a": b"1"})
    shop.create(from_metadata=True)
    shop.package("app/two", {"a": b"2"}, in_tree=False)
    path = shop.build / "two-app-1.0.metadata.yaml"
    value = document(path)
    path.unlink()
    for package in (value["runtime"], value["compilespec"]["package"]):
        package[key] = text
    odd = shop.build / "-".join([*(str(package[key]) for key in ("name", "category", "version"))])
    path = odd.with_name(f"{odd.name}.metadata.yaml")
    path.write_bytes(write_yaml(value) if form == "ours" else json.dumps(value).encode())
    before = listing(shop)
    with pytest.raises(SpecError, match=rf"the {key} ") as caught:
        shop.create(from_metadata=True)
    assert (caught.value.reason, caught.value.where) == ("name", Place(str(path)))
    assert listing(shop) == before


def test_types_that_cannot_be_written_are_refused(shop: Workshop) -> None:
    shop.package("app/one", {"one": b"1"})
    with pytest.raises(ConfigError) as caught:
        shop.create(type="gopher")
    assert caught.value.reason == "repository-type"
    assert not (shop.build / "repository.yaml").exists()


@pytest.mark.parametrize("options", [{"tree_filename": "../t.tar"}, {"meta_filename": ""}, {"snapshot": "a/b"}])
def test_names_of_files_stay_in_the_folder(shop: Workshop, options: dict[str, str]) -> None:
    shop.package("app/one", {"one": b"1"})
    with pytest.raises(ConfigError):
        shop.create(**options)


def test_a_broken_index_is_replaced(shop: Workshop) -> None:
    shop.package("app/one", {"one": b"1"})
    shop.build.joinpath("repository.yaml").write_text("][")
    assert shop.create().index.revision == 1
    assert shop.synced().index.name == "test"


def test_archives_are_plain_tars(shop: Workshop) -> None:
    """Readers of other makes see owners 0:0 and folders with a slash's type."""
    shop.package("app/one", {"one": b"1"})
    shop.create()
    with tarfile.open(fileobj=io.BytesIO((shop.build / "tree.tar.gz").read_bytes())) as tar:
        assert {(info.uid, info.gid) for info in tar} == {(0, 0)}
        assert tar.getmember("app").isdir()


@pytest.mark.parametrize("key", ["name", "description", "tree_filename", "meta_filename", "snapshot"])
def test_words_that_an_index_cannot_say_are_refused(shop: Workshop, key: str) -> None:
    shop.package("app/one", {"one": b"1"})
    with pytest.raises(ConfigError, match="is not UTF-8"):
        shop.create(**{key: os.fsdecode(b"na\xffme")})
    assert not (shop.build / "repository.yaml").exists()
