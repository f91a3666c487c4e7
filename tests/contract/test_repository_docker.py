"""Repositories of type docker: published to real registries, read again, and what is sent when little changed."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.contract.docker_parts import client, content, publish
from tests.sites import Counted
from tests.unit.repository_parts import EPOCH, Workshop, archive
from treebuilder.archive.compress import decompressed
from treebuilder.errors import ConfigError, IntegrityError, TransportError
from treebuilder.events import Silent, Warned
from treebuilder.model.digest import Digest
from treebuilder.model.package import PackageId
from treebuilder.oci.arriving import Total
from treebuilder.oci.layerimage import layer_image, push_image
from treebuilder.oci.remote import Progress, Repository
from treebuilder.oci.store import Store
from treebuilder.repository.api import INDEX_NAME
from treebuilder.repository.docker import DockerBackend, package_tag, place_of, tag_of
from treebuilder.system.process import Cancel

pytestmark = pytest.mark.usefixtures("no_logins")


def test_what_was_published_can_be_fetched(address: str, shop: Workshop, tmp_path: Path) -> None:
    shop.package("app/one", {"bin": None, "bin/one": b"#!1"}, version="1.0+2", finalize="install: [echo hi]")
    shop.package("app/two", {"two": b"2" * 100_000})
    created = publish(shop, address)
    assert created.changed
    with client(tmp_path, address) as found:
        assert [package.id.name for package in found.packages()] == ["one", "two"]
        assert content(found, "one", "1.0+2") == {"bin/one": b"#!1"}
        assert content(found, "two") == {"two": b"2" * 100_000}
        assert found.index.type == "docker"
        assert found.finalizer(PackageId("app", "one", "1.0+2")) is not None
        assert len(found.recipes()) == 1


def test_who_waits_sees_the_bytes_come(address: str, shop: Workshop, tmp_path: Path) -> None:
    shop.package("app/one", {"one": os.urandom(1 << 20)})
    publish(shop, address)
    seen: list[tuple[int, int]] = []
    with client(tmp_path, address) as found:
        total = Total(lambda done, expected: seen.append((done, expected)))
        path = found.fetch(found.artifacts[PackageId("app", "one", "1.0")], total.file())
        size = path.stat().st_size
        assert seen[-1] == (size, size)
        assert len(seen) > 2
        found.fetch(found.artifacts[PackageId("app", "one", "1.0")], total.file())
        assert seen[-1] == (size, size), "what is here need not come"


def test_the_layout_is_luets(address: str, shop: Workshop) -> None:
    shop.package("app/one", {"bin": None, "bin/one": b"#!1"}, version="1.0+2")
    publish(shop, address, snapshot="may")
    place = Repository(address, "a/repo", True, Cancel())
    assert place.tags() == sorted([
        "one-app-1.0-2", "one-app-1.0-2.metadata.yaml", "repository.yaml", "tree.tar.gz", "compilertree.tar.gz",
        "repository.meta.yaml.tar", "may-repository.yaml", "may-tree.tar.gz", "may-compilertree.tar.gz",
        "may-repository.meta.yaml.tar",
    ])  # fmt: skip
    wanted = {"one-app-1.0-2": "bin/one", "one-app-1.0-2.metadata.yaml": "one-app-1.0+2.metadata.yaml"}
    for tag in place.tags():
        _, manifest = place.manifest(tag, None)
        (layer,) = manifest["layers"]
        assert layer["mediaType"] == "application/vnd.oci.image.layer.v1.tar+gzip"
        data = blob(place, layer, shop.top)
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as found:
            assert [item.name for item in found if item.isfile()] == [wanted.get(tag, tag)]
        config = json.loads(blob(place, manifest["config"], shop.top))
        with decompressed(io.BytesIO(data)) as plain:
            assert config["rootfs"]["diff_ids"] == [str(Digest.of(plain.read()))]
        assert config["os"] == "linux"
    annotations = place.manifest("one-app-1.0-2", None)[1]["annotations"]
    assert annotations["org.opencontainers.image.title"] == "app/one"
    assert annotations["org.opencontainers.image.version"] == "1.0+2"


def blob(place: Repository, item: dict[str, Any], folder: Path) -> bytes:
    (folder / "blob").unlink(missing_ok=True)
    progress = Progress("t", Silent())
    return place.blob(Digest.parse(item["digest"]), item["size"], folder / "blob", progress).read_bytes()


def test_the_published_metadata_speaks_of_the_layer(address: str, shop: Workshop, tmp_path: Path) -> None:
    shop.package("app/one", {"one": b"1"})
    publish(shop, address)
    place = Repository(address, "a/repo", True, Cancel())
    (layer,) = place.manifest("one-app-1.0", None)[1]["layers"]
    (described,) = place.manifest("one-app-1.0.metadata.yaml", None)[1]["layers"]
    with tarfile.open(fileobj=io.BytesIO(blob(place, described, shop.top)), mode="r:gz") as found:
        text = found.extractfile("one-app-1.0.metadata.yaml").read().decode()  # type: ignore[union-attr]
    assert f"checksums:\n    sha256: '{Digest.parse(layer['digest']).hex}'\n" in text
    assert "\ncompressiontype: gzip\n" in text
    assert text.startswith("path: one-app-1.0.package.tar.gz\n")
    with client(tmp_path, address) as seen:
        artifact = seen.artifacts[PackageId("app", "one", "1.0")]
        assert str(artifact.sha256) == layer["digest"]
        assert artifact.path == "one-app-1.0.package.tar.gz"
        assert artifact.compression == "gzip"


def test_an_unchanged_repository_costs_a_handful(counted: tuple[Counted, str], shop: Workshop) -> None:
    site, address = counted
    for number in range(40):
        shop.package(f"app/p{number}", {"file": str(number).encode()})
    publish(shop, address)
    many = len(site.asked)
    site.asked.clear()
    assert not publish(shop, address).changed
    assert len(site.asked) <= 5 < many
    assert not any(line.startswith(("PUT", "POST", "PATCH")) for line in site.asked)


def test_only_what_changed_is_sent(counted: tuple[Counted, str], shop: Workshop, tmp_path: Path) -> None:
    site, address = counted
    for number in range(40):
        shop.package(f"app/p{number}", {"file": str(number).encode()})
    publish(shop, address)
    shop.package("app/p7", {"file": b"other"})
    site.asked.clear()
    assert publish(shop, address).changed
    puts = [line.rpartition("/")[2] for line in site.asked if line.startswith("PUT /v2/a/repo/manifests/")]
    tags = [name for name in puts if not name.startswith("sha256:")]
    assert puts == [name for name in puts if name.startswith("sha256:")] + tags, "a tag moved before all was there"
    assert sorted(tags[:2]) == ["p7-app-1.0", "p7-app-1.0.metadata.yaml"]
    assert sorted(tags[2:-1]) == ["repository.meta.yaml.tar"]
    assert tags[-1] == "repository.yaml"
    assert len(site.asked) < 40
    with client(tmp_path, address) as found:
        assert content(found, "p7") == {"file": b"other"}
        assert content(found, "p8") == {"file": b"8"}


def test_the_same_from_an_empty_cache_sends_no_package(counted: Any, shop: Workshop, tmp_path: Path) -> None:
    site, address = counted
    shop.package("app/one", {"one": b"1"})
    publish(shop, address)
    site.asked.clear()
    shop.store.close()
    shop.store = Store(tmp_path / "another cache")
    assert not publish(shop, address).changed
    assert not any(line.startswith(("PUT", "POST", "PATCH")) for line in site.asked)


def test_a_tag_that_is_there_may_lead_elsewhere(address: str, shop: Workshop, tmp_path: Path) -> None:
    shop.package("app/one", {"one": b"1"})
    place = Repository(address, "a/repo", True, Cancel())
    DockerBackend(f"{address}/a/repo", shop.store, Cancel()).put("one-app-1.0", b"something else")
    publish(shop, address)
    (layer,) = place.manifest("one-app-1.0", None)[1]["layers"]
    with client(tmp_path, address) as found:
        assert str(found.artifacts[PackageId("app", "one", "1.0")].sha256) == layer["digest"]
        assert content(found, "one") == {"one": b"1"}


def test_force_sends_all_again(counted: tuple[Counted, str], shop: Workshop) -> None:
    site, address = counted
    shop.package("app/one", {"one": b"1"})
    publish(shop, address)
    site.asked.clear()
    publish(shop, address, force=True)
    assert "PUT /v2/a/repo/manifests/one-app-1.0" in site.asked


def test_nothing_is_sent_without_push(counted: tuple[Counted, str], shop: Workshop) -> None:
    site, address = counted
    shop.package("app/one", {"one": b"1"})
    publish(shop, address, push=False)
    assert {line.partition(" ")[0] for line in site.asked} <= {"GET", "HEAD"}
    publish(shop, address)
    assert "PUT /v2/a/repo/manifests/repository.yaml" in site.asked


def tagged(address: str) -> dict[str, str]:
    """What the tags lead to: luet goes by them."""
    place = Repository(address, "a/repo", True, Cancel())
    return {tag: str(place.digest_of(tag)) for tag in place.tags()}


@pytest.mark.parametrize("snapshot", ["", "may"])
def test_no_tag_moves_before_all_is_there(counted: Any, shop: Workshop, tmp_path: Path, snapshot: str) -> None:
    """Cut off at every request: for us the old state stands; for who goes by tags, until only they are left."""
    site, address = counted
    shop.package("app/one", {"one": b"1"})
    publish(shop, address)
    old = tagged(address)
    shop.package("app/one", {"one": b"new"})
    shop.package("app/two", {"two": b"2"})
    moving = 0
    for at in range(200):
        site.refuse_after = len(site.asked) + at
        try:
            publish(shop, address, snapshot=snapshot)
            break
        except TransportError:
            site.refuse_after = None
        found = tagged(address)
        assert found["repository.yaml"] == old["repository.yaml"]
        with client(tmp_path, address) as seen:
            assert [package.id.name for package in seen.packages()] == ["one"]
            assert content(seen, "one") == {"one": b"1"}
        moving += any(found[tag] != digest for tag, digest in old.items())
    site.refuse_after = None
    changed = [tag for tag, digest in old.items() if tagged(address)[tag] != digest]
    assert "repository.yaml" in changed
    assert "one-app-1.0" in changed
    assert moving < len(changed)


@pytest.mark.parametrize("at", [0, 1, 3, 8, 13, 21, 30])
def test_the_old_state_stands_until_the_index_comes(counted: Any, shop: Workshop, tmp_path: Path, at: int) -> None:
    site, address = counted
    shop.package("app/one", {"one": b"1"})
    publish(shop, address)
    shop.package("app/one", {"one": b"new"})
    shop.package("app/two", {"two": b"2"})
    site.refuse_after = len(site.asked) + at
    with pytest.raises(TransportError):
        publish(shop, address)
    site.refuse_after = None
    with client(tmp_path, address) as found:
        assert [package.id.name for package in found.packages()] == ["one"]
        assert content(found, "one") == {"one": b"1"}
    publish(shop, address)
    with client(tmp_path, address) as found:
        assert content(found, "one") == {"one": b"new"}
        assert content(found, "two") == {"two": b"2"}


def test_a_reader_of_the_old_index_sees_the_old_state(address: str, shop: Workshop, tmp_path: Path) -> None:
    shop.package("app/one", {"one": b"1"})
    publish(shop, address)
    with client(tmp_path, address) as before:
        shop.package("app/one", {"one": b"new"})
        shop.package("app/two", {"two": b"2"})
        publish(shop, address)
        assert [package.id.name for package in before.packages()] == ["one"]
        assert content(before, "one") == {"one": b"1"}


def test_a_snapshot_keeps_its_packages(address: str, shop: Workshop, tmp_path: Path) -> None:
    shop.package("app/one", {"one": b"1"})
    publish(shop, address, snapshot="may")
    shop.package("app/one", {"one": b"new"})
    publish(shop, address)
    with client(tmp_path, address, "may-repository.yaml") as found:
        assert content(found, "one") == {"one": b"1"}
    with client(tmp_path, address) as found:
        assert content(found, "one") == {"one": b"new"}


def test_an_archive_that_was_damaged_is_not_published(counted: tuple[Counted, str], shop: Workshop) -> None:
    _, address = counted
    shop.package("app/one", {"one": b"1"})
    (shop.build / "one-app-1.0.package.tar.zst").write_bytes(archive({"one": b"other"}))
    with pytest.raises(IntegrityError, match="not what its metadata says"):
        publish(shop, address)


def test_two_packages_of_one_tag_are_refused(counted: tuple[Counted, str], shop: Workshop) -> None:
    _, address = counted
    shop.package("app/one", {"one": b"1"}, version="1.0+1")
    shop.package("app/one", {"one": b"2"}, version="1.0-1")
    with pytest.raises(ConfigError) as caught:
        publish(shop, address)
    assert caught.value.reason == "same-tag"


def test_what_was_published_by_others_is_replaced(address: str, shop: Workshop, tmp_path: Path) -> None:
    shop.package("app/one", {"one": b"1"})
    DockerBackend(f"{address}/a/repo", shop.store, Cancel()).put(INDEX_NAME, b"nonsense: [")
    assert publish(shop, address).index.revision == 1
    assert any(isinstance(event, Warned) for event in shop.events.events)
    with client(tmp_path, address) as found:
        assert content(found, "one") == {"one": b"1"}


def luets(address: str, shop: Workshop, data: bytes, sha256: Digest) -> None:
    """A repository as luet publishes it: the layer of a package is what Docker made of its tar."""
    from treebuilder.repository.docker_layers import _SHA256

    publish(shop, address)
    backend = DockerBackend(f"{address}/a/repo", shop.store, Cancel())
    index = backend.index(INDEX_NAME)
    assert index is not None
    from treebuilder.repository.index import parse_index

    meta = dict(parse_index(index, "x").files)["meta"]
    packed = backend.open(meta.filename, meta.sha256, 1 << 20).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(packed)) as found:
        text = found.extractfile("repository.meta.yaml").read()  # type: ignore[union-attr]
    text = _SHA256.sub(b"checksums:\n    sha256: '" + sha256.hex.encode(), text)
    from treebuilder.repository.packing import single_file

    changed = single_file("repository.meta.yaml", text, "none", EPOCH)
    backend.put(meta.filename, changed)
    backend.commit(INDEX_NAME, index.replace(meta.sha256.hex.encode(), Digest.of(changed).hex.encode()))
    from treebuilder.oci.layerimage import ImageLayer

    plain = archive({"one": b"1"}, "none")
    layer = ImageLayer(Digest.of(data), len(data), Digest.of(plain))
    push_image(backend.place, layer_image(layer, 0, {}), "one-app-1.0", lambda: io.BytesIO(data))


def test_a_package_of_luets_is_known_by_its_tar(address: str, shop: Workshop, tmp_path: Path) -> None:
    import gzip

    shop.package("app/one", {"one": b"1"})
    plain = archive({"one": b"1"}, "none")
    luets(address, shop, gzip.compress(plain, 1), Digest.of(plain))
    store = Store(tmp_path / "client")
    backend = DockerBackend(f"{address}/a/repo", store, Cancel())
    path = backend.open("one-app-1.0.package.tar", Digest.of(plain), 1 << 20)
    assert gzip.decompress(path.read_bytes()) == plain
    other = Digest.of(b"what luet compressed itself")
    with pytest.raises(IntegrityError):
        backend.open("one-app-1.0.package.tar.zst", other, 1 << 20)
    loose = DockerBackend(f"{address}/a/repo", store, Cancel(), loose=True)
    assert gzip.decompress(loose.open("one-app-1.0.package.tar.zst", other, 1 << 20).read_bytes()) == plain
    store.close()


def test_names_become_tags() -> None:
    assert package_tag("below/x-app-1.0+2.package.tar.gz") == "x-app-1.0-2"
    assert tag_of("x-app-1.0+2.metadata.yaml") == "x-app-1.0-2.metadata.yaml"
    long = tag_of("a" * 200)
    assert len(long) == 128
    assert long != tag_of("a" * 201)
    assert tag_of(".hidden") == "_.hidden"


@pytest.mark.parametrize(
    "url",
    ["", "HOST/UPPER", "127.0.0.1:5000/a:tag", "127.0.0.1:5000/a@sha256:" + "0" * 64, "ftp://127.0.0.1/a", "a b/c"],
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(ConfigError):
        place_of(url, Cancel(), {})


def test_plain_http_is_for_loopback_and_those_who_ask() -> None:
    assert place_of("127.0.0.1:5000/a", Cancel(), {})._plain
    assert place_of("http://192.0.2.1:5000/a", Cancel(), {})._plain
    assert place_of("192.0.2.1:5000/a", Cancel(), {}, ("192.0.2.1:5000",))._plain
    for url in ("192.0.2.1:5000/a", "https://192.0.2.1/a", "docker://quay.io/a/b", "a/b"):
        assert not place_of(url, Cancel(), {})._plain
